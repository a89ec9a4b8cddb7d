"""Remote agents that go on with what was taken from them, a token, a name, their life; and that take more than their share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from amas.model.message import MessageType
from amas.server import remote as desk
from amas.server.plane import ControlPlane

from .test_contract import problem_of
from .test_remote import OCR, SESSIONS, Session, opened, plane, submit  # noqa: F401  a fixture

ME = "remote.ocr-1"
LIMIT_S = 60
pytestmark = pytest.mark.requirement("T1")


async def eventually(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not there():
            await asyncio.sleep(0.01)


async def anew(client: httpx.AsyncClient, headers: dict[str, str] | None = None) -> Session:
    """Open a session that takes the agent over."""
    body = {"agents": [{"name": ME, "capabilities": [OCR]}], "take_over": True}
    answer = await client.post(SESSIONS, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return Session(client, answer.json())


async def token_of(session: Session, client: httpx.AsyncClient) -> dict[str, str]:
    await submit(client)
    token = (await session.task(await session.one(), "token")).json()["token"]
    return {"authorization": f"Bearer {token}"}


async def revoked(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    assert (await client.delete(f"/api/tokens/{ME}")).status_code == 200


async def killed(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    assert (await client.post("/api/kill", json={"agent": ME, "why": "it was stolen"})).status_code == 200


async def rotated(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    await plane.tokens.rotate(at_once=True)


@pytest.mark.parametrize("end", [revoked, killed, rotated])
async def test_a_session_ends_with_the_agent_s_token_that_opened_it(
    client: httpx.AsyncClient,
    plane: ControlPlane,  # noqa: F811
    end: Callable[[httpx.AsyncClient, ControlPlane], Awaitable[None]],
) -> None:
    """Who has stolen one had the agent's tasks and mail for ever: the token was revoked, and its session lived on."""
    thief = await anew(client, await token_of(await opened(client), client))
    assert (await thief.say("renew")).status_code == 200
    await end(client, plane)
    for path, body in (("renew", {}), ("claim", {}), ("messages/receive", {"agent_id": ME})):
        assert problem_of(await thief.say(path, **body)).code == "session_unknown"
    assert (await client.get("/api/remote/agents")).json()["items"] == []


