"""A remote agent with a token of its own that floods, lies about its results and what they cost, and speaks for others.

What each test holds has no other guard: the agent is let in, and its word is taken as far as the fence lets it through.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from amas.engine.journal import START, Journal
from amas.model.journal import progress_notes
from amas.server import remote as desk
from amas.server.plane import ControlPlane

from .test_contract import problem_of
from .test_remote import OCR, SESSIONS, Session, opened, plane, result_of, submit  # noqa: F401  a fixture

MIB = 1 << 20


async def said(session: Session, path: str, body: bytes) -> httpx.Response:
    headers = {**session.headers, "content-type": "application/json"}
    return await session.client.post(f"{SESSIONS}/{session.id}/{path}", content=body, headers=headers)


def stored(home: Path) -> int:
    """Return the bytes of all artifacts."""
    return sum(path.stat().st_size for path in (home / "artifacts").rglob("*") if path.is_file())


NESTED = b"[" * 100_000 + b"]" * 100_000
VALUES = {
    "nested": (NESTED, (400,)),
    "nested objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, (400,)),
    "not a number": (b"NaN", (400,)),
    "infinite": (b"1e400", (422,)),
    "half a letter": (rb'"\ud800"', (400,)),
    "no UTF-8": (b'"\xff\xfe"', (400,)),
    "a wide integer": (b"1" + b"0" * 300, (422,)),
    "a wide integer within": (b'{"a": [-170141183460469231731687303715884105728]}', (422,)),
    "cut off": (b'{"a": [1, 2', (400,)),
}


@pytest.mark.parametrize("value", VALUES)
async def test_a_result_that_nobody_could_read_is_refused_and_the_task_goes_on(client: httpx.AsyncClient, value: str) -> None:
    session = await opened(client)
    task_id = await submit(client)
    task = await session.one()
    body, statuses = VALUES[value]
    words = {
        f"tasks/{task_id}/complete": b'{"attempt": 1, "result": %s}',
        f"tasks/{task_id}/steps": b'{"attempt": 1, "name": "s", "result": %s}',
        "messages": b'{"agent_id": "remote.ocr-1", "recipient": "remote.ocr-1", "payload": %s}',
    }
    for path, words_of in words.items():
        answer = await said(session, path, words_of % body)
        assert answer.status_code in statuses, (path, answer.text[:300])
        assert problem_of(answer).code in ("body_malformed", "request_invalid", "submission_error")
    assert (await session.task(task, "complete", result="good")).status_code == 200
    assert await result_of(client, task_id) == "good"


async def test_what_the_api_takes_from_anybody_is_no_wider_than_can_be_carried(client: httpx.AsyncClient) -> None:
    wide = 1 << 70
    bodies: dict[str, Any] = {
        "/api/tasks": {"capability": OCR, "input": {"n": wide}},
        "/api/tasks/batch": [{"capability": OCR, "input": [wide]}],
        "/api/goals": {"text": "do it", "preferences": {"n": wide}},
        "/api/workflows": {"flow": {"name": "f", "tasks": [{"key": "a", "capability": OCR, "input": wide}]}},
    }
    for path, body in bodies.items():
        answer = await client.post(path, json=body, headers={"idempotency-key": f"k{path}"})
        assert answer.status_code == 422, (path, answer.text)
        assert "64" in answer.text or "2^6" in answer.text, answer.text


async def test_a_body_of_100_mb_is_refused_before_it_is_read(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    session = await opened(client)
    task_id = await submit(client)
    await session.one()
    answer = await said(session, f"tasks/{task_id}/complete", b'{"attempt": 1, "result": "%s"}' % (b"x" * (100 * MIB)))
    assert (answer.status_code, problem_of(answer).code) == (413, "body_too_large")
    assert stored(plane.home) == 0


async def test_a_result_said_again_and_again_is_stored_once(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    """Who has done one task could fill the disk with it, 32 MiB a time."""
    session = await opened(client)
    task_id = await submit(client)
    task = await session.one()
    first = "a" * MIB
    assert (await session.task(task, "complete", result=first)).status_code == 200
    held = stored(plane.home)
    assert MIB <= held < 2 * MIB
    for other in ("b", "c"):
        assert (await session.task(task, "complete", result=other * MIB)).status_code == 200, "said again is harmless"
        late = await session.task(task, "steps", name="late", result=other * MIB)
        assert problem_of(late).code == "attempt_stale"
    assert stored(plane.home) == held
    assert await result_of(client, task_id) == first


async def test_a_step_said_again_stores_nothing_and_all_steps_together_are_bounded(
    client: httpx.AsyncClient,
    plane: ControlPlane,  # noqa: F811
) -> None:
    """Each step is answered with all of them: a thousand of 32 MiB would be read into the control plane's memory at once."""
    session = await opened(client)
    await submit(client)
    task = await session.one()
    plane.values._bytes_max = 3 * MIB
    assert (await session.task(task, "steps", name="one", result="1" * MIB)).status_code == 200
    held = stored(plane.home)
    again = await session.task(task, "steps", name="one", result="2" * MIB)
    assert again.json()["steps"] == {"one": "1" * MIB}
    assert stored(plane.home) == held
    assert (await session.task(task, "steps", name="two", result="2" * MIB)).status_code == 200
    refused = await session.task(task, "steps", name="three", result="3" * MIB)
    assert (refused.status_code, problem_of(refused).code) == (422, "steps_full")
    assert "3 MiB together" in problem_of(refused).detail
    assert len((await session.task(task, "steps", name="four", result="4")).json()["steps"]) == 3, "a small one has room"


