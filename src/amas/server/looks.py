"""Tasks as pollers look at them: at once where that goes, and together where it doesn't.

All is well nearly always. Then the engine is asked for each task over one connection that all share, and records that find it in
less time than it takes to have it found elsewhere aren't waited for. Else what is asked for while a look is under way goes out
with all the rest in the next, so that a hundred which come at a time are one call of the engine and one look into the records. A
look begins after it was asked for: nothing is kept, and no answer is older than its request.
"""

from amas.engine.coalesce import Coalescer
from amas.engine.line import LineBroken
from amas.engine.queue import Held, TaskQueue
from amas.records.history import TaskInFull
from amas.records.store import Records

TOGETHER_MAX = 100
"""Tasks in a look: each may bring 64 KiB of input and as much of a result, from the engine and from the records."""


class TaskLooks:
    """Looks at tasks, through one control plane."""

    def __init__(self, queue: TaskQueue, records: Records) -> None:
        self._queue, self._records = queue, records
        self._held: Coalescer[str, Held | None] = Coalescer(queue.look, limit=TOGETHER_MAX)
        self._recorded: Coalescer[str, TaskInFull] = Coalescer(records.tasks_in_full, limit=TOGETHER_MAX)

    async def held(self, task_id: str) -> Held | None:
        """Return what the engine holds of a task; None when it has forgotten it or never knew."""
        try:
            return await self._queue.glance(task_id)
        except LineBroken:
            return await self._held.put(task_id)

    async def recorded(self, task_id: str) -> TaskInFull:
        """Return all that the history has of a task."""
        return self._records.task_at_a_glance(task_id) or await self._recorded.put(task_id)
