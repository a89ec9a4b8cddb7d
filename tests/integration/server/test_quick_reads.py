"""What a read costs the engine and the records, counted where they are asked; the way past the framework answers as it does."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

import amas.server.agents
import amas.server.app
import amas.server.figures
import amas.server.identity
import amas.server.routes.fleet
from amas.clock import new_id
from amas.engine.connection import Engine
from amas.engine.line import Line, LineBroken
from amas.engine.writes import _WritesAtOnce
from amas.records.database import Database
from amas.records.store import Records
from amas.server.plane import ControlPlane
from amas.server.quick import READS, Read

from .conftest import WORK, Hands, client_of, make_plane
from .test_access import bearer, make


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the engine was written to, and the records looked into."""
    counted: Counter[str] = Counter()
    send, look, reading = _WritesAtOnce.send_packed_command, Database.look, Database.reading
    glance, ask = Database.glance, Line.ask

    async def asked(line, command):
        found = await ask(line, command)
        counted["engine"] += 1
        return found

    async def sent(connection, command, check_health=True):
        counted["engine"] += 1
        await send(connection, command, check_health)

    async def looked(database, question):
        counted["records"] += 1
        return await look(database, question)

    def read(database):
        counted["records, many hops"] += 1
        return reading(database)

    def glanced(database, question):
        counted["glances"] += 1
        return glance(database, question)

    monkeypatch.setattr(Line, "ask", asked)
    monkeypatch.setattr(Database, "glance", glanced)
    monkeypatch.setattr(_WritesAtOnce, "send_packed_command", sent)
    monkeypatch.setattr(Database, "look", looked)
    monkeypatch.setattr(Database, "reading", read)
    monkeypatch.setattr(amas.server.agents, "FRESH_S", 3600.0)
    monkeypatch.setattr(amas.server.identity, "KEYS_STALE_S", 3600.0)
    return counted


@pytest.fixture
async def made(engine: Engine, records: Records, tmp_path) -> AsyncIterator[tuple[ControlPlane, Hands, httpx.AsyncClient]]:
    plane = make_plane(engine, records, tmp_path)
    plane.live.position = "0-0"  # as when it follows the journal, which would be counted
    hands = Hands(plane)
    await hands.register()
    await opened(engine.line)
    async with client_of(plane) as client:
        yield plane, hands, client


async def opened(line: Line) -> None:
    """Wait until there is a line: who asks before that is answered another way."""
    async with asyncio.timeout(60):
        while line._talk is None:
            with suppress(LineBroken):
                await line.ask(("PING",))
            await asyncio.sleep(0.01)


