"""The desired state over REST: fleets applied and gone back to, pools scaled, hosts ordered about, and who did it."""

from typing import Any

import httpx
import msgspec
import pytest
from tests.integration.server.conftest import FLEET, ROOT, WORK, Hands

from amas.controllers.figures import Figures
from amas.controllers.placer import Placer
from amas.engine.desired import Wish
from amas.engine.queue import make_submission
from amas.model.desired import Order
from amas.model.fleet import FleetSpec
from amas.model.task import TaskSpec
from amas.server.following import Following
from amas.server.plane import ControlPlane
from amas.server.wishes import RESTART_KEPT_MS

BIGGER = msgspec.structs.replace(
    FLEET, pools=(FLEET.pools[0], msgspec.structs.replace(FLEET.pools[1], replicas=4, timeout_s=60.0)), hosts=2
)
SMALLER = msgspec.structs.replace(FLEET, pools=FLEET.pools[:1])


@pytest.fixture
async def declared(plane: ControlPlane, hands: Hands) -> ControlPlane:
    await hands.register()
    await plane.desired.apply(FLEET, by="amas up", why="started")
    await deal(plane)
    return plane


async def deal(plane: ControlPlane) -> None:
    await Placer(plane.desired, Figures()).run_once()


def body(fleet: FleetSpec, **more: Any) -> dict[str, Any]:
    return {"fleet": msgspec.to_builtins(fleet), "by": "ann", **more}


async def test_a_fleet_is_looked_at_applied_and_gone_back_from(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    looked = (await client.post("/api/fleet/apply?dry_run=true", json=body(BIGGER))).json()
    assert looked["told"] == [
        "~ fleet",
        "    hosts: 1 -> 2",
        "~ pool worker (+2 agents)",
        "    replicas: 2 -> 4",
        "    timeout_s: 600.0 -> 60.0",
        "3 -> 5 agents (+2) on 1 -> 2 hosts",
    ]
    assert (looked["applied"], (await declared.desired.read()).fleet) == (False, FLEET)
    applied = (await client.post("/api/fleet/apply", json=body(BIGGER, why="more work", expect=looked["revision"]))).json()
    assert (await declared.desired.read()).fleet == BIGGER
    again = (await client.post("/api/fleet/apply", json=body(BIGGER))).json()
    assert (again["revision"], again["told"]) == (applied["revision"], ["nothing changes: 5 agents on 2 hosts"])
    history = (await client.get("/api/fleet/history")).json()
    assert [(change["by"], change["why"]) for change in history["items"]] == [("ann", "more work"), ("amas up", "started")]
    back = await client.post("/api/fleet/apply", json={"revision": history["fleets"][-1], "by": "ann"})
    assert back.status_code == 200, back.text
    assert (await declared.desired.read()).fleet == FLEET
    unknown = await client.post("/api/fleet/apply", json={"revision": 999})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "revision_unknown")