@pytest.mark.parametrize("talk", ["progress", "messages", "complete another"])
async def test_who_talks_and_never_asks_what_to_stop_keeps_no_task_for_ever(
    client: httpx.AsyncClient,
    plane: ControlPlane,  # noqa: F811
    talk: str,
) -> None:
    """Every word renews the lease, so the reaper never comes for it; its task's time is up all the same."""
    session, other = await opened(client, "mine"), await opened(client, "other")
    task_id = await submit(client, timeout_s=0.2, retry={"retries": 1, "backoff_s": 0})
    task = await session.one()
    assert task["task_id"] == task_id
    words = {
        "progress": lambda: session.task(task, "progress", fraction=0.1),
        "messages": lambda: session.say("messages/receive", agent_id="remote.mine"),
        "complete another": lambda: session.say("tasks/nobody-s/complete", attempt=1, result=1),
    }
    async with asyncio.timeout(60):
        while (shown := (await client.get(f"/api/tasks/{task_id}")).json())["state"] == "running":
            assert (await words[talk]()).status_code in (200, 404)
            await asyncio.sleep(0.05)
        assert shown["failure"]["code"] == "timed_out"
        await plane.queue.promote()
        assert (await other.one())["task_id"] == task_id
    assert problem_of(await session.task(task, "complete", result="late")).code in ("attempt_stale", "task_foreign")


async def test_a_flood_of_claims_is_refused_and_others_are_served(
    client: httpx.AsyncClient,
    plane: ControlPlane,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desk, "WAITS_MAX", 5)
    flooding, honest = await opened(client, "flood"), await opened(client, "honest")
    waits = [asyncio.create_task(flooding.say("claim", wait_s=20)) for _ in range(5)]
    async with asyncio.timeout(60):
        while plane.remote._waits[flooding.id] < 5:
            await asyncio.sleep(0.01)
    for word in ("claim", "renew"):
        refused = await flooding.say(word, wait_s=20)
        assert (refused.status_code, problem_of(refused).code) == (429, "waits_full")
        assert int(refused.headers["retry-after"]) >= 1
    assert await honest.claim() == {"tasks": [], "stop": []}
    for each in waits:
        each.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert not plane.remote._waits


