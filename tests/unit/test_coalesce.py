"""Many callers, one call."""

import asyncio

import pytest

from amas.engine.coalesce import Coalescer


class Far:
    """A receiver that answers each batch only when told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.arrived = asyncio.Semaphore(0)
        self.answers = asyncio.Semaphore(0)

    async def send(self, batch: list[int]) -> list[int]:
        self.batches.append(batch)
        self.arrived.release()
        await self.answers.acquire()
        if -1 in batch:
            raise ValueError("refused")
        return [item * 10 for item in batch]


async def puts(far: Far, *, limit: int = 100) -> tuple[Coalescer[int, int], list[asyncio.Task[int]]]:
    """Return a coalescer with item 0 under way and 1 to 4 waiting behind it."""
    coalescer = Coalescer(far.send, limit=limit)
    first = asyncio.create_task(coalescer.put(0))
    await asyncio.wait_for(far.arrived.acquire(), 60)
    rest = [asyncio.create_task(coalescer.put(item)) for item in (1, 2, 3, 4)]
    await asyncio.sleep(0)
    return coalescer, [first, *rest]


async def test_what_piles_up_goes_out_together() -> None:
    far = Far()
    _, tasks = await puts(far)
    for _ in range(2):
        far.answers.release()
    assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40]
    assert far.batches == [[0], [1, 2, 3, 4]]


async def test_a_call_takes_no_more_than_its_limit() -> None:
    far = Far()
    _, tasks = await puts(far, limit=3)
    for _ in range(3):
        far.answers.release()
    await asyncio.gather(*tasks)
    assert far.batches == [[0], [1, 2, 3], [4]]


async def test_a_second_call_goes_beside_the_first_and_the_third_waits() -> None:
    far = Far()
    coalescer: Coalescer[int, int] = Coalescer(far.send, limit=100, calls=2)
    tasks = []
    for batch in ([0, 1], [2, 3], [4, 5], [6]):
        tasks += [asyncio.create_task(coalescer.put(item)) for item in batch]
        for _ in range(3):  # a turn for the puts, one for a sender, one to see that no other comes
            await asyncio.sleep(0)
    assert far.batches == [[0, 1], [2, 3]]
    for _ in range(3):
        far.answers.release()
    assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40, 50, 60]
    assert far.batches == [[0, 1], [2, 3], [4, 5, 6]]


async def test_a_failure_reaches_its_own_batch_alone() -> None:
    far = Far()
    coalescer, tasks = await puts(far, limit=4)
    bad = asyncio.create_task(coalescer.put(-1))
    await asyncio.sleep(0)
    for _ in range(3):
        far.answers.release()
    assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40]
    with pytest.raises(ValueError, match="refused"):
        await bad
    far.answers.release()
    assert await coalescer.put(7) == 70


async def test_a_caller_that_leaves_takes_nobody_with_it() -> None:
    far = Far()
    _, tasks = await puts(far)
    tasks[0].cancel()
    tasks[2].cancel()
    for _ in range(2):
        far.answers.release()
    assert await asyncio.gather(tasks[1], tasks[3], tasks[4]) == [10, 30, 40]
    assert far.batches == [[0], [1, 2, 3, 4]]  # what was said stays said


async def test_an_answer_of_the_wrong_length_is_our_own_bug_and_leaves_nobody_waiting() -> None:
    async def send(batch: list[int]) -> list[int]:
        return batch[1:]

    with pytest.raises(ValueError, match="shorter"):
        await asyncio.wait_for(Coalescer(send, limit=5).put(1), 60)


async def test_a_sender_that_is_cancelled_cancels_those_who_wait() -> None:
    far = Far()
    _, tasks = await puts(far)
    (sender,) = [task for task in asyncio.all_tasks() if task.get_name() == "coalescer"]
    sender.cancel()
    assert all(isinstance(error, asyncio.CancelledError) for error in await asyncio.gather(*tasks, return_exceptions=True))
