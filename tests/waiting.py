"""Waiting for what other processes do: looking again and again, and failing when it doesn't come about."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

LIMIT_S = 120.0
"""It only ends what hangs."""
T = TypeVar("T")


def until(look: Callable[[], T], *, every_s: float = 0.05) -> T:
    """Return what `look` returns as soon as that is true."""
    give_up_at = time.monotonic() + LIMIT_S
    while not (found := look()):
        assert time.monotonic() < give_up_at, "it never came about"
        time.sleep(every_s)
    return found


async def until_async(look: Callable[[], Awaitable[T]], *, every_s: float = 0.02) -> T:
    """Return what `look` returns as soon as that is true."""
    async with asyncio.timeout(LIMIT_S):
        while not (found := await look()):
            await asyncio.sleep(every_s)
    return found