async def test_a_flood_of_progress_is_a_few_words_in_the_history(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    """Each would be an entry of the journal and a row of the history, kept for ever."""
    session = await opened(client)
    task_id = await submit(client)
    task = await session.one()
    for number in range(200):
        assert (await session.task(task, "progress", fraction=number / 200, note=f"n{number}")).status_code == 200

    async def notes() -> list[Any]:
        return [note for entry in await Journal(plane.engine).read(START, limit=1000) for note in progress_notes(entry)]

    async with asyncio.timeout(60):
        while not (found := await notes()) or found[-1].note != "n199":
            await asyncio.sleep(0.02)
    assert len(found) < 100 and {note.task_id for note in found} == {task_id}


async def test_false_costs_are_refused_and_the_task_stays(client: httpx.AsyncClient) -> None:
    session = await opened(client)
    task_id = await submit(client)
    task = await session.one()
    lies = (
        b'{"usd": -1}',
        b'{"usd": 1e300}',
        b'{"usd": 1e400}',
        b'{"usd": 1000001}',
        b'{"tokens": -1}',
        b'{"tokens": 1%s}' % (b"0" * 30),
    )
    for lie in lies:
        answer = await said(session, f"tasks/{task_id}/complete", b'{"attempt": 1, "result": 1, "usage": %s}' % lie)
        assert answer.status_code == 422, (lie, answer.text)
        answer = await said(session, f"tasks/{task_id}/fail", b'{"attempt": 1, "message": "m", "usage": %s}' % lie)
        assert answer.status_code == 422, (lie, answer.text)
    assert (await session.task(task, "complete", result=1, usage={"usd": 1e6})).status_code == 200


async def test_nobody_completes_what_it_does_not_hold(client: httpx.AsyncClient) -> None:
    mine, theirs = await opened(client, "mine"), await opened(client, "theirs")
    task_id = await submit(client, timeout_s=300)
    task = await theirs.one(agents=["remote.theirs"])
    for attempt in (0, -1):
        answer = await mine.say(f"tasks/{task_id}/complete", attempt=attempt, result="stolen")
        assert answer.status_code == 422
    for attempt in (1, 2, 2**31, 2**64 - 1, 10**30):
        for word, body in (
            ("complete", {"result": "stolen"}),
            ("fail", {"message": "stolen", "final": True}),
            ("steps", {"name": "s", "result": "stolen"}),
            ("progress", {"fraction": 1.0}),
            ("token", {}),
        ):
            answer = await mine.say(f"tasks/{task_id}/{word}", attempt=attempt, **body)
            assert (answer.status_code, problem_of(answer).code) == (403, "task_foreign"), answer.text
            own = attempt != 1 and await theirs.say(f"tasks/{task_id}/{word}", attempt=attempt, **body)
            assert not own or (own.status_code, problem_of(own).code) == (409, "attempt_stale")
    assert (await theirs.task(task, "complete", result="honest")).status_code == 200
    assert await result_of(client, task_id) == "honest"


async def test_a_text_is_text_whatever_stands_in_it(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    """NULs, escapes and marks that turn writing round come back as they were said, and break nothing on their way."""
    text = "\0\x1b]8;;http://evil\x07x\x1b[2J\r\n\u202e\u2066=cmd|' /C calc'!A0"
    session = await opened(client)
    task_id = await submit(client, title=text, key="k\0ey", input=text, retry={"retries": 0})
    task = await session.one()
    assert (task["input"], task["title"]) == (text, text)
    assert (await session.task(task, "progress", fraction=0.5, note=text)).status_code == 200
    assert (await session.task(task, "steps", name=text, result=text)).json()["steps"] == {text: text}
    assert (await session.task(task, "fail", message=text, code=text, detail=text)).status_code == 200
    while entries := await plane.journal.read(await plane.records.position()):
        await plane.records.apply(entries)
    raw = (await client.get(f"/api/tasks/{task_id}")).content
    assert json.loads(raw)["failure"] == {"code": text, "message": text}
    assert not any(byte < 0x20 for byte in raw), "JSON spells control characters out"


async def test_nobody_is_registered_under_a_name_that_leads_elsewhere(client: httpx.AsyncClient) -> None:
    for name in ("../../x", "a/b", "A", "a\nb", "a\0b", "\u202ea", "a" * 200, "", "worker 1", "remote.remote/../x"):
        answer = await client.post(SESSIONS, json={"agents": [{"name": name, "capabilities": [OCR]}]})
        assert answer.status_code == 422, (name, answer.text)
    for label in ({"a": "../x\n"}, {"a\nb": "c"}, {"": "x"}):
        agent = {"name": "ok", "capabilities": [OCR], "labels": label}
        assert (await client.post(SESSIONS, json={"agents": [agent]})).status_code == 422
    assert (await client.get("/api/remote/agents")).json()["items"] == []