async def test_who_is_taken_over_hears_nothing_more_though_it_waits(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    old = await opened(client)
    waits = asyncio.create_task(old.say("messages/receive", agent_id=ME, wait_s=60))
    await eventually(lambda: ME in plane.remote._waits)
    new = await anew(client)
    assert (await client.post("/api/messages", json={"recipient": ME, "payload": "for the new one"})).status_code == 201
    assert problem_of(await waits).code == "agent_unknown"
    assert plane.bus is not None
    assert (await new.say("messages/receive", agent_id=ME)).status_code == 200


async def test_an_answer_comes_too_late_for_who_was_taken_over(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    old = await opened(client)
    assert plane.bus is not None
    waits = asyncio.create_task(old.say("messages/ask", agent_id=ME, recipient="worker-1", payload="?", timeout_s=60))
    (asked,) = await plane.bus.receive("worker-1", wait_s=60)
    await anew(client)
    await plane.bus.reply(asked, "the answer")
    assert problem_of(await waits).code == "agent_unknown"


async def test_the_killed_write_to_nobody(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    session, other = await opened(client), await opened(client, "other")
    await killed(client, plane)
    said: dict[str, Any] = {"agent_id": ME, "recipient": "worker-1", "payload": "still here"}
    for path in ("messages", "messages/ask"):
        refused = await session.say(path, **said)
        assert (refused.status_code, problem_of(refused).code) == (409, "agent_stopped")
    assert (await session.say("messages/receive", agent_id=ME)).json() == {"messages": []}
    assert (await other.say("messages", **{**said, "agent_id": "remote.other"})).status_code == 201
    await client.post("/api/kill", json={"agent": ME, "lift": True})
    assert (await session.say("messages", **said)).status_code == 201


async def test_a_flood_of_waits_for_mail_is_refused_and_others_are_served(
    client: httpx.AsyncClient,
    plane: ControlPlane,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desk, "WAITS_MAX", 4)
    flooding = await opened(client, "ocr-1", "ocr-2")
    ask = {"agent_id": ME, "recipient": "worker-1", "timeout_s": 60}
    waits = [asyncio.create_task(flooding.say("messages/receive", agent_id=ME, wait_s=60)) for _ in range(2)]
    waits += [asyncio.create_task(flooding.say("messages/ask", **ask)) for _ in range(2)]
    await eventually(lambda: plane.remote._waits[ME] == 4)
    for path, body in (("messages/receive", {"agent_id": ME, "wait_s": 60}), ("messages/ask", ask)):
        refused = await flooding.say(path, **body)
        assert (refused.status_code, problem_of(refused).code) == (429, "waits_full")
    assert (await flooding.say("messages/receive", agent_id="remote.ocr-2")).json() == {"messages": []}
    for each in waits:
        each.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert not plane.remote._waits


async def test_a_session_has_no_more_tasks_than_it_can_name(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand agents of a thousand slots had a million, and each of their words cost the engine a look at all of them."""
    monkeypatch.setattr(desk, "HELD_MAX", 3)
    session = await opened(client, slots=1000)
    ids = {await submit(client) for _ in range(5)}
    first = (await session.claim(max_tasks=2))["tasks"]
    second = (await session.claim(max_tasks=100, running=[task["task_id"] for task in first]))["tasks"]
    held = [task["task_id"] for task in (*first, *second)]
    assert len(held) == 3 and ids > {*held}
    assert (await session.claim(max_tasks=100, running=held))["tasks"] == []
    assert (await session.task(first[0], "complete", result=1)).status_code == 200
    assert len((await session.claim(max_tasks=100, running=held[1:]))["tasks"]) == 1


@pytest.mark.parametrize(
    "name",
    [
        f"{ME}#01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",
        "remote.\x1b[2J",
        "remote.",
        "remote.A",
        "worker-01",
        "worker-0",
        "worker-\uff11",
        "worker-1\n",
        "worker-1#x-1",
        "worker-99999999999",
        "worker-3",
        "remote.nobody",
    ],
)
async def test_what_can_name_nobody_gets_no_inbox(client: httpx.AsyncClient, plane: ControlPlane, name: str) -> None:  # noqa: F811
    """Each would be an inbox of its own, which nobody reads; one with the number of a question, an answer to it."""
    session = await opened(client)
    for path, body in (("messages", {}), ("messages/ask", {"timeout_s": 0})):
        answer = await session.say(path, agent_id=ME, recipient=name, **body)
        assert (answer.status_code, problem_of(answer).code) == (404, "agent_unknown"), answer.text
    if name != "remote.nobody":  # who may come yet, as far as people know
        answer = await client.post("/api/messages", json={"recipient": name})
        assert problem_of(answer).code in ("agent_unknown", "message_forbidden"), answer.text
    assert (await client.get("/api/messages")).json()["backlog"] == 0


async def test_only_who_was_asked_answers(client: httpx.AsyncClient, plane: ControlPlane) -> None:  # noqa: F811
    """Who has read a question, or its number, said what it liked in the name of nobody in particular, and was believed."""
    asking, liar = await opened(client), await opened(client, "liar")
    assert plane.bus is not None
    waits = asyncio.create_task(asking.say("messages/ask", agent_id=ME, recipient="worker-1", payload="?", timeout_s=60))
    (asked,) = await plane.bus.receive("worker-1", wait_s=60)
    lie = {"agent_id": "remote.liar", "recipient": ME, "payload": "a lie", "reply_to": asked.id}
    assert (await liar.say("messages", type=MessageType.HELP_RESPONSE, **lie)).status_code == 201
    async with asyncio.timeout(LIMIT_S):
        while not (found := await plane.bus.refusals()):
            await asyncio.sleep(0.01)
    assert [(one.why, one.sender, one.recipient) for one in found] == [("forbidden", "remote.liar", ME)]
    await plane.bus.reply(asked, "the truth")
    answer = (await waits).json()
    assert (answer["sender"], answer["payload"]) == ("worker-1", "the truth")
