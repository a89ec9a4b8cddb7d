"""Routed tasks: where the engine puts them, what it counts of them, and that all else holds for them as for others."""

import math
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from tests.engine.cell import LEASE_S, WHY, Cell, task

from amas.engine.bounds import QueueBounds
from amas.engine.hosts import HostAbout, PoolCard
from amas.engine.queue import Slots
from amas.engine.routes import Routes, branch
from amas.errors import QueueFull
from amas.model.blob import to_blob
from amas.model.limits import Usage
from amas.model.routing import Choice, Route
from amas.model.task import Claimed, Completion, FailedAttempt, Failure

A, B = branch("work", "a"), branch("work", "b")


def route(*, a: float = 0.75, allowance: int = 100, pulls: Sequence[str] = ("a", "b"), explored: Sequence[str] = ()) -> Route:
    """Return a route of `work` over pools `a`, with that share, and `b` with the rest."""
    choices = (
        Choice(pool=pool, share=share, allowance=allowance, pulls=pool in pulls, explored=pool in explored)
        for pool, share in (("a", a), ("b", 1 - a))
    )
    return Route(capability="work", choices=tuple(choices))


class RoutedCell:
    """A cell with a route, and one host for each of two pools."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.routes = cell, Routes(cell.engine)

    async def publish(self, *routes: Route) -> int:
        versions = {"ha": {"a": "1"}, "hb": {"b": "7"}}
        return await self.routes.publish(routes, versions, memory=b"", now_ms=self.cell.now)

    async def hosts(self) -> None:
        for pool in ("a", "b"):
            card = PoolCard(pool, "specialist", "", pool, "1", 100, ((1, 1),))
            await self.cell.hosts.register(f"h{pool}", HostAbout(1, "here", "1", (card,)), lease_s=LEASE_S, now_ms=self.cell.now)

    async def claim(self, pool: str, limit: int = 100) -> list[Claimed]:
        slots = [Slots(("work", f"@{pool}"), [f"{pool}-1"] * limit)]
        got = await self.cell.queue.claim(f"h{pool}", slots, now_ms=self.cell.now)
        assert got is not None
        return got

    async def submit(self, count: int, *, prefix: str = "t", **options: object) -> list[str]:
        ids = [f"{prefix}{n}" for n in range(count)]
        await self.cell.submit(*(task(task_id, **options) for task_id in ids))
        return ids

    async def depths(self) -> dict[str, int]:
        return {queue: count for queue, count in (await self.cell.queue.depths()).items() if count}

    async def fail(self, claimed: Claimed, why: Failure = WHY, *, host: str = "ha") -> None:
        outcome = FailedAttempt(claimed.id, claimed.attempt, to_blob(why), 1)
        assert not await self.cell.queue.fail(host, [outcome], now_ms=self.cell.now)


@pytest.fixture
async def routed(cell: Cell) -> RoutedCell:
    made = RoutedCell(cell)
    await made.hosts()
    await made.publish(route())
    return made


async def test_tasks_are_shared_by_a_draw_that_is_the_same_for_the_same_task(routed: RoutedCell) -> None:
    ids = await routed.submit(400, prefix="draw")
    placed = {task_id: (await routed.routes.of_task(task_id))[0] for task_id in ids}
    counts = Counter(placed.values())
    assert counts.keys() == {A, B, "work"}  # 100 in each pool's queue at most
    assert counts[A] == 100
    assert 60 < counts[B] <= 100
    again = Cell(routed.cell.engine)  # the same tasks, forgotten and submitted anew
    await again.cancel(*ids)
    await again.engine.client.delete(*(again.engine.key("t", task_id) for task_id in ids))
    await again.submit(*(task(task_id) for task_id in ids))
    assert {task_id: (await routed.routes.of_task(task_id))[0] for task_id in ids} == placed


async def test_a_capability_without_a_route_and_a_named_pool_are_as_ever(routed: RoutedCell) -> None:
    await routed.cell.submit(task("other", queue="else"), task("named", queue="@a"))
    assert await routed.depths() == {"else": 1, "@a": 1}
    assert await routed.routes.of_task("other") == ("else", None)
    assert "k" not in await routed.cell.held("other")
    await routed.publish()
    await routed.submit(5)
    assert (await routed.depths())["work"] == 5


async def test_each_pool_claims_its_own_part_and_what_is_left_in_common(routed: RoutedCell) -> None:
    await routed.publish(route(allowance=2))
    await routed.submit(10)
    assert await routed.depths() == {A: 2, B: 2, "work": 6}
    assert len(await routed.claim("b", 3)) == 3
    assert len(await routed.claim("a")) == 7 - (await routed.depths()).get(B, 0)
    held = [await routed.cell.held(f"t{n}") for n in range(10)]
    assert {one["q"] for one in held} <= {A, B}  # what was pulled is the pool's
    assert sum(one["route"].startswith("pulled") for one in held) == 6


async def test_a_pool_that_does_not_pull_leaves_the_common_queue_alone(routed: RoutedCell) -> None:
    await routed.publish(route(allowance=2, pulls=("a",)))
    await routed.submit(10)
    assert len(await routed.claim("b")) == 2
    assert await routed.depths() == {A: 2, "work": 6}
    assert len(await routed.claim("a")) == 8


async def test_dependents_and_delayed_tasks_are_routed_when_they_are_queued(routed: RoutedCell) -> None:
    await routed.cell.submit(task("first"), task("second", needs=["first"]), task("late", delay_ms=5))
    await routed.publish(route(a=0.0))
    (first,) = [one for pool in ("a", "b") for one in await routed.claim(pool)]
    assert not await routed.cell.queue.complete("ha", [Completion(first.id, 1, to_blob(1))], now_ms=routed.cell.now)
    await routed.cell.promote()
    assert await routed.depths() == {B: 2}


async def test_a_retry_goes_to_another_pool_when_its_pool_is_to_blame(routed: RoutedCell) -> None:
    await routed.publish(route(a=1.0))
    await routed.submit(20)
    for claimed in await routed.claim("a"):
        await routed.fail(claimed)
    await routed.publish(route(a=0.98))
    await routed.cell.promote()
    assert await routed.depths() == {B: 20}
    _, noted = await routed.routes.of_task("t0")
    assert noted is not None
    assert (noted.how, noted.pool) == ("elsewhere", "b")


async def test_a_retry_for_which_nobody_is_to_blame_stays(routed: RoutedCell) -> None:
    await routed.publish(route(a=1.0))
    await routed.submit(5)
    for claimed in await routed.claim("a"):
        await routed.fail(claimed, Failure("retry_later", "not yet"))
    await routed.cell.promote()
    assert await routed.depths() == {A: 5}
    assert await routed.routes.outcomes() == []


async def test_outcomes_are_counted_by_pool_and_version(routed: RoutedCell) -> None:
    await routed.publish(route(a=1.0))
    await routed.submit(4)
    claimed = await routed.claim("a")
    routed.cell.now += 2000
    paid = [Completion(one.id, one.attempt, to_blob(1), Usage(500_000, 10, 1)) for one in claimed[:2]]
    assert not await routed.cell.queue.complete("ha", paid, now_ms=routed.cell.now)
    await routed.fail(claimed[2])
    (found,) = await routed.routes.outcomes()
    assert (found.queue, found.version) == (A, "1")
    two_seconds = math.log(2)
    assert msgspec.structs.astuple(found.sums) == pytest.approx((2, 1, 2, 2 * two_seconds, 2 * two_seconds**2, 4.0, 1.0))
    repeated = await routed.cell.queue.complete("ha", paid, now_ms=routed.cell.now)
    assert repeated == {}
    assert (await routed.routes.outcomes())[0].sums.successes == 2  # said twice, counted once


async def test_a_lost_host_is_one_failure_of_its_pool(routed: RoutedCell) -> None:
    await routed.publish(route(a=1.0))
    await routed.submit(50)
    assert len(await routed.claim("a")) == 50
    assert await routed.cell.reap()
    assert [found.sums.failures for found in await routed.routes.outcomes()] == [1]
    assert (await routed.depths()) == {A: 50}


async def test_the_bound_of_a_capability_counts_what_was_routed(routed: RoutedCell) -> None:
    await QueueBounds(routed.cell.engine).set({"work": 10})
    await routed.publish(route(allowance=3))
    await routed.submit(10)
    with pytest.raises(QueueFull, match="'work' holds 10 tasks and takes at most 10"):
        await routed.submit(1, prefix="more")
    await routed.claim("a", 4)
    await routed.submit(4, prefix="more")


async def test_tenants_share_a_pools_part_fairly(routed: RoutedCell) -> None:
    await routed.publish(route(a=1.0))
    await routed.submit(50, prefix="flood", tenant="big")
    await routed.submit(5, prefix="small", tenant="small")
    first = [one.id for one in await routed.claim("a", 12)]
    assert sum(task_id.startswith("small") for task_id in first) == 5


async def test_a_higher_priority_goes_first_in_a_pools_branch(routed: RoutedCell) -> None:
    await routed.publish(route(a=1.0))
    await routed.submit(20)
    await routed.cell.submit(task("urgent", priority=3))
    assert (await routed.claim("a", 1))[0].id == "urgent"


async def test_a_concurrency_key_holds_for_routed_tasks(routed: RoutedCell) -> None:
    await routed.submit(12, reserves=[("slots:customer", 1, 2)])
    running = [*await routed.claim("a"), *await routed.claim("b")]
    assert len(running) == 2
    done = 0
    while running:
        one = running.pop()
        assert not await routed.cell.queue.complete("ha", [Completion(one.id, one.attempt, to_blob(1))], now_ms=routed.cell.now)
        done += 1
        running += [*await routed.claim("a"), *await routed.claim("b")]
        assert len(running) <= 2
    assert done == 12


async def test_what_waits_for_a_dead_pool_is_moved_and_can_be_claimed(routed: RoutedCell) -> None:
    await routed.publish(route(a=1.0, allowance=1000))
    ids = await routed.submit(700)
    await routed.publish(Route(capability="work", choices=(Choice(pool="b", share=1.0, allowance=1000),)))
    assert [await routed.routes.move(A, now_ms=routed.cell.now) for _ in range(3)] == [500, 200, 0]
    assert await routed.depths() == {B: 700}
    claimed = [one.id for one in await routed.claim("b", 700)]
    assert sorted(claimed) == sorted(ids)
    _, noted = await routed.routes.of_task("t0")
    assert noted is not None
    assert (noted.how, noted.pool) == ("moved", "b")


async def test_what_comes_back_of_a_pool_without_a_route_goes_to_the_capability(routed: RoutedCell) -> None:
    await routed.publish(route(a=1.0))
    await routed.submit(6)
    claimed = await routed.claim("a", 3)
    await routed.publish()
    gave = [(one.id, one.attempt) for one in claimed[:2]]
    assert not await routed.cell.queue.give_back("ha", gave, now_ms=routed.cell.now)
    await routed.fail(claimed[2])
    await routed.cell.promote()
    assert await routed.depths() == {A: 3, "work": 3}
    assert await routed.routes.move(A, now_ms=routed.cell.now) == 3
    assert await routed.depths() == {"work": 6}


async def test_a_cancelled_routed_task_is_gone_from_its_queue(routed: RoutedCell) -> None:
    ids = await routed.submit(10)
    assert await routed.cell.cancel(*ids) == 10
    assert await routed.depths() == {}


async def test_a_paused_workflows_routed_tasks_go_on_after_it(routed: RoutedCell) -> None:
    await routed.cell.submit(*(task(f"w{n}", workflow_id="flow") for n in range(10)), workflow="flow")
    assert await routed.cell.workflows.pause("flow", now_ms=routed.cell.now)
    assert not [*await routed.claim("a"), *await routed.claim("b")]
    await routed.publish(Route(capability="work", choices=(Choice(pool="b", share=1.0, allowance=1000),)))
    assert await routed.cell.workflows.resume("flow", now_ms=routed.cell.now)
    assert await routed.depths() == {B: 10}
    assert len(await routed.claim("b")) == 10


async def test_a_cell_without_routes_looks_once_a_call_and_never_per_task(cell: Cell) -> None:
    async def looks(count: int) -> int:
        await cell.engine.client.config_resetstat()
        await cell.submit(*(task(f"{count}/{n}") for n in range(count)))
        claimed = await cell.claim(count, queues=("work", "@a"))
        assert len(claimed) == count
        await cell.complete(*claimed)
        return int((await cell.engine.client.info("commandstats"))["cmdstat_hget"]["calls"])

    await cell.host()
    assert await looks(1) == await looks(500) == 3  # of which submit looks for the tenant's weight


async def test_a_parked_task_of_a_dead_pool_is_moved_when_it_is_woken(routed: RoutedCell) -> None:
    await routed.publish(route(a=1.0))
    await routed.submit(3, reserves=[("slots:customer", 1, 1)])
    (running,) = await routed.claim("a")
    only_b = Route(capability="work", choices=(Choice(pool="b", share=1.0, allowance=1000),))
    await routed.publish(only_b)
    assert await routed.routes.move(A, now_ms=routed.cell.now) == 0  # both are parked
    assert await routed.routes.waiting([A]) == {A: 2}
    done = 0
    while running:
        await routed.cell.queue.complete("ha", [Completion(running.id, 1, to_blob(1))], now_ms=routed.cell.now)
        done += 1
        await routed.routes.move(A, now_ms=routed.cell.now)
        running = next(iter(await routed.claim("b")), None)
    assert done == 3
    assert await routed.routes.waiting([A, B, "work"]) == {A: 0, B: 0, "work": 0}


async def test_a_re_run_is_routed_anew_where_its_pool_has_no_route_any_more(routed: RoutedCell) -> None:
    await routed.publish(route(a=1.0))
    await routed.submit(1, retries=0)
    (claimed,) = await routed.claim("a")
    await routed.fail(claimed)
    await routed.publish(Route(capability="work", choices=(Choice(pool="b", share=1.0, allowance=1000),)))
    await routed.cell.workflows.put_back(["t0"], now_ms=routed.cell.now)
    assert await routed.depths() == {B: 1}
    assert [one.id for one in await routed.claim("b")] == ["t0"]
