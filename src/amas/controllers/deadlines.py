"""The deadlines: a workflow that is older than its goal's deadline, or than the fleet's time-out, is ended as failed.

It reads open workflows from the engine and not from the records, so that a database that is down lets nothing run forever. A
workflow that is opened again, by a re-run or out of the dead letters, has its time anew from then. What it was allowed never
changes, so each goal is read once for each time.
"""

from amas.controllers.figures import Figures
from amas.engine.queue import TaskQueue
from amas.model.states import WorkflowState
from amas.observe import events
from amas.observe.logging import process_log

PAUSE_S = 1.0
"""Deadlines are given in seconds."""
WORKFLOWS_MAX = 10_000
"""The oldest open workflows that a sweep looks at."""


class Deadlines:
    """Ends workflows whose time is up."""

    name = "deadlines"

    def __init__(self, queue: TaskQueue, figures: Figures, *, timeout_s: float) -> None:
        """`timeout_s`: for workflows whose goal sets no deadline (ORCHESTRATION_WORKFLOW_TIMEOUT)."""
        self._queue, self._figures, self._timeout_s = queue, figures, timeout_s
        self._due_ms: dict[tuple[str, int], int] = {}
        """By workflow and when it was opened."""

    async def run_once(self) -> float:
        """End every open workflow that is overdue and return the seconds until the next sweep."""
        opened = await self._queue.open_workflows(limit=WORKFLOWS_MAX)
        self._due_ms = {opening: self._due_ms.get(opening) or await self._read_due_ms(*opening) for opening in opened.items()}
        now = self._queue.now_ms()
        for (workflow_id, _), due_ms in self._due_ms.items():
            if due_ms <= now and await self._queue.end_workflow(workflow_id, WorkflowState.FAILED):
                self._figures.workflows_overdue += 1
                late_s = (now - due_ms) / 1000
                process_log().warning(
                    "ended an overdue workflow", event=events.WORKFLOW_OVERDUE, workflow_id=workflow_id, late_s=late_s
                )
        return PAUSE_S

    async def _read_due_ms(self, workflow_id: str, opened_ms: int) -> int:
        held = await self._queue.workflow(workflow_id)
        goal = held["goal"] if held else None
        deadline_s = goal.get("deadline_s") if isinstance(goal, dict) else None
        allowed_s = deadline_s if isinstance(deadline_s, int | float) and deadline_s > 0 else self._timeout_s
        return opened_ms + round(allowed_s * 1000)
