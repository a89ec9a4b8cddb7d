"""Roll-outs over HTTP: begun, looked at, approved, promoted, taken back; and what can't be is said with the way out."""

from typing import Any

import httpx
import msgspec
import pytest
from tests.integration.server.conftest import WORK

from amas.controllers.rollouts import Rollouts
from amas.engine.desired import DesiredState
from amas.engine.routes import Routes
from amas.model.fleet import FleetSpec
from amas.model.rollout import Phase
from amas.model.rollout_spec import RolloutSpec
from amas.orchestration.rollouts import rollouts_for
from amas.server import wishes
from amas.server.plane import ControlPlane

STAGING = {"environment": "staging", "steps": [0.1, 0.5], "long_runs": "hand_over"}


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any], *, status: int = 200) -> Any:
    answer = await client.post(f"/api/rollouts/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_roll_out_is_begun_approved_and_promoted_by_people(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    assert (await client.get("/api/rollouts")).json() == {"items": []}
    new = {"version": "2", "agent": "x:z", "options": {"model": "small"}, "rollout": STAGING, "by": "ann"}
    begun = await post(client, "worker", new)
    assert (begun["phase"], begun["share"], begun["was"], begun["version"], begun["by"]) == ("staging", 0.0, "1", "2", "ann")
    assert begun["next"] == "continue: version 2 waits for approval, with 0 tasks done in staging"
    assert not begun["agents_alive"]
    approved = await post(client, "worker/approve", {"by": "qa-lead"})
    assert (approved["phase"], approved["share"], approved["approved_by"]) == ("canary", 0.1, "qa-lead")
    wanted = await DesiredState(plane.engine).read()
    variant = wanted.pools[-1]
    assert (variant.name, variant.agent, variant.options, variant.capabilities) == (
        "worker~2",
        "x:z",
        {"model": "small"},
        (WORK,),
    )
    promoted = await post(client, "worker/promote", {"by": "ann"})
    assert (promoted["phase"], promoted["share"], promoted["why"], promoted["next"]) == (
        "replacing",
        1.0,
        "ann promoted version 2",
        "",
    )
    listed = (await client.get("/api/rollouts")).json()["items"]
    assert [each["pool"] for each in listed] == ["worker"]
    wanted = await DesiredState(plane.engine).read()
    assert wanted.fleet is not None
    assert wanted.fleet.pool("worker").version == "2"
    told = [change.why for change in await DesiredState(plane.engine).history()]
    assert told == [
        "ann promoted version 2",
        "qa-lead approved version 2: it gets 10%",
        "version 2 of worker begins beside 1: it gets only tasks that name it, until it is approved",
    ]


async def test_a_roll_out_is_taken_back_by_people_and_begun_again(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    await post(client, "worker", {"version": "2", "rollout": {"long_runs": "hand_over"}})
    assert (await post(client, "worker/abort", {}))["phase"] == "rolled_back"
    assert [pool.name for pool in (await DesiredState(plane.engine).read()).pools] == ["coordinator", "worker"]
    assert (await post(client, "worker", {"version": "2"}))["phase"] == "canary"


@pytest.mark.parametrize(("path", "body", "why"), [
    ("nobody", {"version": "2"}, "the fleet has no pool 'nobody'; it has coordinator, worker"),
    ("worker", {"version": "1"}, "'worker' has version 1 already: give the new one another version"),
    ("worker", {"version": "two words"}, "the version 'two words' must be letters, digits, dots and hyphens, up to 40"),
    ("worker", {"version": "2", "agent": "greet"}, "the agent 'greet' must be module:attribute, such as my_agents:summarise"),
    ("worker", {"version": "2", "rollout": {"steps": [0.5, 0.1]}}, "rollout.steps must be growing shares over 0 and up to 1"),
    ("worker/approve", {}, "nothing of 'worker' has been rolled out: begin with `amas rollout start worker --version V`"),
    ("coordinator/approve", {}, "is canary, so there is nothing to approve: it isn't in staging"),
    ("coordinator", {"version": "4"}, "version 3 of 'coordinator' is being rolled out: wait for its end, promote"),
])  # fmt: skip
async def test_what_cannot_be_is_said(client: httpx.AsyncClient, path: str, body: dict[str, Any], why: str) -> None:
    await post(client, "coordinator", {"version": "3"})
    refused = await post(client, path, body, status=422)
    assert refused["code"] == "rollout_refused"
    assert why in refused["detail"]


async def test_a_decided_roll_out_can_be_neither_promoted_nor_aborted(client: httpx.AsyncClient) -> None:
    await post(client, "worker", {"version": "2"})
    await post(client, "worker/abort", {"by": "ann"})
    for act in ("promote", "abort"):
        refused = await post(client, f"worker/{act}", {}, status=422)
        assert refused["detail"] == "the roll-out of 'worker' is withdrawing, so it is decided: ann took version 2 back"


async def test_a_task_may_name_a_version_that_is_rolled_out(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    answer = await client.post("/api/tasks", json={"capability": WORK, "input": 1, "pool": "worker~2"})
    assert answer.status_code in {200, 201, 202}, answer.text
    assert (await plane.queue.depths())["@worker@worker~2"] == 1
    why = (await client.get(f"/api/tasks/{answer.json()['id']}/why")).json()
    assert (why["how"], why["pool"]) == ("named", "worker~2")


async def test_what_a_fleet_file_begins(plane: ControlPlane) -> None:

    old = plane.fleet
    pools = tuple(msgspec.structs.replace(pool, version="2", replicas=7) if pool.name == "worker" else pool for pool in old.pools)
    new = msgspec.structs.replace(old, pools=pools, rollout=RolloutSpec(min_tasks=7))
    wanted, begin, _ = rollouts_for(old, new, {})
    assert [(pool.version, pool.replicas) for pool in wanted.pools] == [("1", 1), ("1", 7)]  # the size changes at once
    assert [(each.to.name, each.to.version, each.spec.min_tasks) for each in begin] == [("worker", "2", 7)]
    at_once = msgspec.structs.replace(new, rollout=None)
    assert rollouts_for(old, at_once, {}) == (at_once, [], [])


class Killed(BaseException):
    """In the place of the end of a control plane's process."""


@pytest.mark.parametrize("answered", [False, True], ids=["before the engine's call", "after it"])
async def test_a_control_plane_that_is_killed_while_it_applies_has_begun_the_roll_out_or_applied_nothing(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, *, answered: bool
) -> None:
    """It is killed at each call to the engine that changes anything, until it comes through; a file applied again ends it."""
    old = msgspec.structs.replace(plane.fleet, rollout=RolloutSpec(min_tasks=7))
    await wishes.apply(plane, old, by="ann", why="a start", expect=None)
    pools = tuple(msgspec.structs.replace(pool, version="2", replicas=4) if pool.name == "worker" else pool for pool in old.pools)
    new = msgspec.structs.replace(old, title="New", pools=pools)
    call, survived, kills = plane.engine.call, 0, 0

    async def killed_at_last(function: str, *arguments: Any) -> Any:
        nonlocal survived
        if survived == 0:
            if answered:
                await call(function, *arguments)
            raise Killed
        survived -= 1
        return await call(function, *arguments)

    while True:
        survived = kills
        with monkeypatch.context() as patch:
            patch.setattr(plane.engine, "call", killed_at_last)
            try:
                await wishes.apply(plane, new, by="ann", why="the new one", expect=None)
            except Killed:
                kills += 1
            else:
                break
        found = await plane.desired.read()
        assert found.fleet is not None
        assert (found.fleet.title == "New") == ("worker" in found.rollouts), "both or neither"
    found = await plane.desired.read()
    assert kills, "it was killed at least once"
    assert found.fleet is not None
    assert (found.fleet.title, found.fleet.pool("worker").version) == ("New", "1")
    assert [(pool.name, pool.version, pool.replicas) for pool in found.pools] == [
        ("coordinator", "1", 1),
        ("worker", "1", 4),
        ("worker~2", "2", 1),
    ]
    (change, *_) = await plane.desired.history()
    assert change.fields == ("fleet", "rollout:worker")
    assert change.why == "the new one\nversion 2 of worker begins beside 1: it gets 5% of its tasks"


async def test_applying_a_file_with_a_new_version_begins_a_roll_out_and_going_back_does_not(
    client: httpx.AsyncClient, plane: ControlPlane
) -> None:
    old = msgspec.structs.replace(plane.fleet, rollout=RolloutSpec(long_runs="hand_over"))
    newer = tuple(msgspec.structs.replace(pool, version="2") if pool.name == "worker" else pool for pool in old.pools)
    new = msgspec.structs.replace(old, pools=newer)

    async def apply(body: dict[str, Any], *, dry_run: bool = False) -> Any:
        answer = await client.post(f"/api/fleet/apply?dry_run={dry_run}", json={"by": "ann", **body})
        assert answer.status_code == 200, answer.text
        return answer.json()

    first = await apply({"fleet": msgspec.to_builtins(old)})
    looked = await apply({"fleet": msgspec.to_builtins(new)}, dry_run=True)
    assert (looked["told"], looked["rollouts"]) == (["~ worker is rolled out in version 2"], ["worker"])
    assert looked["difference"]["changes"] == []
    assert (await client.get("/api/rollouts")).json() == {"items": []}
    await apply({"fleet": msgspec.to_builtins(new)})
    wanted = await plane.desired.read()
    assert [(pool.name, pool.version) for pool in wanted.pools] == [("coordinator", "1"), ("worker", "1"), ("worker~2", "2")]
    assert (await client.get("/api/fleet/desired")).json()["pools"][-1]["name"] == "worker~2"
    await post(client, "worker/promote", {})
    await apply({"revision": first["revision"]})  # back to what is known: at once
    wanted = await plane.desired.read()
    assert wanted.fleet == old
    assert wanted.rollouts["worker"].phase is Phase.REPLACING
    await Rollouts(plane.desired, Routes(plane.engine), plane.fleet).run_once()
    view = (await client.get("/api/rollouts/worker")).json()
    assert (view["phase"], view["why"]) == ("rolled_back", "version 1 of worker was applied meanwhile, in place of 2")


async def test_a_file_that_is_applied_again_does_not_try_a_version_again_that_was_taken_back(
    client: httpx.AsyncClient, plane: ControlPlane
) -> None:
    old = msgspec.structs.replace(plane.fleet, rollout=RolloutSpec(long_runs="hand_over"))
    newer = tuple(msgspec.structs.replace(pool, version="2") if pool.name == "worker" else pool for pool in old.pools)

    async def apply(fleet: FleetSpec, **more: Any) -> Any:
        answer = await client.post("/api/fleet/apply", json={"by": "ann", "fleet": msgspec.to_builtins(fleet), **more})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def phase() -> str:
        return str((await client.get("/api/rollouts/worker")).json()["phase"])

    await apply(old)
    new = msgspec.structs.replace(old, pools=newer)
    assert (await apply(new))["rollouts"] == ["worker"]
    assert (await apply(new))["rollouts"] == [], "it is under way"
    await post(client, "worker/abort", {"by": "bob"})
    for fleet in (new, msgspec.structs.replace(new, rollout=None)):  # neither step by step nor at once
        applied = await apply(fleet)
        why = "since 2 was taken back (bob took version 2 back): `amas apply --again` tries it once more"
        assert applied["told"][0] == f"! worker stays at version 1, {why}"
        assert (applied["rollouts"], await phase()) == ([], "rolled_back")
        assert {pool.name: pool.version for pool in (await plane.desired.read()).pools}["worker"] == "1"
    assert (await apply(new, again=True))["rollouts"] == ["worker"]
    assert await phase() == "canary"


async def test_what_can_not_be_rolled_out_is_refused_before_anything_is_applied(
    client: httpx.AsyncClient, plane: ControlPlane
) -> None:
    old = msgspec.structs.replace(plane.fleet, rollout=RolloutSpec())
    changed = {"version": "2", "capabilities": (WORK, "other.work")}
    newer = tuple(msgspec.structs.replace(pool, **changed) if pool.name == "worker" else pool for pool in old.pools)
    await client.post("/api/fleet/apply", json={"fleet": msgspec.to_builtins(old)})
    before = (await plane.desired.read()).revision
    fleet = msgspec.to_builtins(msgspec.structs.replace(old, pools=newer, hosts=2))
    refused = await client.post("/api/fleet/apply", json={"fleet": fleet})
    assert (refused.status_code, refused.json()["code"]) == (422, "rollout_refused")
    assert "has other capabilities, so it can't be compared: leave rollout: out for it" in refused.json()["detail"]
    assert (await plane.desired.read()).revision == before


async def test_a_version_that_is_tried_again_has_its_time_to_start_anew(
    client: httpx.AsyncClient, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = Routes(plane.engine)
    duty, now_ms = Rollouts(plane.desired, routes, plane.fleet), routes.now_ms()
    body = {"version": "2", "rollout": {"long_runs": "hand_over", "start_limit_s": 10}}
    for later_ms, phase in ((0, "canary"), (11_000, "rolled_back"), (12_000, "canary")):
        monkeypatch.setattr(routes, "now_ms", lambda at_ms=now_ms + later_ms: at_ms)
        if later_ms != 11_000:
            await post(client, "worker", body)
        await duty.run_once()
        assert (await client.get("/api/rollouts/worker")).json()["phase"] == phase


async def test_a_misspelt_field_is_told_and_nothing_is_rolled_out(client: httpx.AsyncClient) -> None:
    refused = await post(client, "worker", {"version": "2", "agnet": "x:z"}, status=422)
    assert "agnet" in refused["detail"]
    assert (await client.get("/api/rollouts")).json() == {"items": []}
