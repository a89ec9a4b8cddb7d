"""Tasks: submit one or a batch, look, wait for the result, cancel."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from amas.clock import monotonic_s
from amas.engine.bell import came
from amas.engine.queue import Idempotency
from amas.errors import TaskCancelled, TaskFailed
from amas.model.states import TaskState
from amas.model.task import Submission, TaskOutcome, TaskView
from amas.records.views import Cost
from amas.server import intake
from amas.server.contract import answers, encoded, reference, takes
from amas.server.identity import Calling
from amas.server.lookups import failure_shape, find_task, task_detail, task_shape
from amas.server.media import JSON, MSGPACK, NDJSON, also, answered
from amas.server.once import REPLAYED
from amas.server.plane import TAKING, ControlPlane, Plane
from amas.server.shapes import (
    AttemptShape,
    Cancelled,
    FailureShape,
    NewTask,
    Outcomes,
    OutcomeShape,
    Submitted,
    SubmittedBatch,
    TaskDetail,
    TaskIds,
    TaskPage,
    TaskResult,
    TaskShape,
)
from amas.server.tenancy import check_needs, own_tasks

router = APIRouter(prefix="/api/tasks", tags=["tasks"])

WAIT_MAX_S = 30
"""Seconds of one long poll: below what proxies allow."""
LOOK_AGAIN_MIN_S, LOOK_AGAIN_MAX_S = 0.02, 0.5
"""Seconds between looks at the outcomes of many: soon at first, since most tasks are short."""
LOOK_EVERY_S = 2.0
"""How often a long poll asks besides, should the live events be behind or away."""

TaskId = Annotated[str, Path(max_length=100, description="A task's id.")]
_ID = "01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e"
_NEW = NewTask(capability="development.code_review", input={"path": "/srv/project/src"})
_TASK = TaskDetail(
    id=_ID,
    state=TaskState.FAILED,
    capability="development.code_review",
    key="review/src-core",
    title="Review src/core",
    layer="specialist",
    workflow_id="01990d3e-7a0f-7000-8000-5b7c8d9e0a6f",
    parent_id="",
    needs=(),
    attempt=4,
    failures=4,
    agent_id="code-reviewer-1",
    host_id="host-1",
    priority=1,
    progress=0.5,
    note="12 of 24 files",
    created_ms=1_757_000_000_000,
    started_ms=1_757_000_000_004,
    finished_ms=1_757_000_002_004,
    seconds=2.0,
    failure=FailureShape(code="gave_up", message="the folder is gone"),
    input={"path": "/srv/project/src"},
    result=None,
    attempts=[
        AttemptShape(
            attempt=4,
            agent_id="code-reviewer-1",
            host_id="host-1",
            outcome="failed",
            started_ms=1_757_000_000_004,
            finished_ms=1_757_000_002_004,
            failure=FailureShape(code="gave_up", message="the folder is gone"),
        )
    ],
    cost=Cost(usd=0.004, tokens=240, input_tokens=200, output_tokens=40, calls=2, model_s=1.5, agent_s=2.0),
    waits_for=[],
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
)
_LISTED = TaskShape(**{name: getattr(_TASK, name) for name in TaskShape.__struct_fields__})


@router.post(
    "",
    summary="Submit a task",
    dependencies=[TAKING],
    openapi_extra=takes(NewTask, _NEW),
    **answers(Submitted, Submitted(id=_ID), status=201, problems=(400, 413, 415, 422, 429, 503)),
)
async def submit_task(request: Request, plane: Plane, caller: Calling) -> Response:
    """Store a task; once this is answered, it is on disk."""
    task = await intake.read_one(request, NewTask)
    await check_needs(plane, caller, [task])
    made = await intake.submissions([task], await plane.remote.fleet_for([task]), plane.values)
    ids, replayed = await _store(plane, made, intake.idempotency(request, task, made[0].id.encode()))
    headers = {"location": f"/api/tasks/{ids[0]}", **({REPLAYED: "true"} if replayed else {})}
    return encoded(Submitted(id=ids[0]), 201, headers)


_BATCHED = answers(SubmittedBatch, SubmittedBatch(ids=[_ID]), status=201, problems=(400, 413, 415, 422, 429, 503))
also(_BATCHED["responses"], 201, reference(SubmittedBatch), 'One `{"id": ...}` a line.')


@router.post(
    "/batch",
    summary="Submit tasks together",
    dependencies=[TAKING],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "array", "items": reference(NewTask), "minItems": 1, "maxItems": intake.BATCH_MAX},
                    "example": [{"capability": "development.code_review", "input": {"path": "/srv/project/src"}}],
                },
                NDJSON: {"schema": {"type": "string", "description": "One task a line."}},
                MSGPACK: {"schema": {"type": "string", "format": "binary", "description": "An array of tasks."}},
            },
        },
    },
    **_BATCHED,
)
async def submit_batch(request: Request, plane: Plane, caller: Calling) -> Response:
    """Store up to 1000 tasks, all of them or none; `needs` may name keys of tasks before it in the batch."""
    tasks = await intake.read_batch(request)
    await check_needs(plane, caller, tasks)
    made = await intake.submissions(tasks, await plane.remote.fleet_for(tasks), plane.values)
    answer = "\n".join(submission.id for submission in made).encode()
    ids, replayed = await _store(plane, made, intake.idempotency(request, tasks, answer))
    headers = {REPLAYED: "true"} if replayed else None
    return answered(request, SubmittedBatch(ids=ids), [Submitted(id=each) for each in ids], status=201, headers=headers)


async def _store(plane: ControlPlane, made: list[Submission], key: Idempotency | None) -> tuple[list[str], bool]:
    first = await plane.queue.submit(made, idempotency=key)
    return (first.decode().split("\n"), True) if first is not None else ([submission.id for submission in made], False)


_ENDED = OutcomeShape(id=_ID, state=TaskState.SUCCEEDED, result={"findings": 3})
_OUTCOMES = answers(Outcomes, Outcomes(ended=[_ENDED], open=[]), problems=(400, 413, 415, 422, 503))
also(_OUTCOMES["responses"], 200, reference(Outcomes), "One of `ended` a line; those that are missing are open.")


@router.post(
    "/outcomes",
    summary="Get how tasks ended",
    openapi_extra=takes(TaskIds, TaskIds(ids=[_ID]), **{MSGPACK: {"schema": reference(TaskIds)}}),
    **_OUTCOMES,
)
async def get_outcomes(
    request: Request,
    plane: Plane,
    caller: Calling,
    wait: Annotated[float, Query(ge=0, le=WAIT_MAX_S, description="Seconds to wait until all have ended.")] = 0,
) -> Response:
    """Return the outcomes of up to 1000 tasks, once all have ended or the wait is over: far cheaper than to ask for each.

    It knows what the engine does: tasks outside workflows for an hour after their end, by default.
    """
    asked = await intake.read_one(request, TaskIds, known=(JSON, MSGPACK))
    own = await own_tasks(plane, caller, asked.ids)
    found: dict[str, TaskOutcome] = {}
    give_up_at, pause_s = monotonic_s() + wait, LOOK_AGAIN_MIN_S
    while missing := [task_id for task_id in own if task_id not in found]:
        found.update((outcome.id, outcome) for outcome in await plane.queue.ended(missing))
        left_s = give_up_at - monotonic_s()
        if len(found) == len(own) or left_s <= 0:
            break
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 2, LOOK_AGAIN_MAX_S)
    outcomes = await plane.values.outcomes([found[task_id] for task_id in asked.ids if task_id in found])
    ended = [OutcomeShape(id=one.id, state=one.state, result=one.result, failure=failure_shape(one.failure)) for one in outcomes]
    return answered(request, Outcomes(ended=ended, open=[task_id for task_id in asked.ids if task_id not in found]), ended)


@router.get("", summary="List tasks", **answers(TaskPage, TaskPage(items=[_LISTED], next=None), problems=(422, 503)))
async def list_tasks(  # noqa: PLR0913, PLR0917  one query parameter each
    plane: Plane,
    caller: Calling,
    workflow_id: Annotated[str, Query(max_length=100)] = "",
    state: Annotated[TaskState | None, Query()] = None,
    agent_id: Annotated[str, Query(max_length=200, description="Only those that this agent worked on.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str, Query(max_length=100, description="The `next` of the page before.")] = "",
) -> Response:
    """List tasks from the records, newest first; one that was just submitted may take a moment to appear."""
    found = await plane.records.tasks(
        workflow_id=workflow_id, state=state, agent_id=agent_id, tenant=caller.tenant, limit=limit, cursor=cursor
    )
    following = found[-1].id if len(found) == limit else None
    return encoded(TaskPage(items=[task_shape(view) for view in found], next=following))


@router.get("/{task_id}", summary="Look at a task", **answers(TaskDetail, _TASK, problems=(404, 422, 503)))
async def get_task(task_id: TaskId, plane: Plane, caller: Calling) -> Response:
    """Show a task as it stands: from the engine, or from the records once the engine has forgotten it."""
    return encoded(await task_detail(plane, task_id, tenant=caller.tenant))


@router.get(
    "/{task_id}/result",
    summary="Get a task's result",
    **answers(
        TaskResult,
        TaskResult(id=_ID, state=TaskState.SUCCEEDED, result={"findings": 3}),
        problems=(404, 409, 410, 422, 503),
        also={202: "It is open yet."},
    ),
)
async def get_result(
    task_id: TaskId,
    plane: Plane,
    wait: Annotated[float, Query(ge=0, le=WAIT_MAX_S, description="Seconds to wait for the end.")] = 0,
) -> Response:
    """Answer 200 with the result, 202 while there is none yet, or a problem when there will be none."""
    view = await _wait_for_end(plane, task_id, wait)
    if view.state is TaskState.FAILED:
        failure = view.failure
        raise TaskFailed(task_id, failure.code if failure else "failed", failure.message if failure else "the task failed")
    if view.state is TaskState.CANCELLED:
        raise TaskCancelled(f"task {task_id} was cancelled")
    shown = TaskResult(id=task_id, state=view.state, result=await plane.values.get(view.result))
    return encoded(shown) if view.state is TaskState.SUCCEEDED else encoded(shown, 202, {"retry-after": "1"})


async def _wait_for_end(plane: ControlPlane, task_id: str, wait_s: float) -> TaskView:
    """Return the task once it has ended, or as it stands after `wait_s` seconds."""
    give_up_at = monotonic_s() + wait_s
    with plane.live.end_of(task_id) as ended:  # before the look, so that an end in between isn't missed
        while True:
            view = await find_task(plane, task_id)
            left_s = give_up_at - monotonic_s()
            if view.state.terminal or left_s <= 0:
                return view
            await came(ended, min(left_s, LOOK_EVERY_S))


@router.post(
    "/{task_id}/cancel",
    summary="Cancel a task",
    **answers(Cancelled, Cancelled(id=_ID, cancelled=True), problems=(404, 422, 503)),
)
async def cancel_task(task_id: TaskId, plane: Plane) -> Response:
    """Cancel a task and what it spawned; its agent is told, and a late result is refused."""
    count = await plane.queue.cancel([task_id])
    if not count:
        await find_task(plane, task_id)
    return encoded(Cancelled(id=task_id, cancelled=bool(count)))
