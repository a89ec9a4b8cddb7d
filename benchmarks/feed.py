"""Keeps a fleet at full load: the queue never runs dry, whatever becomes of single tasks, hosts and the engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from amas.client import Fleet, NewTask, TaskHandle
from amas.errors import EngineError

LOOK_EVERY_S = 0.02


@asynccontextmanager
async def feeding(client: Fleet, batch: Callable[[], list[NewTask]], *, queued: int) -> AsyncIterator[list[TaskHandle]]:
    """Submit batches whenever fewer than `queued` tasks wait, and give what was accepted; at the end await all of it."""
    accepted: list[TaskHandle] = []
    over = asyncio.Event()

    async def feed() -> None:
        while not over.is_set():
            try:
                if sum((await client.queue.depths()).values()) < queued:
                    accepted.extend(await client.submit_batch(batch()))
                    continue
            except EngineError:  # it was killed; the client says again what wasn't acknowledged
                pass
            await asyncio.sleep(LOOK_EVERY_S)

    async with asyncio.TaskGroup() as group:
        group.create_task(feed())
        yield accepted
        over.set()
    await asyncio.gather(*(handle.outcome() for handle in accepted))
