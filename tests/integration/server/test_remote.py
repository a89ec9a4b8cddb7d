"""The remote-agent protocol over a real engine: a session's life, what it may speak for, and what the fence keeps out."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from amas.engine.connection import Engine
from amas.model.remote import RemoteSpec
from amas.records.store import Records
from amas.server.live import end
from amas.server.plane import ControlPlane
from amas.settings import MessageSettings, RemoteSettings, ServerSettings

from .conftest import FLEET, WORK, Hands, client_of
from .test_contract import problem_of

OCR = "vision.ocr"
SESSIONS = "/api/remote/sessions"
SECRET = "a-secret-for-messages"
pytestmark = pytest.mark.requirement("T1")


def remote_plane(engine: Engine, records: Records, home: Path, *, remote: RemoteSpec, **more: Any) -> ControlPlane:
    pools = tuple(msgspec.structs.replace(pool, timeout_s=300.0) for pool in FLEET.pools)
    return ControlPlane(
        engine=engine,
        records=records,
        fleet=msgspec.structs.replace(FLEET, pools=pools, remote=remote),
        settings=more.pop("settings", ServerSettings()),
        home=home,
        messages=MessageSettings(secret=SECRET),
        **more,
    )


@pytest.fixture
async def plane(engine: Engine, records: Records, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    made = remote_plane(engine, records, tmp_path, remote=RemoteSpec(agents="declared", capabilities=(OCR,)))
    hearing = asyncio.create_task(made.remote.run())
    yield made
    await end(hearing)


class Session:
    """A remote agent's side, over HTTP."""

    def __init__(self, client: httpx.AsyncClient, opened: dict[str, Any]) -> None:
        self.client, self.id, self.agents = client, opened["session_id"], opened["agents"]
        self.headers = {"authorization": f"Bearer {opened['token']}"}

    async def say(self, path: str, **body: Any) -> httpx.Response:
        return await self.client.post(f"{SESSIONS}/{self.id}/{path}", json=body, headers=self.headers)

    async def claim(self, **asked: Any) -> dict[str, Any]:
        answer = await self.say("claim", **asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def one(self, **asked: Any) -> dict[str, Any]:
        (task,) = (await self.claim(**{"wait_s": 10, **asked}))["tasks"]
        return task

    async def task(self, task: dict[str, Any], word: str, **body: Any) -> httpx.Response:
        return await self.say(f"tasks/{task['task_id']}/{word}", attempt=task["attempt"], **body)


async def opened(client: httpx.AsyncClient, *names: str, **more: Any) -> Session:
    agents = [{"name": name, "capabilities": [OCR, WORK], **more} for name in names or ("ocr-1",)]
    answer = await client.post(SESSIONS, json={"agents": agents})
    assert answer.status_code == 201, answer.text
    return Session(client, answer.json())


async def submit(client: httpx.AsyncClient, capability: str = OCR, **more: Any) -> str:
    answer = await client.post("/api/tasks", json={"capability": capability, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def result_of(client: httpx.AsyncClient, task_id: str) -> Any:
    return (await client.get(f"/api/tasks/{task_id}/result")).json()["result"]


async def test_a_session_from_registration_to_its_end(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    session = await opened(client)
    waiting = asyncio.create_task(session.one(wait_s=20))
    task_id = await submit(client, input={"page": 3}, title="page 3")  # no agent of the fleet's own can do this
    task = await waiting
    assert {name: task[name] for name in ("task_id", "attempt", "agent_id", "input", "title")} == {
        "task_id": task_id, "attempt": 1, "agent_id": "remote.ocr-1", "input": {"page": 3}, "title": "page 3",
    }  # fmt: skip
    (shown,) = (await client.get("/api/remote/agents", params={"capability": OCR})).json()["items"]
    assert (shown["id"], shown["status"], shown["tasks"], shown["remote"]) == ("remote.ocr-1", "working", [task_id], True)
    assert (await session.task(task, "progress", fraction=0.5, note="half")).status_code == 200
    assert (await session.say("renew", running=[task_id])).json()["stop"] == []
    for _ in range(2):  # the second because the first answer might have been lost
        assert (await session.task(task, "complete", result={"text": "A"})).status_code == 200
    assert await result_of(client, task_id) == {"text": "A"}
    ended = await client.delete(f"{SESSIONS}/{session.id}", headers=session.headers)
    assert ended.json() == {"session_id": session.id, "given_back": 0}
    assert (await client.get("/api/remote/agents")).json()["items"] == []
    assert problem_of(await session.say("claim")).code == "session_lost"


async def test_a_stale_completion_is_a_conflict(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    first, second = await opened(client, "a"), await opened(client, "b")
    task_id = await submit(client)
    mine = await first.one()
    assert await plane.remote.registry.close(first.id) == 1  # as the reaper would
    refused = problem_of(await first.task(mine, "complete", result="late"))
    assert (refused.status, refused.code) == (409, "attempt_stale")
    other = await second.one()
    assert (other["task_id"], other["attempt"]) == (task_id, 2)
    assert problem_of(await first.task(mine, "complete", result="late")).code == "attempt_stale"
    assert (await second.task(other, "complete", result="good")).status_code == 200
    assert problem_of(await first.task(mine, "fail", message="late")).code == "attempt_stale"
    assert await result_of(client, task_id) == "good"


async def test_nobody_speaks_for_another(client: httpx.AsyncClient, hands: Hands) -> None:
    mine, other = await opened(client, "a"), await opened(client, "b")
    task_id = await submit(client)
    task = await other.one()
    for word, body in (("complete", {}), ("fail", {"message": "no"}), ("progress", {"fraction": 1}), ("steps", {"name": "s"})):
        refused = problem_of(await mine.task(task, word, **body))
        assert (refused.status, refused.code) == (403, "task_foreign"), word
    steps = await client.get(f"{SESSIONS}/{mine.id}/tasks/{task_id}/steps", headers=mine.headers)
    assert problem_of(steps).code == "task_foreign"
    (ours,) = [await submit(client, WORK)]
    (held,) = await hands.claim()
    assert problem_of(await mine.task({"task_id": ours, "attempt": held.attempt}, "complete")).status == 403  # a host's own
    stolen = await client.post(f"{SESSIONS}/{other.id}/claim", json={}, headers=mine.headers)
    assert problem_of(stolen).code == "session_token_needed"
    assert problem_of(await client.post(f"{SESSIONS}/{other.id}/claim", json={})).status == 401
    assert problem_of(await mine.say("claim", agents=["remote.b"])).code == "agent_unknown"
    for path, body in (
        ("messages", {"recipient": "worker-1"}),
        ("messages/receive", {}),
        ("messages/ack", {"message_ids": ["x"]}),
    ):
        assert problem_of(await mine.say(path, agent_id="remote.b", **body)).code == "agent_unknown"
    unknown = problem_of(await mine.task({"task_id": "none", "attempt": 1}, "complete"))
    assert (unknown.status, unknown.code) == (404, "task_unknown")
    assert (await other.task(task, "complete")).status_code == 200


async def test_what_was_handed_out_and_never_arrived_is_handed_out_again(client: httpx.AsyncClient) -> None:
    session = await opened(client, slots=2)
    await submit(client)
    lost = await session.one()
    again = await session.one()
    assert again == lost
    second = await submit(client)
    assert (await session.one(running=[lost["task_id"]]))["task_id"] == second
    assert (await session.claim(running=[lost["task_id"], second]))["tasks"] == []


@pytest.mark.parametrize("what", ["kill", "cancel"])
async def test_a_session_with_its_hands_full_hears_what_to_stop(
    client: httpx.AsyncClient, plane: ControlPlane, what: str
) -> None:
    session = await opened(client)
    task_id = await submit(client)
    await session.one()
    waiting = asyncio.create_task(session.say("renew", running=[task_id], wait_s=60))
    while not plane.remote._waiting:
        await asyncio.sleep(0)
    if what == "kill":
        await client.post("/api/kill", json={"agent": "remote.ocr-1", "why": "a test"})
    else:
        await client.post(f"/api/tasks/{task_id}/cancel")
    assert (await waiting).json()["stop"] == [task_id]
    assert (await session.say("renew", running=[], wait_s=0)).json()["stop"] == []


async def test_a_cancelled_task_is_to_be_stopped(client: httpx.AsyncClient) -> None:
    session = await opened(client)
    task_id = await submit(client)
    task = await session.one()
    assert (await client.post(f"/api/tasks/{task_id}/cancel")).status_code == 200
    assert (await session.say("renew", running=[task_id])).json()["stop"] == [task_id]
    assert (await session.claim(running=[task_id], wait_s=30))["stop"] == [task_id]
    refused = problem_of(await session.task(task, "complete"))
    assert (refused.status, refused.code) == (409, "task_cancelled")


async def test_the_first_result_of_a_step_stands_however_large(client: httpx.AsyncClient) -> None:
    session = await opened(client)
    await submit(client)
    task = await session.one()
    large = "x" * 100_000  # goes through the artifact store
    assert (await session.task(task, "steps", name="page-1", result=large)).json() == {"steps": {"page-1": large}}
    again = await session.task(task, "steps", name="page-1", result="other")
    assert again.json()["steps"]["page-1"] == large


async def test_a_later_attempt_finds_the_steps_of_an_earlier_one_until_a_failure_is_final(
    client: httpx.AsyncClient, plane: ControlPlane
) -> None:
    session = await opened(client)
    task_id = await submit(client)
    task = await session.one()
    await session.task(task, "steps", name="page-1", result=[1, 2])
    assert (await session.task(task, "fail", message="no more paper", delay_s=0)).status_code == 200
    await plane.queue.promote(now_ms=plane.engine.now_ms() + 1000)
    second = await session.one()
    assert (second["attempt"], second["failed_attempts"], second["resumed"]) == (2, 1, True)
    steps = await client.get(f"{SESSIONS}/{session.id}/tasks/{task_id}/steps", headers=session.headers)
    assert steps.json() == {"steps": {"page-1": [1, 2]}}
    assert (await session.task(second, "fail", code="blank", message="the page is blank", final=True)).status_code == 200
    failed = (await client.get(f"/api/tasks/{task_id}")).json()
    assert (failed["state"], failed["failure"]) == ("failed", {"code": "blank", "message": "the page is blank"})


async def test_large_values_needs_and_conditions(client: httpx.AsyncClient) -> None:
    session = await opened(client, slots=5)
    large = "y" * 100_000
    answer = await client.post(
        "/api/tasks/batch",
        json=[
            {"capability": OCR, "key": "a", "input": large},
            {"capability": OCR, "key": "b", "needs": ["a"], "input": {"wanted": False}},
            {"capability": OCR, "key": "c", "needs": ["a"], "when": "input.wanted", "input": {"wanted": False}},
        ],
    )
    a, b, c = answer.json()["ids"]
    task = await session.one()
    assert (task["task_id"], task["input"]) == (a, large)
    assert (await session.task(task, "complete", result=large + "!")).status_code == 200
    after = await session.one(max_tasks=5)
    assert (after["task_id"], list(after["needs"].values())) == (b, [large + "!"])
    assert await result_of(client, c) is None  # there was nothing to do


async def test_an_attempt_that_takes_too_long_is_failed(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    session = await opened(client)
    task_id = await submit(client, timeout_s=0.001, retry={"retries": 0})
    task = await session.one()
    stop: list[str] = []
    async with asyncio.timeout(60):
        while not stop:
            stop = (await session.say("renew", running=[task_id])).json()["stop"]
    assert stop == [task_id]
    assert (await client.get(f"/api/tasks/{task_id}")).json()["failure"]["code"] == "timed_out"
    assert problem_of(await session.task(task, "complete")).code == "attempt_stale"


async def test_a_claim_gives_no_more_than_there_is_room_for(client: httpx.AsyncClient) -> None:
    session = await opened(client, "a", "b", slots=2)
    ids = [await submit(client) for _ in range(6)]
    first = (await session.claim(max_tasks=3))["tasks"]
    assert len(first) == 3
    running = [task["task_id"] for task in first]
    assert len((await session.claim(max_tasks=100, running=running))["tasks"]) == 1
    assert len((await session.claim(max_tasks=100, running=ids[:4]))["tasks"]) == 0


async def test_messages_go_both_ways(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    session = await opened(client)
    me = "remote.ocr-1"
    sent = await session.say("messages", agent_id=me, recipient="worker-1", payload={"pages": 3})
    assert sent.status_code == 201
    assert plane.bus is not None
    (got,) = await plane.bus.receive("worker-1", wait_s=60)
    assert (got.id, got.sender, got.payload) == (sent.json()["message_id"], me, {"pages": 3})
    answer = await client.post("/api/messages", json={"recipient": me, "payload": "thanks"})
    assert answer.status_code == 201
    (mail,) = (await session.say("messages/receive", agent_id=me, wait_s=60)).json()["messages"]
    assert (mail["sender"], mail["payload"]) == ("amas/operator-1", "thanks")
    assert (await session.say("messages/ack", agent_id=me, message_ids=[mail["id"]])).json() == {"too_late": []}
    assert (await session.say("messages/receive", agent_id=me)).json() == {"messages": []}
    refused = await session.say("messages", agent_id=me, recipient="worker-1", type="quality_approval")
    assert problem_of(refused).code == "message_forbidden"


@pytest.mark.parametrize(
    ("agents", "capability", "code"),
    [
        ("off", OCR, "remote_off"),
        ("listed", OCR, ""),
        ("listed", WORK, "capability_refused"),
        ("declared", WORK, ""),
        ("declared", "other.thing", "capability_refused"),
        ("any", "other.thing", ""),
        ("any", "not a capability", "request_invalid"),
    ],
)
async def test_a_fleet_says_who_is_let_in(
    engine: Engine, records: Records, tmp_path: Path, agents: Any, capability: str, code: str
) -> None:
    plane = remote_plane(engine, records, tmp_path, remote=RemoteSpec(agents=agents, capabilities=(OCR,)))
    async with client_of(plane) as client:
        answer = await client.post(SESSIONS, json={"agents": [{"name": "x", "capabilities": [capability]}]})
        if code:
            assert problem_of(answer).code == code
            return
        assert answer.status_code == 201
        task_id = await submit(client, capability)
        session = Session(client, answer.json())
        task = await session.one()
        assert task["task_id"] == task_id
        unknown = await client.post("/api/tasks", json={"capability": "nobody.can"})
        assert problem_of(unknown).code == "capability_unknown"


async def test_a_token_of_its_own_registers_agents_and_nothing_else(engine: Engine, records: Records, tmp_path: Path) -> None:
    fleet_token, remote_token = "the-fleets-own-token", "a-token-for-agents"
    plane = remote_plane(
        engine,
        records,
        tmp_path,
        remote=RemoteSpec(agents="listed", capabilities=(OCR,)),
        settings=ServerSettings(host="0.0.0.0", token=fleet_token),
        remote_settings=RemoteSettings(token=remote_token),
    )
    new = {"agents": [{"name": "x", "capabilities": [OCR]}]}
    async with client_of(plane) as client:
        assert problem_of(await client.post(SESSIONS, json=new)).code == "token_needed"
        given = {"authorization": f"Bearer {remote_token}"}
        answer = await client.post(SESSIONS, json=new, headers=given)
        assert answer.status_code == 201
        for path in ("/api/tasks", "/api/remote/agents", SESSIONS + "/../../tasks"):
            assert (await client.get(path, headers=given)).status_code in {403, 404}
        session = Session(client, answer.json())
        assert await session.claim() == {"tasks": [], "stop": []}
        assert (await client.get("/api/tasks", headers=session.headers)).status_code == 401
        twice = await client.post(SESSIONS, json=new, headers={"authorization": f"Bearer {fleet_token}"})
        assert problem_of(twice).code == "agent_taken"
        taken_over = await client.post(SESSIONS, json={**new, "take_over": True}, headers=given)
        assert taken_over.status_code == 201


async def test_a_hostile_session_fills_nothing_and_takes_nobody_s_name(
    client: httpx.AsyncClient, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with a key of its own registers what another has, opens sessions without end, and journals steps without end."""
    keys = {}
    for name, role in (("root", "system-admin"), ("ada", "agent"), ("mallory", "agent")):
        made = await client.post("/api/keys", json={"name": name, "role": role}, headers=keys.get("root"))
        keys[name] = {"authorization": f"Bearer {made.json()['key']}"}

    def new(name: str) -> dict[str, Any]:
        return {"agents": [{"name": name, "capabilities": [OCR]}], "take_over": True}

    assert (await client.post(SESSIONS, json=new("a"), headers=keys["ada"])).status_code == 201
    assert problem_of(await client.post(SESSIONS, json=new("a"), headers=keys["mallory"])).code == "agent_taken"
    assert (await client.post(SESSIONS, json=new("a"), headers=keys["ada"])).status_code == 201, "its own, after a crash"
    plane.remote.settings = msgspec.structs.replace(plane.remote.settings, max_agents=2)
    flooding = Session(client, (await client.post(SESSIONS, json=new("m"), headers=keys["mallory"])).json())
    full = await client.post(SESSIONS, json=new("m2"), headers=keys["mallory"])
    assert (full.status_code, problem_of(full).code) == (503, "agents_full")

    asked = await client.post("/api/tasks", json={"capability": OCR}, headers=keys["root"])
    task = await flooding.one()
    assert task["task_id"] == asked.json()["id"]
    monkeypatch.setattr("amas.server.remote.STEPS_MAX", 3)
    for number in range(3):
        assert (await flooding.task(task, "steps", name=f"s{number}", result=number)).status_code == 200
    assert problem_of(await flooding.task(task, "steps", name="s3", result=3)).code == "steps_full"
    assert (await flooding.task(task, "steps", name="s0", result=9)).json()["steps"] == {"s0": 0, "s1": 1, "s2": 2}
    lie = await flooding.task(task, "complete", result=None, usage={"usd": -5.0})
    assert (lie.status_code, problem_of(lie).errors[0].pointer) == (422, "#/usage/usd")


async def test_a_session_ends_with_the_key_that_opened_it(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    """Also while it waits for work, and what it runs goes to others at once; sessions of other keys go on."""
    keys = {}
    for name in ("root", "ada", "bob"):
        role = "system-admin" if name == "root" else "agent"
        made = await client.post("/api/keys", json={"name": name, "role": role}, headers=keys.get("root"))
        keys[name] = {"authorization": f"Bearer {made.json()['key']}"}
        if name == "ada":
            prefix = made.json()["prefix"]
    sessions = []
    for name in ("ada", "bob"):
        said = {"agents": [{"name": name, "capabilities": [OCR]}]}
        sessions.append(Session(client, (await client.post(SESSIONS, json=said, headers=keys[name])).json()))
    task_id = (await client.post("/api/tasks", json={"capability": OCR}, headers=keys["root"])).json()["id"]
    assert (await sessions[0].one())["task_id"] == task_id
    waits = asyncio.create_task(sessions[0].say("renew", running=[task_id], wait_s=20))
    async with asyncio.timeout(60):
        while not plane.remote._waiting.get(OCR):
            await asyncio.sleep(0.01)
        assert (await client.delete(f"/api/keys/{prefix}", headers=keys["root"])).status_code == 200
        assert problem_of(await waits).code == "session_unknown"
    late = await sessions[0].say(f"tasks/{task_id}/complete", attempt=1, result="too late")
    assert problem_of(late).code == "session_unknown"
    assert (await sessions[1].one())["task_id"] == task_id


async def test_found_agents_come_in_pages_while_they_come_and_go(client: httpx.AsyncClient, hands: Hands) -> None:
    sessions = {name: await opened(client, name, labels={"lang": name[0]}) for name in ("a1", "a2", "b1", "b2", "b3")}

    async def walk(limit: int, **query: Any) -> tuple[list[str], int]:
        seen: list[str] = []
        cursor: str | None = ""
        pages = 0
        while cursor is not None:
            page = (await client.get("/api/remote/agents", params={"limit": limit, "cursor": cursor, **query})).json()
            assert len(page["items"]) <= limit
            seen, cursor, pages = [*seen, *(one["id"] for one in page["items"])], page["next"], pages + 1
        return seen, pages

    everybody = [*(f"remote.{name}" for name in sessions), "coordinator-1", "worker-1", "worker-2"]
    assert await walk(100) == (everybody, 1)
    assert [await walk(limit) for limit in (1, 3, 8)] == [(everybody, 8), (everybody, 3), (everybody, 1)]
    assert await walk(2, label="lang in (b)") == (everybody[2:5], 2)
    assert await walk(1, status="idle", label="pool=worker") == (["worker-1", "worker-2"], 2)
    first = (await client.get("/api/remote/agents", params={"limit": 2})).json()
    for name in ("a2", "b1"):
        gone = sessions[name]
        assert (await client.delete(f"{SESSIONS}/{gone.id}", headers=gone.headers)).status_code == 200
    rest = (await client.get("/api/remote/agents", params={"cursor": first["next"]})).json()
    assert [one["id"] for one in rest["items"]] == everybody[3:]


async def test_agents_are_found_beside_the_fleets_own(client: httpx.AsyncClient, hands: Hands) -> None:
    await opened(client, "a", labels={"gpu": "a100"})

    async def found(**query: Any) -> list[str]:
        answer = await client.get("/api/remote/agents", params=query)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["items"]]

    assert await found(capability=WORK) == ["remote.a", "worker-1", "worker-2"]
    assert await found(label="gpu=a100") == ["remote.a"]
    assert await found(label=["pool=worker", "host=h1"]) == ["worker-1", "worker-2"]
    assert await found(layer="executive") == ["coordinator-1"]
    assert await found(status="working") == []
    assert await found(label=["gpu"]) == ["remote.a"]
    assert await found(label="!gpu, host!=h2", layer="executive") == ["coordinator-1"]
    assert problem_of(await client.get("/api/remote/agents", params={"label": "odd one"})).status == 422


async def test_agents_elsewhere_stand_in_the_list_of_agents_after_the_fleets_own(client: httpx.AsyncClient, hands: Hands) -> None:
    async def listed(**filters: Any) -> tuple[list[str], int]:
        ids, cursor = [], ""
        while cursor is not None:
            page = (await client.get("/api/agents", params={**filters, "limit": 2, "cursor": cursor})).json()
            ids += [one["agent_id"] for one in page["items"]]
            cursor = page["next"]
        return ids, page["total"]

    hands.cards = tuple(msgspec.structs.replace(card, labels={"family": card.pool}) for card in hands.cards)
    await hands.register()
    session = await opened(client, "ocr-1", "ocr-2", labels={"gpu": "a100"})
    afar = ["remote.ocr-1", "remote.ocr-2"]
    assert await listed() == (["coordinator-1", "worker-1", "worker-2", *afar], 5)
    await client.post("/api/tasks", json={"capability": OCR})
    (task,) = (await session.claim(agents=["remote.ocr-2"]))["tasks"]
    assert await listed(status="working") == (["remote.ocr-2"], 1)
    assert await listed(capability=OCR, status="idle") == (["remote.ocr-1"], 1)
    assert await listed(host=session.id) == (afar, 2)
    assert await listed(host="h1", pool="worker") == (["worker-1", "worker-2"], 2)
    assert await listed(pool="amas/remote", layer="execution") == (afar, 2)
    assert await listed(label="family=worker") == (["worker-1", "worker-2"], 2)
    assert await listed(label=["family", "family!=worker"]) == (["coordinator-1"], 1)
    assert await listed(label="gpu=a100") == (afar, 2)
    assert await listed(label="gpu in (a100, h100)", status="working") == (["remote.ocr-2"], 1)
    assert await listed(label="!gpu,family notin (worker)") == (["coordinator-1"], 1)
    (fault,) = problem_of(await client.get("/api/agents", params={"label": "a b"})).errors
    assert (fault.parameter, "name!=value" in fault.detail) == ("label", True)
    shown = (await client.get("/api/agents/remote.ocr-2")).json()
    assert (shown["status"], shown["host_id"], shown["current_tasks"]) == ("working", session.id, [task["task_id"]])
    unknown = await client.get("/api/agents/remote.nobody")
    assert (unknown.status_code, "no session has registered it" in unknown.json()["detail"]) == (404, True)
    for refused in (
        await client.delete("/api/agents/remote.ocr-1"),
        await client.post("/api/agents/remote.ocr-1/restart", json={}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "agent_elsewhere")


async def test_whose_agents_were_taken_over_is_told(client: httpx.AsyncClient) -> None:
    first = await opened(client, "a")
    taken = await client.post(SESSIONS, json={"agents": [{"name": "a", "capabilities": [OCR]}], "take_over": True})
    assert taken.status_code == 201
    assert problem_of(await first.say("claim", wait_s=30)).code == "agent_unknown"


async def test_what_a_task_leaves_open_its_pool_says(client: httpx.AsyncClient) -> None:
    session = await opened(client, slots=2)
    await submit(client, WORK)
    assert (await session.one())["timeout_s"] == 300.0


@pytest.mark.requirement("B12")
async def test_a_remote_agent_gets_a_token_for_what_it_runs_and_can_register_anew_with_it(client, plane: ControlPlane) -> None:
    key = (await client.post("/api/keys", json={"name": "root", "role": "system-admin"})).json()["key"]
    admin = {"authorization": f"Bearer {key}"}
    client.headers.update(admin)
    first, other = await opened(client, "ocr-1"), await opened(client, "ocr-2")
    await submit(client, tenant="acme")
    await submit(client)
    tasks = [await first.one(), await other.one()]
    assert problem_of(await other.task(tasks[0], "token")).code == "task_foreign"
    strange = await first.task(tasks[0], "token", audience="two words")
    assert strange.status_code == 422
    tokens = [(await who.task(task, "token")).json()["token"] for who, task in zip((first, other), tasks, strict=True)]
    callers = [(await client.get("/api/session", headers={"authorization": f"Bearer {token}"})).json() for token in tokens]
    assert [(who["name"], who["role"], who["tenant"]) for who in callers] == [
        ("remote.ocr-1", "agent", "acme"),
        ("remote.ocr-2", "agent", ""),
    ]
    mine = {"authorization": f"Bearer {tokens[1]}"}
    for names in (["ocr-1"], ["ocr-2", "ocr-3"]):
        agents = [{"name": name, "capabilities": [OCR]} for name in names]
        refused = await client.post(SESSIONS, json={"agents": agents, "take_over": True}, headers=mine)
        assert problem_of(refused).code == "agent_foreign"
    again = {"agents": [{"name": "ocr-2", "capabilities": [OCR]}], "take_over": True}
    assert (await client.post(SESSIONS, json=again, headers=mine)).status_code == 201
    await client.post("/api/kill", json={"agent": "remote.ocr-2", "why": "it leaks"})
    assert problem_of(await client.post(SESSIONS, json=again, headers=mine)).code == "token_revoked"
    await client.delete("/api/tokens/remote.ocr-1", headers=admin)
    gone = await client.get("/api/session", headers={"authorization": f"Bearer {tokens[0]}"})
    assert problem_of(gone).code == "token_revoked"