async def test_of_two_operators_one_gets_the_conflict(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    looked = (await client.post("/api/fleet/apply?dry_run=true", json=body(BIGGER))).json()["revision"]
    await deal(declared)
    await declared.desired.change([Wish("order:h1", Order(cordoned=True))], by="autoscaler", why="something else")
    first = await client.post("/api/fleet/apply", json=body(BIGGER, by="bob", why="the sale", expect=looked))
    assert first.status_code == 200  # other wishes and seats are nobody's conflict
    second = await client.post("/api/fleet/apply", json=body(SMALLER, expect=looked))
    assert (second.status_code, second.json()["code"]) == (409, "desired_changed")
    assert second.json()["detail"].startswith("bob applied another fleet meanwhile")
    assert (await declared.desired.read()).fleet == BIGGER


async def test_what_a_removed_pool_leaves_queued_is_told_and_kept(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    await declared.queue.submit([make_submission("t1", TaskSpec(capability=WORK, input=None))])
    told = (await client.post("/api/fleet/apply", json=body(SMALLER))).json()["told"]
    assert f"! 1 queued task that need {WORK} stay queued until somebody can do them" in told
    assert (await declared.queue.depths())[WORK] == 1


async def test_a_fleet_that_is_not_sound_is_refused(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    too_many = msgspec.structs.replace(FLEET, pools=(msgspec.structs.replace(FLEET.pools[0], replicas=99),))
    answer = await client.post("/api/fleet/apply", json=body(too_many))
    assert (answer.status_code, answer.json()["code"]) == (422, "fleet_invalid")
    assert "over the limit of 5 agents in a pool" in answer.json()["detail"]


async def test_pools_are_scaled_within_the_limits_and_back(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    scaled = await client.post("/api/pools/worker/scale", json={"replicas": 5, "by": "ann", "why": "the sale"})
    assert scaled.json()["replicas"] == 5
    await deal(declared)
    shown = (await client.get("/api/fleet/desired")).json()
    (worker,) = [pool for pool in shown["pools"] if pool["name"] == "worker"]
    assert (worker["declared"], worker["wanted"], worker["seated"], worker["scale"]["why"]) == (2, 5, 5, "the sale")
    assert (shown["dealt"], shown["behind"]) == (True, [])
    too_many = await client.post("/api/pools/worker/scale", json={"replicas": 6})
    assert (too_many.status_code, "max_agents_per_pool" in too_many.json()["detail"]) == (422, True)
    unknown = await client.post("/api/pools/worket/scale", json={"replicas": 1})
    assert (unknown.status_code, "there is no pool 'worket'" in unknown.json()["detail"]) == (422, True)
    await client.post("/api/pools/worker/scale", json={"replicas": None})
    assert (await declared.desired.read()).scales == {}


async def test_agents_come_and_go_by_number(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    async def numbers() -> tuple[tuple[int, int], ...]:
        await deal(declared)
        seats = (await declared.desired.read()).seats["h1"]
        return next((each.numbers for each in seats if each.pool == "worker"), ())

    added = await client.post("/api/agents", json={"pool": "worker"})
    assert (added.status_code, added.json()["replicas"]) == (201, 3)
    assert (await client.delete("/api/agents/worker-1")).json()["replicas"] == 2
    assert await numbers() == ((2, 3),)
    for unknown, why in (
        ("worker-1", "worker has the numbers 2 to 3"),
        ("worker-x", "no agent's name"),
        ("nobody-1", "no pool 'nobody'"),
    ):
        refused = await client.delete(f"/api/agents/{unknown}")
        assert (refused.status_code, why in refused.json()["detail"]) == (404, True), refused.text
    await client.post("/api/agents", json={"pool": "worker"})
    assert await numbers() == ((2, 4),), "what was taken out doesn't come back by itself"
    await client.post("/api/pools/worker/scale", json={"replicas": None})
    assert await numbers() == ((1, 2),), "as the fleet file says"
    await client.delete("/api/agents/worker-1")
    await client.post("/api/fleet/apply", json=body(SMALLER))
    assert (await declared.desired.read()).gone == {}, "nothing is kept of a pool that is gone"


async def test_one_agent_is_asked_to_be_restarted_and_old_requests_go(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    asked = await client.post("/api/agents/worker-1/restart", json={"by": "ann", "why": "it leaks"})
    assert (asked.status_code, asked.json()["agent_id"]) == (200, "worker-1")
    first = (await declared.desired.read()).restarts["worker-1"]
    await client.post("/api/agents/worker-1/restart", json={})
    assert (await declared.desired.read()).restarts["worker-1"] > first, "again is once more"
    await declared.desired.change([Wish("restart:worker-2", first - RESTART_KEPT_MS - 1)], by="test")
    await client.post("/api/agents/coordinator-1/restart", json={})
    assert (await declared.desired.read()).restarts.keys() == {"worker-1", "coordinator-1"}
    assert (await client.post("/api/agents/worker-7/restart", json={})).status_code == 404


async def test_a_restarted_pool_is_another_to_its_hosts(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    before = (await declared.desired.read()).spec
    assert (await client.post("/api/pools/worker/restart", json={})).status_code == 200
    after = (await declared.desired.read()).spec
    assert before is not None
    assert after is not None
    assert after.pool("worker") != before.pool("worker")
    assert after.pool("coordinator") == before.pool("coordinator")


async def test_hosts_are_drained_cordoned_and_taken_back(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    drained = (await client.post("/api/hosts/h1/drain", json={"by": "ann", "why": "a new disk"})).json()
    assert (drained["order"]["drained"], drained["seats"], drained["open_hosts"]) == (True, 3, 0)
    await deal(declared)
    (host,) = (await client.get("/api/hosts")).json()["items"]
    assert (host["id"], host["live"], host["seats"]) == ("h1", True, 0)
    await client.post("/api/hosts/h1/uncordon", json={})
    await deal(declared)
    (host,) = (await client.get("/api/hosts")).json()["items"]
    assert (host["seats"], host["order"]) == (3, {"cordoned": False, "drained": False, "restarts": 0})
    assert (await client.post("/api/hosts/h1/restart", json={})).json()["order"]["restarts"] == 1
    assert (await client.post("/api/hosts/h7/drain", json={})).status_code == 404


async def test_the_plane_goes_by_the_fleet_as_it_is_now(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    following = Following(declared)
    await following.look()
    assert declared.fleet == FLEET
    await client.post("/api/pools/worker/scale", json={"replicas": 4})
    await following.look()
    assert declared.fleet.pool("worker").replicas == 4
    await client.post("/api/fleet/apply", json=body(SMALLER))
    await following.look()
    assert declared.fleet.capabilities == {ROOT}
    assert (await declared.desired.read()).scales == {}  # of a pool that is gone
    refused = await client.post("/api/tasks", json={"capability": WORK})
    assert refused.status_code == 422


async def test_an_engine_without_a_fleet_is_told_of_the_planes(plane: ControlPlane) -> None:
    await Following(plane).look()
    assert (await plane.desired.read()).fleet == FLEET


async def test_no_new_work_is_taken_while_the_fleet_is_being_stopped(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    task, following = {"capability": WORK}, Following(declared)
    await declared.desired.change([Wish("closed", "the fleet is being stopped")], by="amas down", why="a stop")
    await following.look()
    new = [("/api/tasks", task), ("/api/tasks/batch", [task]), ("/api/goals", {"text": "x"}), ("/api/workflows", {"flow": {}})]
    for path, asked in new:
        refused = await client.post(path, json=asked)
        assert (refused.status_code, refused.json()["code"]) == (503, "intake_closed"), path
        assert "the fleet is being stopped; what was accepted is kept" in refused.json()["detail"]
        assert refused.headers["retry-after"]
    assert (await client.get("/api/tasks")).status_code == 200
    await declared.desired.change([Wish("closed", None)], by="amas up", why="a start")
    await following.look()
    assert (await client.post("/api/tasks", json=task)).status_code == 201


async def test_where_the_address_says_it_all_nobody_needs_a_body(client: httpx.AsyncClient, declared: ControlPlane) -> None:
    for path in ("/api/hosts/h1/drain", "/api/hosts/h1/uncordon", "/api/pools/worker/restart", "/api/agents/worker-1/restart"):
        done = await client.post(path)
        assert done.status_code == 200, done.text
    scaled = await client.post("/api/pools/worker/scale", json={"replicas": 1})
    assert scaled.status_code == 200
    for path in ("/api/pools/worker/scale", "/api/kill", "/api/agents"):  # these would do what nobody said
        assert (await client.post(path)).status_code == 415, path
    assert (await client.post("/api/hosts/h1/drain", content=b"{}")).status_code == 415, "whoever sends a body says what it is"
    assert (await declared.desired.read()).scales["worker"].replicas == 1
    routes = (await client.get("/openapi.json")).json()["paths"]
    assert not routes["/api/pools/{name}/restart"]["post"]["requestBody"]["required"]
    assert routes["/api/pools/{name}/scale"]["post"]["requestBody"]["required"]
