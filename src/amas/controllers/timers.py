"""The timers: delayed tasks are queued when their time comes, ended workflows leave the engine when their retention is over."""

from amas.clock import now_ms
from amas.controllers.figures import Figures
from amas.engine.queue import TaskQueue

PROMOTE_BATCH = 1000
FORGET_BATCH = 1000
SWEEP_BATCHES_MAX = 50
"""Batches in one sweep, so that a flood of due tasks doesn't keep ended workflows in memory."""
PAUSE_MAX_S = 0.25
"""A delayed task that arrives while the timers sleep waits at most this much longer than asked."""


class Timers:
    """Promotes and forgets."""

    name = "timers"

    def __init__(self, queue: TaskQueue, figures: Figures) -> None:
        self._queue, self._figures = queue, figures

    async def run_once(self) -> float:
        """Queue what is due, forget what is old, and return the seconds until the next task is due, 0.25 at most."""
        due_ms = 0
        for _ in range(SWEEP_BATCHES_MAX):
            count, due_ms = await self._queue.promote(limit=PROMOTE_BATCH)
            self._figures.tasks_promoted += count
            if count < PROMOTE_BATCH:
                break
        for _ in range(SWEEP_BATCHES_MAX):
            if await self._queue.forget(tasks=FORGET_BATCH) < FORGET_BATCH:
                break
        if not due_ms:
            return PAUSE_MAX_S
        return min(max(due_ms - now_ms(), 0) / 1000, PAUSE_MAX_S)
