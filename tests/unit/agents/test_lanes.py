"""Lanes: who shares an asyncio task with whom, and that nothing passes from one attempt to the next."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest

from amas.agents import lanes
from amas.agents.lanes import Lanes

Work = Callable[[], Awaitable[None]]

mark: ContextVar[str] = ContextVar("mark", default="none")


class Job:
    """Notes the task that it ran in."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.task: asyncio.Task[None] | None = None
        self.times_waited = 0
        self.done = asyncio.Event()

    async def run(self, task: "asyncio.Task[None]", now_s: float) -> None:
        assert asyncio.current_task() is task
        self.task = task
        try:
            await self.work()
        except asyncio.CancelledError:
            pass
        finally:
            self.done.set()

    def waits(self) -> None:
        assert not self.done.is_set()
        self.times_waited += 1


async def nothing() -> None:
    pass


async def all_done(jobs: list[Job]) -> None:
    async with asyncio.timeout(60):
        for job in jobs:
            await job.done.wait()


async def waiting(job: Job) -> None:
    async with asyncio.timeout(60):
        while not job.times_waited:
            await asyncio.sleep(0)


def run(*work: Work) -> list[Job]:
    jobs = [Job(each) for each in work]
    Lanes(asyncio.get_running_loop()).run(jobs)
    return jobs


async def test_jobs_that_never_wait_share_a_task_in_their_order() -> None:
    order: list[int] = []

    def numbered(number: int) -> Work:
        async def work() -> None:
            order.append(number)

        return work

    jobs = run(*(numbered(number) for number in range(300)))
    await all_done(jobs)
    assert order == list(range(300))
    assert len({job.task for job in jobs}) == 1
    assert not any(job.times_waited for job in jobs)


async def test_jobs_that_wait_are_all_under_way_at_once_each_in_a_task_of_its_own() -> None:
    gate = asyncio.Event()
    under_way: list[int] = []

    async def wait() -> None:
        under_way.append(1)
        await gate.wait()

    jobs = run(*[wait] * 300, nothing)
    await jobs[-1].done.wait()
    assert len(under_way) == 300 and all(job.times_waited == 1 for job in jobs[:-1])
    assert len({job.task for job in jobs[:-1]}) == 300
    gate.set()
    await all_done(jobs)


async def test_a_lane_whose_job_waited_takes_no_further_one() -> None:
    gate = asyncio.Event()
    lanes_ = Lanes(asyncio.get_running_loop())
    first, second = Job(gate.wait), Job(nothing)  # type: ignore[arg-type]
    lanes_.run([first])
    await waiting(first)
    gate.set()
    lanes_.run([second])
    await all_done([first, second])
    assert first.task is not second.task


async def test_a_context_variable_stays_with_the_job_that_set_it() -> None:
    seen: list[str] = []

    async def set_it() -> None:
        seen.append(mark.get())
        mark.set("left behind")

    await all_done(run(set_it, set_it, nothing, set_it))
    assert seen == ["none"] * 3
    assert mark.get() == "none"


async def test_a_cancellation_stays_with_the_job_that_asked_for_it() -> None:
    async def cancel_self() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # and ends before it would be thrown

    passed: list[str] = []

    async def innocent() -> None:
        await asyncio.sleep(0)
        passed.append("through")

    await all_done(run(cancel_self, innocent, cancel_self, innocent))
    assert passed == ["through"] * 2


async def test_cancelling_one_that_waits_leaves_the_others_alone() -> None:
    gate = asyncio.Event()
    passed: list[str] = []

    async def wait() -> None:
        await gate.wait()
        passed.append("through")

    jobs = run(wait, wait, wait)
    await waiting(jobs[2])
    assert jobs[1].task is not None
    jobs[1].task.cancel()
    await all_done(jobs[1:2])
    gate.set()
    await all_done(jobs)
    assert passed == ["through"] * 2


async def test_jobs_that_take_long_let_the_loop_turn_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "TURN_S", -1.0)  # every job takes longer than this
    order: list[str] = []

    async def long() -> None:
        order.append("job")
        asyncio.get_running_loop().call_soon(order.append, "loop")

    await all_done(run(long, long, long))
    assert order[:2] == ["job", "loop"] and order.count("job") == 3


async def test_what_comes_while_lanes_open_is_run_too() -> None:
    lanes_ = Lanes(asyncio.get_running_loop())
    later = Job(nothing)

    async def bring_more() -> None:
        lanes_.run([later])

    first = Job(bring_more)
    lanes_.run([first])
    await all_done([first, later])
