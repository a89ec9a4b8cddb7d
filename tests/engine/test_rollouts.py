"""A version on trial: what it fails costs the task nothing, what it began stays with it, and scores are counted once."""

from collections.abc import Sequence

import pytest
from tests.engine.cell import LEASE_S, Cell, task

from amas.engine.hosts import HostAbout, PoolCard
from amas.engine.queue import Slots
from amas.engine.routes import Routes, branch
from amas.model.blob import to_blob
from amas.model.fleet import PoolSpec, own_queue
from amas.model.routing import Choice, Route
from amas.model.states import TaskState
from amas.model.task import Claimed, FailedAttempt, Failure

OLD, NEW = "coder", "coder~2"
A, B = branch("work", OLD), branch("work", NEW)
POOLS = {
    OLD: PoolSpec(name=OLD, agent="a:b", capabilities=("work",)),
    NEW: PoolSpec(name=NEW, agent="a:b", capabilities=("work",), version="2", variant_of=OLD),
}


def route(queue: str, share: float) -> Route:
    """Return a route on which the new version has a share."""
    old = Choice(pool=OLD, share=1 - share, allowance=1000)
    new = Choice(pool=NEW, share=share, allowance=1000, pulls=False, trial=True)
    return Route(capability=queue, choices=(new, old))


