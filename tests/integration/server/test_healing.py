"""Quarantines, recoveries and breakers over HTTP: seen, changed, and refused with a sentence."""

import httpx
import pytest

from amas.engine.breakers import Breakers
from amas.model.breaker import BreakerSpec
from amas.model.desired import Desired
from amas.observe import names
from amas.server.plane import ControlPlane

from .conftest import WORK, Hands
from .test_contract import problem_of
from .test_fleet import scrape


async def test_an_agent_is_quarantined_and_let_go(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    said = {"why": "odd answers", "by": "ann", "for_s": 60}
    answer = await client.put("/api/quarantine/worker-1", json=said)
    (item,) = answer.json()["items"]
    assert (item["agent_id"], item["pool"], item["by"], item["why"]) == ("worker-1", "worker", "ann", "odd answers")
    assert item["until_ms"] - item["at_ms"] == 60_000
    assert answer.json()["pools_down"] == []
    await client.put("/api/quarantine/worker-2", json=said)
    figures = (await client.get("/api/metrics")).json()
    assert (figures["quarantined"], figures["pools_down"]) == (2, ["worker"])
    assert (await scrape(plane))[names.AGENTS_QUARANTINED] == 2
    left = (await client.delete("/api/quarantine/worker-1", params={"by": "bob"})).json()
    assert [item["agent_id"] for item in left["items"]] == ["worker-2"] and left["pools_down"] == []
    wanted: Desired = await plane.desired.read()
    assert list(wanted.quarantines) == ["worker-2"]
    newest = (await plane.desired.history(limit=1))[0]
    assert (newest.by, newest.why, newest.fields) == ("bob", "worker-1: lifted", ("quarantine:worker-1",))


@pytest.mark.parametrize(
    ("agent", "body", "status", "detail"),
    [
        ("nobody-1", {"why": "x"}, 404, "declares no agent 'nobody-1'"),
        ("worker", {"why": "x"}, 404, "declares no agent 'worker'"),
        ("worker-1", {"why": " "}, 422, "say why"),
        ("worker-1", {}, 422, "why"),
        ("worker-1", {"why": "x", "for_s": -1}, 422, "must be from 0"),
    ],
)
async def test_a_wrong_quarantine_is_refused(
    client: httpx.AsyncClient, agent: str, body: dict[str, object], status: int, detail: str
) -> None:
    answer = await client.put(f"/api/quarantine/{agent}", json=body)
    assert answer.status_code == status and detail in answer.text
    assert (await client.delete("/api/quarantine/worker-1")).status_code == 404


async def test_recoveries_are_listed_newest_first(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    now_ms = plane.engine.now_ms()
    await plane.recoveries.note("host_lost", "host-1", since_ms=now_ms - 6000, tasks=12)
    await plane.recoveries.note("agent_crashed", "worker-1", since_ms=now_ms, tasks=1)
    found = (await client.get("/api/recoveries")).json()
    assert [(item["cause"], item["subject"], item["tasks"]) for item in found["items"]] == [
        ("agent_crashed", "worker-1", 1),
        ("host_lost", "host-1", 12),
    ]
    assert found["items"][1]["duration_s"] >= 6 and found["under_way"] == 0
    assert len((await client.get("/api/recoveries?limit=1")).json()["items"]) == 1


async def test_a_breaker_is_seen_and_closed_by_hand(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    breakers = Breakers(plane.engine)
    await breakers.declare({"model/openai": BreakerSpec(errors=1, open_s=600)})
    await breakers.enter("model/openai", host_id="h1", token="t", lasts_s=1)
    await breakers.report("model/openai", token="t", outcome="error", why="OSError: gone")
    (item,) = (await client.get("/api/breakers")).json()["items"]
    assert (item["name"], item["state"], item["opened"], item["why"]) == ("model/openai", "open", 1, "OSError: gone")
    assert (await scrape(plane))[f"{names.BREAKER_STATE}|model/openai"] == 2
    closed = await client.post("/api/breakers/reset", json={"name": "model/openai"})
    assert closed.json()["items"][0]["state"] == "closed"
    assert (await scrape(plane))[f"{names.BREAKER_STATE}|model/openai"] == 0
    unknown = await client.post("/api/breakers/reset", json={"name": "nobody"})
    assert unknown.status_code == 404 and "amas breakers" in unknown.json()["detail"]


@pytest.mark.requirement("B12")
async def test_the_kill_switch_over_the_api(client: httpx.AsyncClient, hands: Hands, plane: ControlPlane) -> None:
    task_id = (await client.post("/api/tasks", json={"capability": WORK})).json()["id"]
    await hands.claim()
    killed = await client.post("/api/kill", json={"pool": "worker", "why": "it deletes files", "by": "ann"})
    assert [(item["target"], item["by"], item["why"]) for item in killed.json()["items"]] == [
        ("worker", "ann", "it deletes files")
    ]
    assert (await client.get(f"/api/tasks/{task_id}")).json()["state"] == "queued"
    assert await hands.claim() == []
    assert (await client.get("/api/kill")).json() == killed.json()
    why = (await client.get(f"/api/tasks/{task_id}/why")).json()["sentence"]
    assert why.endswith("; worker is killed, by ann: it deletes files (`amas kill --lift` lets it work again)")
    for body, code, status in (
        ({"agent": "worker-1", "pool": "worker", "why": "x"}, "request_invalid", 422),
        ({"why": "x"}, "request_invalid", 422),
        ({"pool": "worker"}, "request_invalid", 422),
        ({"pool": "wroker", "why": "x"}, "agent_unknown", 404),
        ({"agent": "wroker-1", "why": "x"}, "agent_unknown", 404),
        ({"agent": "worker-1", "lift": True}, "agent_unknown", 404),
    ):
        answer = await client.post("/api/kill", json=body)
        assert (answer.status_code, problem_of(answer).code) == (status, code)
    slip = await client.post("/api/kill", json={"agent": "worker-99", "why": "it deletes files"})
    assert slip.status_code == 404 and "declares no agent 'worker-99': worker has" in slip.json()["detail"]
    await client.post("/api/kill", json={"fleet": True, "why": "all of it"})
    assert (await client.post("/api/kill", json={"lift": True})).json() == {"items": []}
    assert [claimed.id for claimed in await hands.claim()] == [task_id]
    assert [change.why for change in await plane.desired.history(limit=2)] == ["all: kill lifted", "* killed: all of it"]
