"""What there is to know of one task or workflow: from the engine while it holds it, from the records when it has forgotten.

So a look right after a submission works although the recorder lags, and one a year later works too.
"""

from amas.clock import now_ms
from amas.errors import ArtifactError, RecordsError, TaskUnknown, WorkflowUnknown
from amas.model.artifact import shown
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Failure, Json, TaskView
from amas.model.trace import parse
from amas.records.views import AttemptRecord, Cost, WorkflowRecord
from amas.server.plane import ControlPlane
from amas.server.shapes import AttemptShape, FailureShape, TaskDetail, TaskShape, WorkflowDetail, WorkflowShape

TREE_MAX = 1000
"""Tasks in one answer; a plan has at most fifty, and their leads' splits a few hundred."""

_UNKNOWN = "there is no task {!r}, neither in the engine nor in the records"


async def find_task(plane: ControlPlane, task_id: str) -> TaskView:
    """Return a task; TaskUnknown when nobody knows it."""
    found = await plane.queue.task(task_id) or await plane.records.task(task_id)
    if found is None:
        raise TaskUnknown(_UNKNOWN.format(task_id))
    return found


async def task_detail(plane: ControlPlane, task_id: str, *, tenant: str = "") -> TaskDetail:
    """Return a task with its input, and with what the records know of its progress.

    `tenant`: to whom it is shown, "" for whoever may see all; TaskUnknown for a task that isn't theirs.
    """
    held = await plane.looks.held(task_id)
    try:
        recorded, attempts, cost = await plane.looks.recorded(task_id)
    except RecordsError:  # the engine's word is enough
        if held is None:
            raise
        recorded, attempts, cost = None, [], Cost()
    found = held.task if held else recorded
    if found is None or (tenant and tenant != (held.tenant if held else found.tenant)):
        raise TaskUnknown(_UNKNOWN.format(task_id))
    return TaskDetail(
        **_fields(found, recorded),
        input=plane.values.shown(found.input),
        result=plane.values.shown(found.result),
        attempts=[_attempt(one) for one in attempts],
        cost=cost,
        waits_for=list(held.parked_on) if held else [],
        trace_id=place.trace_id if (place := parse(found.traceparent)) else "",
    )


def _attempt(found: AttemptRecord) -> AttemptShape:
    return AttemptShape(
        attempt=found.attempt,
        agent_id=found.agent_id,
        host_id=found.host_id,
        outcome=found.state,
        started_ms=found.started_ms,
        finished_ms=found.finished_ms,
        failure=failure_shape(found.failure),
    )


def task_shape(found: TaskView) -> TaskShape:
    """Return a task of the history as lists show it."""
    return TaskShape(**_fields(found, found))


async def workflow_exists(plane: ControlPlane, workflow_id: str) -> tuple[WorkflowState, int, int]:
    """Return a workflow's state, and when it began and ended in ms; WorkflowUnknown when nobody knows it."""
    held = await plane.queue.workflow(workflow_id)
    if held is not None:
        return WorkflowState(held["state"]), held["created_ms"], held["finished_ms"]
    recorded = await plane.records.workflow(workflow_id)
    if recorded is None:
        raise WorkflowUnknown(f"there is no workflow {workflow_id!r}, neither in the engine nor in the records")
    return recorded.state, recorded.created_ms, recorded.finished_ms


async def workflow_detail(plane: ControlPlane, workflow_id: str) -> WorkflowDetail:
    """Return a workflow and its tasks; WorkflowUnknown when nobody knows it."""
    last_event_id = plane.live.position or await plane.journal.last_id()  # before the look, so that nothing falls between
    found = await plane.queue.workflow_in_full(workflow_id, limit=TREE_MAX)
    if found is None:
        return await _recorded_detail(plane, workflow_id, last_event_id)
    held, views, root = found
    recorded, cost = await _recorded_tasks(plane, workflow_id)
    tasks = [TaskShape(**_fields(view, recorded.get(view.id))) for view in views]
    counts = _counts(tasks) if held["total"] <= len(tasks) else {name: held[name] for name in _ENDED} | {"open": held["open"]}
    return WorkflowDetail(
        id=workflow_id,
        state=WorkflowState(held["state"]),
        goal=plane.values.goal(held["goal"]),
        root_id=held["root_id"],
        counts=counts,
        progress=_progress(held, tasks),
        created_ms=held["created_ms"],
        finished_ms=held["finished_ms"],
        seconds=_seconds(held["created_ms"], held["finished_ms"]),
        result=await _whole(plane, root),
        failure=failure_shape(root.failure) if root and root.state is TaskState.FAILED else None,
        tasks=tasks,
        tasks_left_out=max(0, held["total"] - len(tasks)),
        cost=cost,
        last_event_id=last_event_id,
    )