class Trial:
    """A cell with both versions of a pool, a host each."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.routes = cell, Routes(cell.engine)

    async def publish(self, share: float) -> None:
        versions = {"h-old": {OLD: "1"}, "h-new": {NEW: "2"}}
        routes = [route("work", share), route("@coder", share)]
        await self.routes.publish(routes, versions, memory=b"", now_ms=self.cell.now)

    async def register(self) -> None:
        for host, pool in (("h-old", OLD), ("h-new", NEW)):
            card = PoolCard(pool, "specialist", "", pool, "1", 100, ((1, 1),))
            await self.cell.hosts.register(host, HostAbout(1, "here", "1", (card,)), lease_s=LEASE_S, now_ms=self.cell.now)

    async def claim(self, pool: str, limit: int = 100) -> list[Claimed]:
        host = "h-old" if pool == OLD else "h-new"
        got = await self.cell.queue.claim(host, [Slots(POOLS[pool].queues, [f"{pool}-1"] * limit)], now_ms=self.cell.now)
        assert got is not None
        return got

    async def fail(self, claimed: Claimed, code: str = "boom", *, final: bool = False) -> None:
        outcome = FailedAttempt(claimed.id, claimed.attempt, to_blob(Failure(code, "it broke")), 1, final)
        assert not await self.cell.queue.fail(claimed.agent_id, [outcome], now_ms=self.cell.now)

    async def submit(self, count: int, **options: object) -> list[str]:
        ids = [f"t{n}" for n in range(count)]
        await self.cell.submit(*(task(task_id, **options) for task_id in ids))
        return ids

    async def depths(self) -> dict[str, int]:
        return {queue: count for queue, count in (await self.cell.queue.depths()).items() if count}

    async def state(self, task_id: str) -> TaskState:
        view = await self.cell.queue.task(task_id)
        assert view is not None
        return view.state


@pytest.fixture
async def trial(cell: Cell) -> Trial:
    made = Trial(cell)
    await made.register()
    await made.publish(1.0)
    return made


@pytest.mark.parametrize(("code", "final"), [("boom", False), ("boom", True), ("retry_later", True)])
async def test_what_fails_on_trial_goes_to_the_others_and_has_lost_no_attempt(trial: Trial, code: str, final: bool) -> None:
    await trial.submit(10, retries=0)
    for claimed in await trial.claim(NEW):
        await trial.fail(claimed, code, final=final)
    await trial.cell.promote()
    assert await trial.depths() == {A: 10}  # though the new version has all of the share
    view = await trial.cell.queue.task("t0")
    assert view is not None
    assert (view.state, view.failures) == (TaskState.QUEUED, 0)
    again = await trial.claim(OLD)
    await trial.fail(again[0])
    assert await trial.state(again[0].id) is TaskState.FAILED  # it was the stable version's to spend


async def test_a_retry_of_the_stable_version_never_goes_on_trial(trial: Trial) -> None:
    await trial.publish(0.0)
    await trial.submit(20, retries=3)
    for claimed in await trial.claim(OLD):
        await trial.fail(claimed)
    await trial.publish(0.9)
    await trial.cell.promote()
    assert NEW not in {queue.rpartition("@")[2] for queue in await trial.depths()}


async def test_a_budget_that_is_spent_is_spent_on_trial_too(trial: Trial) -> None:
    await trial.submit(1, retries=0)
    (claimed,) = await trial.claim(NEW)
    await trial.fail(claimed, "budget_exhausted", final=True)
    assert await trial.state("t0") is TaskState.FAILED


async def test_a_host_that_dies_on_trial_is_not_held_against_its_tasks(trial: Trial) -> None:
    await trial.submit(5)
    for _ in range(5):  # more often than a task's hosts may die
        await trial.register()
        await trial.publish(1.0)
        assert len(await trial.claim(NEW)) in {5, 0}
        assert await trial.cell.reap()
        await trial.cell.reap()
    assert await trial.depths() == {A: 5}
    sums = {one.queue: one.sums for one in await trial.routes.outcomes()}
    assert sums[B].failures == 1


async def test_a_run_that_is_suspended_goes_on_with_its_version_and_is_known_until_it_ends(trial: Trial) -> None:
    await trial.submit(1)
    (claimed,) = await trial.claim(NEW)
    await trial.cell.queue.suspend(
        "h-new", claimed.id, claimed.attempt, wait_for=["part"], children=[task("part", queue="other")], now_ms=trial.cell.now
    )
    assert await trial.routes.suspended(B) == ["t0"]
    await trial.publish(0.0)  # it gets nothing new
    (part,) = await trial.cell.claim(queues=("other",))
    await trial.cell.complete(part)
    assert await trial.depths() == {B: 1}
    (resumed,) = await trial.claim(NEW)
    assert await trial.routes.suspended(B) == ["t0"]
    assert await trial.routes.running_since(NEW, before_ms=trial.cell.now + 1) == ["t0"]
    assert await trial.routes.running_since(NEW, before_ms=trial.cell.now) == []
    assert await trial.routes.running_since(OLD, before_ms=trial.cell.now + 1) == []
    await trial.cell.complete(resumed)
    assert await trial.routes.suspended(B) == []


async def test_nothing_is_kept_of_runs_where_nothing_is_on_trial(trial: Trial) -> None:
    plain = Route(capability="work", choices=(Choice(pool=OLD, share=1.0, allowance=1000),))
    await trial.routes.publish([plain], {"h-old": {OLD: "1"}}, memory=b"", now_ms=trial.cell.now)
    await trial.submit(1)
    (claimed,) = await trial.claim(OLD)
    children = [task("part", queue="other")]
    await trial.cell.queue.suspend("h-old", "t0", claimed.attempt, wait_for=["part"], children=children, now_ms=trial.cell.now)
    assert await trial.routes.suspended(A) == []


async def test_tasks_for_the_pool_are_shared_and_those_that_name_the_version_get_its_answer(trial: Trial) -> None:
    await trial.submit(3, queue=own_queue(OLD))
    assert await trial.depths() == {"@coder@coder~2": 3}
    for claimed in await trial.claim(NEW):
        await trial.fail(claimed)
    await trial.cell.promote()
    assert await trial.depths() == {"@coder@coder": 3}
    assert len(await trial.claim(OLD)) == 3
    await trial.cell.submit(task("named", queue=own_queue(NEW), retries=0))
    (named,) = await trial.claim(NEW)
    before = {one.queue: one.sums.failures for one in await trial.routes.outcomes()}
    await trial.fail(named)
    assert await trial.state("named") is TaskState.FAILED
    assert {one.queue: one.sums.failures for one in await trial.routes.outcomes()} == before  # a test, no share of the work


async def test_what_names_a_version_that_goes_is_done_by_its_pool(trial: Trial) -> None:
    await trial.cell.submit(task("named", queue=own_queue(NEW)))
    await trial.routes.publish((), {}, memory=b"", now_ms=trial.cell.now)
    assert own_queue(NEW) in await trial.routes.branches()
    assert await trial.routes.move(own_queue(NEW), now_ms=trial.cell.now) == 1
    assert [one.id for one in await trial.claim(OLD)] == ["named"]


async def scores_of(trial: Trial, gate: str, number: int, score: float, agents: Sequence[str]) -> dict[str, tuple[float, float]]:
    await trial.cell.queue.score(gate, number, score, agents)
    return {pool: (sums.count, round(sums.total, 3)) for pool, sums in (await trial.routes.scores()).items()}


async def test_a_gates_scores_are_counted_once_for_the_version_that_did_the_work(trial: Trial) -> None:
    await trial.submit(1, queue="gate")
    assert await scores_of(trial, "t0", 0, 0.5, ["coder~2-1", "other-1"]) == {NEW: (1, 0.5)}
    assert await scores_of(trial, "t0", 0, 0.5, ["coder~2-1"]) == {NEW: (1, 0.5)}  # said again by another attempt
    assert await scores_of(trial, "t0", 1, 0.9, ["coder-1"]) == {NEW: (1, 0.5), OLD: (1, 0.9)}
    both = await scores_of(trial, "t0", 2, 0.1, ["coder-1", "coder~2-1"])  # whose it is can't be told
    assert both == {NEW: (1, 0.5), OLD: (1, 0.9)}
    await trial.routes.publish((), {}, memory=b"", now_ms=trial.cell.now)
    assert await scores_of(trial, "t0", 3, 0.1, ["coder-1"]) == both
