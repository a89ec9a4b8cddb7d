"""Many callers, one call: what piles up while calls are under way goes out together in the next one.

No timer: an idle engine is called at once, a busy one in batches as large as its own slowness makes them. With two calls under
way, one is there to be read when the engine has brought the other to the disk, so it flushes less often for as much work. A
caller that is cancelled leaves the others' call alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Coalescer(Generic[Item, Answer]):
    """Batches concurrent `put`s into calls of `send`, at most `limit` items each and `calls` of them at a time."""

    def __init__(self, send: Callable[[list[Item]], Awaitable[list[Answer]]], *, limit: int, calls: int = 1) -> None:
        """`send` answers a list as long as its argument, in order; what it raises reaches every caller of that batch.

        With more than one of `calls` a later item may overtake an earlier one that waits for its answer still.
        """
        self._send, self._limit, self._calls = send, limit, calls
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._senders: set[asyncio.Task[None]] = set()
        self._starting = False
        """Whether a sender is about to take what waits."""

    async def put(self, item: Item) -> Answer:
        """Send `item` with whatever else is waiting and return its answer."""
        loop = asyncio.get_running_loop()
        if not self._starting and len(self._senders) < self._calls:
            self._starting = True
            self._senders.add(loop.create_task(self._drain(), name="coalescer"))
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((item, future))
        return await future

    async def _drain(self) -> None:
        self._starting, sender = False, asyncio.current_task()
        assert sender is not None
        try:
            while self._waiting:
                batch = self._waiting[: self._limit]
                del self._waiting[: self._limit]
                await self._send_batch(batch)
        finally:
            self._senders.discard(sender)
            for _, future in self._waiting:  # only when this task itself was cancelled, as a closing loop does
                future.cancel()
            self._waiting.clear()

    async def _send_batch(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._send([item for item, _ in batch])
            answered = list(zip(batch, answers, strict=True))  # a wrong length is a bug of `send`; nobody may wait for ever
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001  each caller of the batch raises it
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in answered:
            if not future.done():
                future.set_result(answer)
