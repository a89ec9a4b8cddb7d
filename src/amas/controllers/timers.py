"""The timers: what is due is done.

Delayed tasks are queued and timers succeed, tasks whose time is up fail, parked ones go on when there is room again, what calls
have left to do goes on, and what has ended leaves the engine when its retention is over. Each in slices, so that nobody else
waits for long.
"""

from collections.abc import Awaitable, Callable

from amas.controllers.figures import Figures
from amas.engine.limits import Limits
from amas.engine.queue import TaskQueue
from amas.engine.workflows import SLICE, Workflows

SWEEP_SLICES_MAX = 50
"""Slices of one kind in one sweep, so that a flood of due tasks doesn't keep the other kinds waiting."""
PAUSE_MAX_S = 0.25
"""A delayed task that arrives while the timers sleep waits at most this much longer than asked."""

PAUSE_MIN_MS = 5
"""Between two looks at a task that is due in a moment, as the engine counts: its clock and our idea of it differ by a little."""


class Timers:
    """Promotes, expires, refills, tends and forgets."""

    name = "timers"

    def __init__(self, queue: TaskQueue, workflows: Workflows, limits: Limits, figures: Figures) -> None:
        self._queue, self._workflows, self._limits, self._figures = queue, workflows, limits, figures

    async def run_once(self) -> float:
        """Do what is due and return the seconds until the next task is, 0.25 at most; 0 when it was more than one sweep does."""
        promoted, promote_ms = await _sweep(lambda: self._queue.promote(limit=SLICE))
        _, expire_ms = await _sweep(lambda: self._workflows.expire(limit=SLICE))
        _, refill_ms = await _sweep(lambda: self._limits.refill(limit=SLICE))
        self._figures.tasks_promoted += promoted
        more = False
        for _ in range(SWEEP_SLICES_MAX):
            if not (more := await self._workflows.tend()):
                break
        for _ in range(SWEEP_SLICES_MAX):
            if await self._queue.forget(tasks=SLICE) < SLICE:
                break
        due_ms = min(filter(None, (promote_ms, expire_ms, refill_ms)), default=0)
        if more or not due_ms:
            return 0.0 if more else PAUSE_MAX_S
        return min(max(due_ms - self._queue.now_ms(), PAUSE_MIN_MS) / 1000, PAUSE_MAX_S)


async def _sweep(take: Callable[[], Awaitable[tuple[int, int]]]) -> tuple[int, int]:
    """Call `take` until it finds less than a slice; return how many it found, and when the next is due."""
    total = due_ms = 0
    for _ in range(SWEEP_SLICES_MAX):
        count, due_ms = await take()
        total += count
        if count < SLICE:
            break
    return total, due_ms
