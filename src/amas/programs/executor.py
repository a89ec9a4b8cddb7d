"""`WorkflowExecutor`: has goals met by the fleet and tells how far they are."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from amas.client import Fleet
from amas.engine.limits import Limits
from amas.errors import LimitUnknown, WorkflowUnknown
from amas.model.fleet import FleetSpec
from amas.model.limits import AMOUNT_MAX, Amounts
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Json
from amas.programs.link import Link

PLAN_STEP = "plan"
"""Of the coordinator: its result is the checked plan."""
TASKS_MAX = 100_000
"""Tasks of a workflow that its layers' figures look at."""
GOES_ON = frozenset({WorkflowState.RUNNING, WorkflowState.COMPENSATING, WorkflowState.PAUSED})
COUNTED_ONLY = Amounts(usd=AMOUNT_MAX)
"""A budget that nobody reaches: what a workflow spends is counted where it has one."""


class WorkflowExecutor:
    """Submits goals; the fleet goes on with them whether or not this program does."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def execute_workflow(
        self,
        text: str,
        user_preferences: dict[str, Json] | None = None,
        *,
        input_dir: Path | str = "",
        output_dir: Path | str = "",
        tenant: str = "",
        budget: Amounts | None = None,
    ) -> str:
        """Submit a goal in plain words and return its execution id once it is on disk.

        While the fleet works on `max_workflows` goals it waits for its turn. `input_dir`: the folder that it is about, unless the
        text names one in full; `output_dir`: where the deliverable goes. CapabilityUnknown when the fleet takes no goals.
        """

        async def submit(fleet: Fleet, _: FleetSpec) -> str:
            handle = await fleet.run(
                text,
                input_dir=input_dir,
                output_dir=output_dir,
                preferences=user_preferences,
                tenant=tenant,
                budget=budget or COUNTED_ONLY,
            )
            return handle.id

        return await self._link.ask(submit)

    def get_execution_status(self, execution_id: str) -> dict[str, Any]:
        """Return how an execution stands.

        `status` (`waiting`, `running`, `completed`, `failed`, `cancelled`), `progress_percentage` (0 to 100; it falls back where
        an agent spawns more), `completed_tasks` (ended in any way), `failed_tasks`, `total_tasks` (so far), `layers` (for each
        its `completed`, `running` and `total`), `assigned` (the plan's tasks by key, each with its pool and then one for each
        capability that it spawns; empty until it is planned), `cost_usd` so far, `paused`, `result` and `failure` (a sentence,
        or empty). WorkflowUnknown when the engine holds no such execution: it forgets one some time after its end.
        """
        return self._link.ask_now(lambda fleet, _: _status(fleet, execution_id))


async def _status(fleet: Fleet, execution_id: str) -> dict[str, Any]:
    held = await fleet.queue.workflow(execution_id)
    if held is None:
        raise WorkflowUnknown(f"the engine holds no execution {execution_id!r}; `amas workflows {execution_id}` asks the records")
    root = (await fleet.queue.outcomes([held["root_id"]]))[held["root_id"]]
    state = WorkflowState(held["state"])
    total, ended = held["total"], held["total"] - held["open"]
    if state.terminal:
        root = await fleet.values.outcome(root)
    return {
        "execution_id": execution_id,
        "status": _word(state),
        "paused": state is WorkflowState.PAUSED,
        "progress_percentage": 100.0 if state is WorkflowState.SUCCEEDED else round(100.0 * ended / max(total, 1), 1),
        "completed_tasks": ended,
        "failed_tasks": held["failed"],
        "total_tasks": total,
        "layers": await _layers(fleet, execution_id),
        "assigned": await _assigned(fleet, held["root_id"]),
        "cost_usd": await _spent_usd(fleet.limits, execution_id),
        "result": root.result,
        "failure": root.failure.message if root.failure else held["failure"].message if held["failure"] else "",
    }


def _word(state: WorkflowState) -> str:
    if state in GOES_ON:
        return "running"
    return "completed" if state is WorkflowState.SUCCEEDED else state.value


async def _layers(fleet: Fleet, execution_id: str) -> Mapping[str, Mapping[str, int]]:
    tasks = await fleet.queue.workflow_tasks(execution_id, limit=TASKS_MAX)
    counts: dict[str, Counter[str]] = {}
    for task in tasks:
        told = counts.setdefault(str(task.layer or "unassigned"), Counter(completed=0, running=0, total=0))
        told["total"] += 1
        told["completed"] += task.state.terminal
        told["running"] += task.state is TaskState.RUNNING
    return {layer: dict(told) for layer, told in counts.items()}


async def _assigned(fleet: Fleet, root_id: str) -> Json:
    """Return who the plan's tasks were assigned to, as its check did it."""
    held = (await fleet.queue.steps(root_id)).get(PLAN_STEP)
    plan = await fleet.values.get(msgspec.msgpack.decode(held)) if held else None
    return plan.get("pools", {}) if isinstance(plan, dict) else {}


async def _spent_usd(limits: Limits, execution_id: str) -> float:
    """Return what an execution has spent, in dollars; 0 for one submitted elsewhere without a budget: nothing counts it."""
    try:
        return (await limits.budget(f"workflow/{execution_id}")).spent.usd or 0.0
    except LimitUnknown:
        return 0.0
