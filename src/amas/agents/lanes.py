"""Lanes: asyncio tasks that attempts run in, one after the other for as long as none of them waits.

A task of its own for each attempt costs more than a short attempt itself. So a lane goes on to the next attempt when one ended
without ever waiting, and an attempt that waits keeps its lane to itself: others get a new one in the same turn of the loop or the
next. What an agent's code could leave behind for whoever comes after it (a cancellation, a context variable) ends its lane.

Used by the host, on its loop only. Attempts catch what agents raise; what comes out of one here is a mistake of ours.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import copy_context
from typing import Protocol

from amas.clock import monotonic_s

TURN_S = 0.005
"""Seconds that a lane goes on before the loop sees to everybody else."""


class Runnable(Protocol):
    """What runs in a lane."""

    async def run(self, task: "asyncio.Task[None]", now_s: float) -> None:
        """Run to the end; `task` is the lane's, `now_s` is by `monotonic_s`."""

    def waits(self) -> None:
        """Hear, at most once, that it didn't end in its first turn."""


class _Lane:
    __slots__ = ("at", "shared")

    def __init__(self) -> None:
        self.at: Runnable | None = None
        self.shared = True
        """Until what it runs has waited."""


class Lanes:
    """Runs what it is given, in order, in as few tasks as that needs."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: deque[Runnable] = deque()
        self._opening = False

    def run(self, batch: Sequence[Runnable]) -> None:
        """Run each of `batch` from the loop's next turn on."""
        self._due.extend(batch)
        if self._due and not self._opening:
            self._opening = True
            self._open(1)

    def _open(self, count: int) -> None:
        lanes = [_Lane() for _ in range(count)]
        for lane in lanes:
            self._loop.create_task(self._follow(lane), name="lane")
        self._loop.call_soon(self._look, lanes)  # after their first turns

    def _look(self, lanes: list[_Lane]) -> None:
        """Leave the lanes that wait to what waits in them, and open more, twice as many each time, for what is still due."""
        for lane in lanes:
            lane.shared = False
            if lane.at is not None:
                lane.at.waits()
        if self._due:
            self._open(min(2 * len(lanes), len(self._due)))
        else:
            self._opening = False

    async def _follow(self, lane: _Lane) -> None:
        task, due = asyncio.current_task(), self._due
        assert task is not None
        clean, now_s = copy_context(), monotonic_s()
        turn_ends_s = now_s + TURN_S
        try:
            while due:
                lane.at = due.popleft()
                await lane.at.run(task, now_s)
                now_s = monotonic_s()
                if not lane.shared or task.cancelling() or copy_context() != clean or now_s > turn_ends_s:
                    return
        finally:
            lane.at = None