async def _whole(plane: ControlPlane, root: TaskView | None) -> Json:
    """Return a workflow's result; only where it lies when the artifact store can't give it, since the rest can be shown."""
    try:
        return await plane.values.get(root.result) if root else None
    except ArtifactError:
        return shown(root.result if root else None)


_ENDED = ("succeeded", "failed", "cancelled")


async def _recorded_tasks(plane: ControlPlane, workflow_id: str) -> tuple[dict[str, TaskView], Cost]:
    try:
        tasks, cost = await plane.records.tasks_of(workflow_id, limit=TREE_MAX)
    except RecordsError:  # progress and cost are missing then, nothing else
        return {}, Cost()
    return {task.id: task for task in tasks}, cost


async def _recorded_detail(plane: ControlPlane, workflow_id: str, last_event_id: str) -> WorkflowDetail:
    found = await plane.records.workflow(workflow_id)
    if found is None:
        raise WorkflowUnknown(f"there is no workflow {workflow_id!r}, neither in the engine nor in the records")
    views, cost = await plane.records.tasks_of(workflow_id, limit=TREE_MAX)
    root = await plane.records.task(found.root_id) if found.root_id else None
    return WorkflowDetail(
        **_workflow_fields(plane, found),
        result=await _whole(plane, root),
        failure=failure_shape(root.failure) if root and root.state is TaskState.FAILED else None,
        tasks=[task_shape(view) for view in sorted(views, key=lambda view: (view.created_ms, view.id))],
        tasks_left_out=max(0, sum(found.tasks.values()) - len(views)),
        cost=cost,
        last_event_id=last_event_id,
    )


def workflow_shape(plane: ControlPlane, found: WorkflowRecord) -> WorkflowShape:
    """Return a workflow of the history as lists show it."""
    return WorkflowShape(**_workflow_fields(plane, found))


def _workflow_fields(plane: ControlPlane, found: WorkflowRecord) -> dict[str, Json]:
    return {
        "id": found.id,
        "state": found.state,
        "goal": plane.values.goal(found.goal if found.goal is not None else found.opening),
        "root_id": found.root_id,
        "counts": {state.value: count for state, count in found.tasks.items()},
        "progress": found.progress,
        "created_ms": found.created_ms,
        "finished_ms": found.finished_ms,
        "seconds": _seconds(found.created_ms, found.finished_ms),
    }


def _fields(view: TaskView, recorded: TaskView | None) -> dict[str, Json]:
    """Return a task's fields; `recorded` has the progress and creation that the engine doesn't keep."""
    done = view.state is TaskState.SUCCEEDED
    current = recorded is not None and recorded.attempt == view.attempt
    return {
        "id": view.id,
        "state": view.state,
        "capability": view.capability,
        "key": view.key,
        "title": view.title,
        "layer": view.layer,
        "workflow_id": view.workflow_id,
        "parent_id": view.parent_id,
        "needs": view.needs,
        "attempt": view.attempt,
        "failures": view.failures,
        "agent_id": view.agent_id,
        "host_id": view.host_id,
        "priority": view.priority,
        "progress": 1.0 if done else recorded.progress if recorded and current else view.progress,
        "note": recorded.note if recorded and current else view.note,
        "created_ms": view.created_ms or (recorded.created_ms if recorded else 0),
        "started_ms": view.started_ms,
        "finished_ms": view.finished_ms,
        "seconds": _seconds(view.started_ms, view.finished_ms),
        "failure": failure_shape(view.failure),
    }


def failure_shape(failure: Failure | None) -> FailureShape | None:
    """Return a failure as it goes over the wire."""
    return FailureShape(code=failure.code, message=failure.message) if failure else None


def _seconds(start_ms: int, end_ms: int) -> float:
    return max(0, (end_ms or now_ms()) - start_ms) / 1000 if start_ms else 0.0


def _counts(tasks: list[TaskShape]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for task in tasks:
        counts[task.state.value] = counts.get(task.state.value, 0) + 1
    return counts


def _progress(held: dict[str, Json], tasks: list[TaskShape]) -> float:
    """Return the share of what is known so far that is done, as the records count it."""
    if held["state"] == WorkflowState.SUCCEEDED:
        return 1.0
    shares = sum(task.progress for task in tasks if task.state is TaskState.RUNNING)
    return float((sum(held[name] for name in _ENDED) + shares) / max(1, held["total"]))