async def _submitted(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/tasks", json={"capability": WORK, "title": "count"})
    return str(answer.json()["id"])


@pytest.mark.parametrize(
    ("path", "calls", "looks"),
    [
        ("/api/tasks/{queued}", 1, 0),
        ("/api/tasks/{ended}", 1, 0),
        ("/api/tasks?limit=20", 0, 1),
        ("/api/workflows/{workflow}", 2, 1),
        ("/api/workflows?limit=20", 0, 1),
        ("/api/agents?limit=1&status=idle&pool=worker", 0, 0),
        ("/api/agents?limit=50", 1, 0),  # for those that run elsewhere
        ("/api/agents/worker-1", 0, 1),
        ("/api/pools", 0, 0),
        ("/api/metrics", 1, 1),
        ("/api/costs?by=agent", 0, 1),
        ("/api/analytics?hours=1", 0, 1),
    ],
)
async def test_a_read_asks_the_engine_and_the_records_this_often(made, asked, path: str, calls: int, looks: int) -> None:
    _, hands, client = made
    ended = await _submitted(client)
    await hands.finish((await hands.claim())[0], 1)
    await hands.record()
    queued = await _submitted(client)
    workflow = (await client.post("/api/goals", json={"text": "x"})).json()["workflow_id"]
    path = path.format(queued=queued, ended=ended, workflow=workflow)
    assert (await client.get(path)).status_code == 200  # so that the hosts and keys are known
    await hands.fail((await hands.claim())[0], "odd", "so that something is written")
    await hands.record()
    asked.clear()
    assert (await client.get(path)).status_code == 200
    assert asked.pop("glances", 0) <= 1 and asked == +Counter(engine=calls, records=looks)


OFTEN = ["/api/tasks?limit=20", "/api/workflows?limit=20", "/api/metrics", "/api/costs?by=agent", "/api/analytics"]


@pytest.mark.parametrize("path", OFTEN)
async def test_records_that_are_as_they_were_are_not_asked_again(made, asked, monkeypatch, path: str) -> None:
    _, hands, client = made
    monkeypatch.setattr(amas.server.figures, "now_ms", lambda: 1_800_000_000_000)
    monkeypatch.setattr(amas.server.routes.fleet, "now_ms", lambda: 1_800_000_000_000)
    await client.get(path)
    for looks in (1, 0):
        if looks:
            await _submitted(client)
            await hands.record()
        asked.clear()
        assert (await client.get(path)).status_code == 200
        assert asked["records"] == looks


async def test_hosts_that_are_known_take_one_round_trip(made, asked, monkeypatch: pytest.MonkeyPatch) -> None:
    plane, hands, _ = made
    assert [host.id for host in await plane.hosts.all()] == ["h1"]
    asked.clear()
    assert [host.id for host in await plane.hosts.all()] == ["h1"]
    assert asked == Counter(engine=1)
    await plane.hosts.register("h0", (await plane.hosts.all())[0].about, lease_s=60)
    claimed = await _submit_and_claim(plane, hands)
    assert [(host.id, list(host.running)) for host in await plane.hosts.all()] == [("h0", []), ("h1", [claimed])]
    await plane.hosts.leave("h1")
    assert [host.id for host in await plane.hosts.all()] == ["h0"]


async def _submit_and_claim(plane: ControlPlane, hands: Hands) -> str:
    async with client_of(plane) as client:
        task_id = await _submitted(client)
    await hands.claim()
    return task_id


@pytest.mark.parametrize("together", [True, False])
async def test_looks_at_many_tasks_go_together_where_none_is_answered_at_once(made, asked, monkeypatch, together: bool) -> None:
    plane, hands, client = made

    async def broken(*_) -> None:
        raise LineBroken

    if together:
        monkeypatch.setattr(Line, "ask", broken)
        monkeypatch.setattr(Database, "glance", lambda *_: None)  # as with PostgreSQL, and where the disk is slow
    answer = await client.post("/api/tasks/batch", json=[{"capability": WORK}] * 40)
    ids = [*answer.json()["ids"], new_id()]
    await hands.record()
    asked.clear()
    held = await asyncio.gather(*map(plane.looks.held, ids))
    recorded = await asyncio.gather(*map(plane.looks.recorded, ids))
    assert asked == (Counter(engine=1, records=1) if together else Counter(engine=41, glances=41))
    assert [found and found.task.id for found in held] == [*ids[:-1], None]
    assert [found.task and found.task.id for found in recorded] == [*ids[:-1], None]


SAME = [
    "/api/tasks",
    "/api/tasks?limit=20&state=queued",
    "/api/tasks?workflow_id=nobody&agent_id=a&cursor=b",
    "/api/tasks?state=",
    "/api/tasks?state=null",
    "/api/tasks?state=bogus",
    "/api/tasks?limit=0",
    "/api/tasks?limit=1001",
    "/api/tasks?limit=%205",
    "/api/tasks?limit=5.0",
    "/api/tasks?limit=%2B5",
    "/api/tasks?limit=",
    "/api/tasks?limit=%D9%A3",
    "/api/tasks?limit=1&limit=2",
    "/api/tasks?limit=1&unknown=2",
    "/api/tasks?%FF=%FF&agent_id=%FF",
    "/api/tasks?cursor=" + "x" * 101,
    "/api/tasks/{queued}",
    "/api/tasks/{queued}?unknown=1",
    "/api/tasks/{queued}/",
    "/api/tasks/nobody",
    "/api/tasks/" + "x" * 101,
    "/api/tasks/a%2Fb",
    "/api/tasks/%0A",
    "/api/tasks/",
    "/api/workflows?state=running&limit=201",
    "/api/workflows/nobody",
    "/api/agents?layer=executive&capability=executive.coordinate&host=h1&cursor=&limit=2",
    "/api/agents?layer=Executive",
    "/api/agents/worker-1",
    "/api/agents/nobody",
    "/api/pools",
    "/api/pools?limit=3",
    "/api/health",
    "/api/costs?by=pool",
    "/api/costs?by=nobody",
    "/api/costs?by=day&since=2026-01-01&until=2026-01-02T00:00:00Z",
    "/api/costs?cursor=tomorrow",
    "/api/analytics?hours=0",
    "/api/analytics?hours=nan",
    "/api/analytics?hours=8785",
]


async def test_what_is_answered_past_the_framework_is_what_the_framework_answers(made, monkeypatch: pytest.MonkeyPatch) -> None:
    plane, _, client = made
    queued = await _submitted(client)
    monkeypatch.setattr(amas.server.app, "quick_reads", lambda _: [])
    async with client_of(plane) as framework:
        for path in (each.format(queued=queued) for each in SAME):
            for method in ("GET", "HEAD", "POST"):
                if (method, path.partition("?")[0]) == ("POST", "/api/tasks"):
                    continue
                one, other = await client.request(method, path), await framework.request(method, path)
                told = [(each.status_code, each.headers.get("content-type"), each.content) for each in (one, other)]
                assert told[0] == told[1], f"{method} {path}"


async def test_what_is_plainly_right_goes_past_the_framework(made, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, client = made
    went: list[str] = []
    answer = Read.answer

    async def noted(read: Read, arguments, plane, scope):
        went.append(read.route.path)
        return await answer(read, arguments, plane, scope)

    monkeypatch.setattr(Read, "answer", noted)
    task_id = await _submitted(client)
    asked_for = [path.format(task_id=task_id, agent_id="worker-1", workflow_id="nobody") for path in sorted(READS)]
    for path in [*asked_for, "/api/tasks?limit=20&state=queued", "/api/agents?limit=2&status=idle", "/api/analytics?hours=1.5"]:
        await client.get(path)
    assert went == [*sorted(READS), "/api/tasks", "/api/agents", "/api/analytics"]


async def _tenants(client: httpx.AsyncClient) -> dict[str, dict[str, str]]:
    """Return the headers of callers, by tenant; "" for one who isn't bound to any."""
    admin = bearer((await make(client, "root", "system-admin"))["key"])
    bound = {each: bearer((await make(client, f"a-{each}", "operator", admin, tenant=each))["key"]) for each in ("acme", "rival")}
    return {"": admin, **bound}


async def test_a_tenant_gets_none_of_another_s_past_the_framework(made, monkeypatch: pytest.MonkeyPatch) -> None:
    plane, hands, client = made
    callers = await _tenants(client)
    own = callers["acme"]
    task_id = (await client.post("/api/tasks", json={"capability": WORK}, headers=own)).json()["id"]
    workflow_id = (await client.post("/api/goals", json={"text": "x"}, headers=own)).json()["workflow_id"]
    named = [f"/api/tasks/{task_id}", f"/api/workflows/{workflow_id}", "/api/tasks/nobody", "/api/workflows/nobody"]
    monkeypatch.setattr(amas.server.app, "quick_reads", lambda _: [])
    framework = client_of(plane)

    async def look() -> None:
        for path in named:
            for tenant, caller in callers.items():
                one, other = await client.get(path, headers=caller), await framework.get(path, headers=caller)
                told = [{**each.json(), "seconds": None} for each in (one, other)]  # those of what runs go on between the two
                assert (one.status_code, told[0]) == (other.status_code, told[1])
                there = tenant != "rival" and "nobody" not in path
                assert one.status_code == (200 if there else 404), (path, tenant)

    async with framework:
        await look()
        await hands.record()
        await look()
        keys = [plane.engine.key("t", task_id), plane.engine.key("w", workflow_id)]
        assert await plane.engine.client.delete(*keys) == len(keys)
        await look()


async def test_a_tenant_s_look_at_a_task_costs_what_anybody_s_does(made, asked) -> None:
    _, hands, client = made
    own = (await _tenants(client))["acme"]
    task_id = (await client.post("/api/tasks", json={"capability": WORK}, headers=own)).json()["id"]
    await hands.record()
    asked.clear()
    assert (await client.get(f"/api/tasks/{task_id}", headers=own)).status_code == 200
    assert asked == Counter(engine=1, glances=1)
