"""Keeps a fleet busy: so many tasks are open at any time, until it is told to stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from amas.client import Fleet, NewTask, TaskHandle


class Feed:
    """What was accepted so far."""

    def __init__(self) -> None:
        self.accepted: list[TaskHandle] = []
        self.stop = asyncio.Event()


@asynccontextmanager
async def feeding(client: Fleet, batch: Callable[[], list[NewTask]], *, streams: int) -> AsyncIterator[Feed]:
    """Submit batches, each of `streams` loops its next when its last has ended; at the end await every task that was accepted."""
    feed = Feed()

    async def one() -> None:
        while not feed.stop.is_set():
            handles = await client.submit_batch(batch())
            feed.accepted += handles
            await asyncio.gather(*(handle.outcome() for handle in handles))

    async with asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(one())
        try:
            yield feed
        finally:
            feed.stop.set()
