"""Requests that are done once, though they may be sent again (`functions/92_once.lua`); submissions do it in their own call."""

from amas.engine.connection import Engine
from amas.engine.queue import IDEMPOTENCY_S
from amas.errors import IdempotencyConflict, RequestUnderWay

UNDER_WAY_S = 120.0
"""One whose process died leaves its key after so long; one that takes longer says meanwhile that it still runs."""


class Once:
    """The keys of one cell."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def begin(self, key: str, digest: str) -> bytes | None:
        """Return the first answer to what was asked under a key, or None to whoever is the first: it says `renew`, then `end`.

        IdempotencyConflict for another body; RequestUnderWay while the first isn't answered.
        """
        answer = await self._engine.call("once_begin", key, digest, round(UNDER_WAY_S * 1000))
        match answer[0]:
            case b"ok":
                return None
            case b"seen":
                return bytes(answer[1])
            case b"busy":
                raise RequestUnderWay(
                    "the first request under this idempotency key isn't answered yet: send it again in a moment"
                )
            case _:
                raise IdempotencyConflict("this idempotency key was used before with another body")

    async def renew(self, key: str, digest: str) -> None:
        """Keep the key for `UNDER_WAY_S` from now on, for what is still under way."""
        await self._engine.call("once_renew", key, digest, round(UNDER_WAY_S * 1000))

    async def end(self, key: str, digest: str, answer: bytes) -> None:
        """Keep the first answer for a day; an empty one leaves the key to the next try."""
        await self._engine.call("once_end", key, digest, answer, round(IDEMPOTENCY_S * 1000))
