"""A goal on its way in: a workflow whose root task the executive layer runs.

Called by the REST API, the Python client and the command line alike, so that a goal means the same whoever submits it.
It must never plan: the root task's agent does.
"""

from pathlib import PurePath

import msgspec

from amas.artifacts.values import LargeValues
from amas.clock import new_id
from amas.engine.queue import Idempotency, TaskQueue, make_submission
from amas.errors import CapabilityUnknown, InputUnusable, PayloadTooLarge
from amas.model.blob import to_blob
from amas.model.fleet import FleetLimits, FleetSpec
from amas.model.goal import ROOT_CAPABILITY, ROOT_KEY, Goal
from amas.model.journal import WorkflowOpening
from amas.model.states import Layer
from amas.model.task import Submission, TaskSpec
from amas.observe.tracing import current

GOAL_CHARS_MAX = 20_000
"""A goal is a few sentences; what is longer belongs into its input."""
TITLE_CHARS_MAX = 120


def goal_deadline_ms(goal: Goal, limits: FleetLimits, *, now_ms: int) -> int:
    """Return when the goal's work must have ended, in ms since the epoch: its own deadline, at most the fleet's time-out."""
    limit_s = limits.workflow_timeout_h * 3600
    return now_ms + round(min(goal.deadline_s or limit_s, limit_s) * 1000)


def check_goal(goal: Goal) -> None:
    """Raise InputUnusable when the goal is empty, too long or about a relative path."""
    if not goal.text.strip():
        raise InputUnusable("the goal is empty: say in plain words what is wanted")
    if len(goal.text) > GOAL_CHARS_MAX:
        raise InputUnusable(f"the goal has {len(goal.text)} characters; at most {GOAL_CHARS_MAX} are read")
    for name, folder in (("input", goal.input_dir), ("output", goal.output_dir)):
        if folder and not PurePath(folder).is_absolute():
            raise InputUnusable(f"the {name} folder {folder!r} is not an absolute path; agents work in folders of their own")


def check_takes_goals(fleet: FleetSpec) -> None:
    """Raise `CapabilityUnknown` when no agent of the fleet plans goals: one would wait for ever."""
    if ROOT_CAPABILITY not in fleet.capabilities:
        raise CapabilityUnknown(
            f"the fleet {fleet.name!r} takes tasks but no goals: none of its agents can do {ROOT_CAPABILITY}. "
            "The fleet `amas` has one that does: start it with `amas up`, in a home of its own where another fleet runs"
        )


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS_MAX else line[: TITLE_CHARS_MAX - 1] + "…"


async def submit_goal(
    queue: TaskQueue,
    goal: Goal,
    *,
    limits: FleetLimits,
    values: LargeValues,
    idempotency: tuple[str, str] | None = None,
    client_id: str = "",
) -> tuple[str, str]:
    """Open a workflow for `goal` and return its id and its root task's; said again under the same key, the first's ids.

    While `limits.max_workflows` goals are open it waits for its turn, which the engine gives it when one of them ends.
    `idempotency`: the key and the body's digest. `client_id` hears of the workflow's end on its reply channel.
    """
    workflow_id, root_id = new_id(), new_id()
    now_ms = queue.now_ms()
    try:
        opening, root = goal_submission(
            goal, limits=limits, workflow_id=workflow_id, root_id=root_id, now_ms=now_ms, values=values
        )
    except PayloadTooLarge:  # its preferences are long: the root task gets them, the history does without
        told = msgspec.structs.replace(goal, preferences={})
        told = values.told(told)
        opening = _opening(told, workflow_id, root_id, limits)
        spec = _root(goal, told, limits=limits, workflow_id=workflow_id, now_ms=now_ms)
        root = await values.submission(root_id, spec, {"priority": goal.priority})
    answer = f"{workflow_id} {root_id}"
    first = await queue.submit(
        [root],
        workflow=opening,
        idempotency=Idempotency(*idempotency, answer.encode()) if idempotency else None,
        client_id=client_id,
    )
    ids = (first.decode() if first else answer).split(" ")
    return ids[0], ids[1]


def goal_submission(
    goal: Goal, *, limits: FleetLimits, workflow_id: str, root_id: str, now_ms: int, values: LargeValues
) -> tuple[WorkflowOpening, Submission]:
    """Return the workflow that meets `goal`, and its root task, ready for the engine; `now_ms` is the engine's time."""
    check_goal(goal)
    told = values.told(goal)
    spec = values.sealed(_root(goal, told, limits=limits, workflow_id=workflow_id, now_ms=now_ms))
    return _opening(told, workflow_id, root_id, limits), make_submission(root_id, spec, priority=goal.priority)


def _opening(goal: Goal, workflow_id: str, root_id: str, limits: FleetLimits) -> WorkflowOpening:
    budget = goal.budget.units() if goal.budget else None
    return WorkflowOpening(workflow_id, to_blob(goal), root_id, budget, limits.max_workflows)


def _root(goal: Goal, told: Goal, *, limits: FleetLimits, workflow_id: str, now_ms: int) -> TaskSpec:
    traceparent = current()
    return TaskSpec(
        capability=ROOT_CAPABILITY,
        input=goal,
        key=ROOT_KEY,
        title=_title(told.text),
        layer=Layer.EXECUTIVE,
        workflow_id=workflow_id,
        tenant=goal.tenant,
        deadline_ms=goal_deadline_ms(goal, limits, now_ms=now_ms),
        traceparent=traceparent,
        submitted_ms=now_ms if traceparent else 0,
    )
