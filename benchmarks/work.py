"""The work: no-op tasks of 256 bytes, submitted through the Python client and awaited, in each way that a program may do it."""

import asyncio
import random
import time

from amas.client import Fleet, NewTask, TaskHandle

PAYLOAD = {"text": "x" * 245}
"""256 bytes of JSON."""
COROUTINES = 100
"""Who submit one task at a time, all at once; the client sends together what comes together."""
LIMIT_S = 300.0
"""Seconds after which a run is stuck."""


def noops(count: int, **options: object) -> list[NewTask]:
    """Return so many tasks; `options` are `NewTask`'s fields."""
    return [NewTask(capability="bench.noop", input=PAYLOAD, **options) for _ in range(count)]  # type: ignore[arg-type]


def naps(count: int, seconds: float, **options: object) -> list[NewTask]:
    """Return so many tasks that hold a place for `seconds` each on average, by chance half of it to one and a half."""
    chance = random.Random(1)
    lengths = [round(seconds * chance.uniform(0.5, 1.5), 4) for _ in range(count)]
    return [NewTask(capability="bench.nap", input={"seconds": length}, **options) for length in lengths]  # type: ignore[arg-type]


async def submit(client: Fleet, tasks: int, batch: int) -> list[TaskHandle]:
    """Submit so many tasks in batches; a `batch` of 1 is single calls from 100 coroutines."""
    if batch > 1:
        return [handle for _ in range(0, tasks, batch) for handle in await client.submit_batch(noops(batch))]
    left = iter(range(tasks))

    async def one_by_one() -> list[TaskHandle]:
        return [await client.submit("bench.noop", PAYLOAD) for _ in left]

    return [handle for handles in await asyncio.gather(*(one_by_one() for _ in range(COROUTINES))) for handle in handles]


async def one_run(client: Fleet, tasks: int, batch: int) -> float:
    """Return tasks a second, from the first call until the submitter holds every result."""
    began = time.perf_counter()
    results = await client.results(await submit(client, tasks, batch), timeout_s=LIMIT_S)
    seconds = time.perf_counter() - began
    assert len(results) == tasks and all(result == {"ok": True} for result in results)
    return tasks / seconds


async def timed(client: Fleet, task: NewTask) -> float:
    """Return the milliseconds of one task, from the call of submit to the result in hand."""
    began = time.perf_counter()
    (handle,) = await client.submit_batch([task])
    await handle.result(timeout_s=LIMIT_S)
    return (time.perf_counter() - began) * 1000


async def timed_singles(client: Fleet, count: int, *, warm: int = 50) -> list[float]:
    """Return the milliseconds of so many no-op tasks, one after the other."""
    taken = [await timed(client, task) for task in noops(warm + count)]
    return taken[warm:]
