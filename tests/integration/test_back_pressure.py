"""Bounded queues as producers see them, against real hosts on a real engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import sample_agents
from host_bench import Bench, pool

from amas.client import Fleet, NewTask
from amas.engine.bounds import QueueBounds
from amas.errors import QueueFull

LIMIT_S = 60.0
BOUND = 5
ECHO = "test.echo"


@pytest.fixture
async def bench(bench: Bench) -> Bench:
    await QueueBounds(bench.engine).set({ECHO: BOUND})
    return bench


@asynccontextmanager
async def deepest(bench: Bench) -> AsyncIterator[list[int]]:
    """Watch the queue during the body; the list's only item is the most that was seen in it."""
    seen = [0]

    async def look() -> None:
        while True:
            seen[0] = max(seen[0], (await bench.queue.depths()).get(ECHO, 0))
            await asyncio.sleep(0)

    watching = asyncio.create_task(look())
    try:
        yield seen
    finally:
        watching.cancel()
        await asyncio.wait((watching,))


async def test_producers_go_at_the_fleets_pace_and_nothing_is_lost(bench: Bench) -> None:
    async with bench.host([pool("echo", replicas=2)]), Fleet.connect(bench.url, cell=bench.cell) as fleet, deepest(bench) as seen:
        singles = asyncio.gather(*(fleet.submit(ECHO, number) for number in range(200)))
        batches = [
            await fleet.submit_batch(NewTask(capability=ECHO, input=number) for number in range(start, start + 4))
            for start in range(200, 400, 4)
        ]
        handles = [*await singles, *(handle for batch in batches for handle in batch)]
        results = await fleet.results(handles, timeout_s=LIMIT_S)
    assert [result["echo"] for result in results] == list(range(400))
    assert 0 < seen[0] <= BOUND


async def test_who_wont_wait_is_told_at_once_and_nothing_is_stored(bench: Bench) -> None:
    async with Fleet.connect(bench.url, cell=bench.cell, wait_for_room_s=0) as fleet:
        await fleet.submit_batch(NewTask(capability=ECHO) for _ in range(BOUND))
        with pytest.raises(QueueFull, match=f"'{ECHO}' holds {BOUND} tasks and takes at most {BOUND}"):
            await fleet.submit(ECHO)
        with pytest.raises(QueueFull):
            await fleet.submit_batch([NewTask(capability="test.other"), NewTask(capability=ECHO)])
        with pytest.raises(QueueFull):
            await fleet.submit(ECHO, wait_for_room_s=0.05)
        assert await bench.queue.depths() == {ECHO: BOUND}
        assert len(fleet._replies) == BOUND


async def test_a_batch_that_never_fits_is_refused_however_long_one_would_wait(bench: Bench) -> None:
    async with Fleet.connect(bench.url, cell=bench.cell, wait_for_room_s=3600) as fleet:
        with pytest.raises(QueueFull, match="so many never fit, send at most 5 at a time"):
            await fleet.submit_batch(NewTask(capability=ECHO) for _ in range(BOUND + 1))


async def test_a_full_queue_doesnt_hold_up_others(bench: Bench) -> None:
    async with Fleet.connect(bench.url, cell=bench.cell) as fleet:
        waiting = [asyncio.create_task(fleet.submit(ECHO, number)) for number in range(3 * BOUND)]
        async with asyncio.timeout(LIMIT_S):
            for number in range(20):  # while the others wait and try again
                await fleet.submit("test.other", number)
            while (await bench.queue.depths()).get(ECHO) != BOUND:
                await asyncio.sleep(0.005)
            assert sum(task.done() for task in waiting) <= BOUND
            async with bench.host([pool("echo")]):
                handles = [await task for task in waiting]
                results = await fleet.results(handles)
    assert sorted(result["echo"] for result in results) == list(range(3 * BOUND))


async def test_a_submission_that_is_given_up_leaves_nothing_behind(bench: Bench) -> None:
    async with Fleet.connect(bench.url, cell=bench.cell) as fleet:
        await fleet.submit_batch(NewTask(capability=ECHO) for _ in range(BOUND))
        waiting = asyncio.create_task(fleet.submit(ECHO))
        while len(fleet._replies) <= BOUND:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        async with asyncio.timeout(LIMIT_S):
            while len(fleet._replies) > BOUND:  # the call that it shared with others ends by itself
                await asyncio.sleep(0)
        assert await bench.queue.depths() == {ECHO: BOUND}


async def test_an_agent_may_spawn_more_than_its_queue_holds(bench: Bench) -> None:
    await QueueBounds(bench.engine).set({"test.spread": 1, ECHO: 1})
    sample_agents.begun.clear()
    async with bench.host([pool("spread"), pool("echo")]), Fleet.connect(bench.url, cell=bench.cell) as fleet:
        task = await fleet.submit("test.spread", 3 * BOUND)
        assert await task.result(timeout_s=LIMIT_S) == 3 * BOUND
