"""Saying it again until the engine answers, for calls that may be repeated and must not be lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from amas.core.retry import Draw, pause_s
from amas.errors import EngineDiskFull, EngineUnreachable

Answer = TypeVar("Answer")

PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 2.0
"""From a restart that nobody should notice to an outage during which a thousand hosts knock."""


async def insist(call: Callable[[], Awaitable[Answer]], *, draw: Draw) -> Answer:
    """Await `call()` until the engine takes it, with growing, jittered pauses; return its answer. End it by cancelling."""
    tries = 0
    while True:
        try:
            return await call()
        except (EngineUnreachable, EngineDiskFull):
            tries += 1
            await asyncio.sleep(pause_s(tries, least_s=PAUSE_MIN_S, most_s=PAUSE_MAX_S, draw=draw))
