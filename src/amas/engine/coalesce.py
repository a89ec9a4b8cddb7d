"""Many callers, one call: what piles up while a call is under way goes out together in the next one.

No timer: an idle engine is called at once, a busy one in batches as large as its own slowness makes them. A caller
that is cancelled leaves the others' call alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Coalescer(Generic[Item, Answer]):
    """Batches concurrent `put`s into calls of `send`, at most `limit` items each."""

    def __init__(self, send: Callable[[list[Item]], Awaitable[list[Answer]]], *, limit: int) -> None:
        """`send` answers a list as long as its argument, in order; what it raises reaches every caller of that batch."""
        self._send, self._limit = send, limit
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> Answer:
        """Send `item` with whatever else is waiting and return its answer."""
        if self._sender is None:
            self._loop = asyncio.get_running_loop()
            self._sender = self._loop.create_task(self._drain(), name="coalescer")
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.append((item, future))
        return await future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[: self._limit]
                del self._waiting[: self._limit]
                await self._send_batch(batch)
        finally:
            self._sender = None
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
