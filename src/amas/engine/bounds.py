"""Bounds of queues: how many tasks may wait in each, set for a cell as a whole. `functions/06_bounds.lua` says what counts."""

from collections.abc import Mapping

import msgspec

from amas.engine.connection import Engine

_encode = msgspec.msgpack.Encoder().encode


class QueueBounds:
    """The bounds of one cell, which the engine's `submit` keeps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def set(self, bounds: Mapping[str, int]) -> None:
        """Let these bounds hold from now on, and no others: queue -> the most tasks in it; 0 is no bound.

        A bound below what is queued already drops nothing: submissions are refused until it has drained.
        """
        pairs = [each for queue, most in bounds.items() if most for each in (queue, most)]
        await self._engine.call("bounds", _encode(pairs))

    async def read(self) -> dict[str, int]:
        """Return the bounds that hold."""
        (found,) = await self._engine.read([("HGETALL", self._engine.key("bounds"))])
        return {queue.decode(): int(most) for queue, most in found.items()}
