"""The Python client against a real host on a real engine."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from host_bench import Bench, pool

from amas.client import Fleet, NewTask, TaskHandle
from amas.engine.journal import START, Journal
from amas.errors import DependencyUnknown, PayloadTooLarge, SubmissionError, TaskCancelled, TaskFailed
from amas.model.journal import EntryKind
from amas.model.task import Json, RetryPolicy

LIMIT_S = 60.0


@pytest.fixture
async def fleet(bench: Bench) -> AsyncIterator[Fleet]:
    async with bench.host([pool("echo", replicas=4), pool("fail")]), Fleet.connect(bench.url, cell=bench.cell) as connected:
        yield connected


def _echoed(results: list[Json]) -> list[Json]:
    return [result["echo"] for result in results]


async def test_results_come_back_in_the_order_of_their_tasks(fleet: Fleet) -> None:
    handles = await fleet.submit_batch(NewTask(capability="test.echo", input=number) for number in range(2500))
    assert _echoed(await fleet.results(handles, timeout_s=LIMIT_S)) == list(range(2500))


async def test_single_submissions_made_together_are_stored_together(fleet: Fleet) -> None:
    handles = await asyncio.gather(*(fleet.submit("test.echo", number) for number in range(300)))
    assert _echoed(await fleet.results(handles, timeout_s=LIMIT_S)) == list(range(300))
    entries = await Journal(fleet.engine).read(START, limit=10_000)
    assert sum(entry.kind is EntryKind.SUBMIT for entry in entries) < 30


async def test_one_refused_submission_doesnt_take_the_others_with_it(fleet: Fleet) -> None:
    good, bad, also_good = await asyncio.gather(
        fleet.submit("test.echo", 1),
        fleet.submit("test.echo", 2, needs=("no-such-task",)),
        fleet.submit("test.echo", 3),
        return_exceptions=True,
    )
    assert isinstance(bad, DependencyUnknown)
    assert isinstance(good, TaskHandle)
    assert isinstance(also_good, TaskHandle)
    assert _echoed(await fleet.results([good, also_good], timeout_s=LIMIT_S)) == [1, 3]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"input": "x" * (2 << 20)}, PayloadTooLarge),
        ({"input": object()}, SubmissionError),
        ({"input": 1 << 70}, SubmissionError),
        ({"delay_s": "soon"}, TypeError),
    ],
)
async def test_a_task_that_cant_be_carried_is_refused_alone(
    fleet: Fleet, fields: dict[str, object], error: type[Exception]
) -> None:
    good, bad = await asyncio.gather(fleet.submit("test.echo", 1), fleet.submit("test.echo", **fields), return_exceptions=True)
    assert isinstance(good, TaskHandle) and type(bad) is error
    assert _echoed(await fleet.results([good], timeout_s=LIMIT_S)) == [1]


async def test_many_may_wait_for_one_task_and_one_may_give_up(bench: Bench) -> None:
    async with Fleet.connect(bench.url, cell=bench.cell) as fleet:
        task = await fleet.submit("test.echo", 1)
        impatient = asyncio.create_task(task.outcome())
        others = [asyncio.create_task(task.result(timeout_s=LIMIT_S)) for _ in range(3)]
        with pytest.raises(TimeoutError):
            await task.result(timeout_s=0.001)
        impatient.cancel()
        async with bench.host([pool("echo")]):
            assert _echoed(await asyncio.gather(*others)) == [1] * 3
        assert (await task.result())["echo"] == 1
        assert impatient.cancelled()


async def test_failures_and_cancellations_reach_the_caller_as_they_are(bench: Bench) -> None:
    async with bench.host([pool("fail")]):
        with pytest.raises(TaskFailed):  # and not in an exception group
            async with Fleet.connect(bench.url, cell=bench.cell) as fleet:
                task = await fleet.submit("test.fail", "give_up", retry=RetryPolicy(retries=0))
                await task.result(timeout_s=LIMIT_S)
    async with Fleet.connect(bench.url, cell=bench.cell) as fleet:
        task = await fleet.submit("test.nobody")
        assert await fleet.cancel(task) == 1
        with pytest.raises(TaskCancelled):
            await task.result(timeout_s=LIMIT_S)


async def test_an_outcome_whose_push_was_lost_is_asked_for(bench: Bench) -> None:
    async with Fleet.connect(bench.url, cell=bench.cell) as fleet:
        tasks = await fleet.submit_batch(NewTask(capability="test.echo", input=number) for number in range(50))
        await bench.engine.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        async with bench.host([pool("echo")]):
            assert _echoed(await fleet.results(tasks, timeout_s=LIMIT_S)) == list(range(50))
