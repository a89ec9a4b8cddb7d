"""Goals and their workflows: submit, list, look, cancel, follow live."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from amas.errors import EngineUnreachable
from amas.model.goal import Goal
from amas.model.journal import position_of
from amas.model.states import TaskState, WorkflowState
from amas.orchestration.submission import check_takes_goals, submit_goal
from amas.records.views import Cost, EventRecord, TaskEvent
from amas.server import intake
from amas.server.contract import answers, encoded, reference, refusals, takes
from amas.server.identity import Calling
from amas.server.live import LISTENERS_MAX, stream
from amas.server.lookups import workflow_detail, workflow_exists, workflow_shape
from amas.server.patterns import EVENT_ID
from amas.server.plane import TAKING, ControlPlane, Plane
from amas.server.problems import Fault, Refusal
from amas.server.shapes import (
    Cancelled,
    NewGoal,
    SubmittedGoal,
    TaskShape,
    WorkflowDetail,
    WorkflowPage,
    WorkflowShape,
)

router = APIRouter(prefix="/api", tags=["workflows"])

WorkflowId = Annotated[str, Path(max_length=100, description="A workflow's id.")]

_ID, _ROOT = "01990d3e-7a0f-7000-8000-5b7c8d9e0a6f", "01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e"
_GOAL = NewGoal(text="Review the code in src and write a report", input_dir="/srv/project")
_WORKFLOW = WorkflowShape(
    id=_ID,
    state=WorkflowState.RUNNING,
    goal={"text": _GOAL.text, "input_dir": _GOAL.input_dir},
    root_id=_ROOT,
    counts={"succeeded": 1, "running": 1},
    progress=0.75,
    created_ms=1_757_000_000_000,
    finished_ms=0,
    seconds=12.5,
)
_TASK = TaskShape(
    id=_ROOT,
    state=TaskState.RUNNING,
    capability="executive.coordinate",
    key="goal",
    title=_GOAL.text,
    layer="executive",
    workflow_id=_ID,
    parent_id="",
    needs=(),
    attempt=1,
    failures=0,
    agent_id="task-coordinator-1",
    host_id="host-1",
    priority=1,
    progress=0.5,
    note="waiting for the leads",
    created_ms=1_757_000_000_000,
    started_ms=1_757_000_000_004,
    finished_ms=0,
    seconds=12.4,
    failure=None,
)
_DETAIL = WorkflowDetail(
    **{field: getattr(_WORKFLOW, field) for field in WorkflowShape.__struct_fields__},
    result=None,
    failure=None,
    tasks=[_TASK],
    cost=Cost(usd=0.125, tokens=8200, input_tokens=7000, output_tokens=1200, calls=12, model_s=9.5, agent_s=20.0),
    tasks_left_out=0,
    last_event_id="1757000000004-0",
)
_EVENT = EventRecord(
    id="1757000000004-0",
    kind="claim",
    at_ms=1_757_000_000_004,
    workflow_id=_ID,
    host_id="host-1",
    tasks=[TaskEvent(_ROOT, TaskState.RUNNING, 1, "task-coordinator-1")],
)


@router.post(
    "/goals",
    summary="Submit a goal",
    dependencies=[TAKING],
    openapi_extra=takes(NewGoal, _GOAL),
    **answers(SubmittedGoal, SubmittedGoal(workflow_id=_ID, root_id=_ROOT), status=201, problems=(400, 413, 415, 422, 429, 503)),
)
async def post_goal(request: Request, plane: Plane) -> Response:
    """Open a workflow for a goal in plain words; the executive layer plans it next."""
    new = await intake.read_one(request, NewGoal)
    check_takes_goals(plane.fleet)
    goal = Goal(
        text=new.text,
        input_dir=new.input_dir,
        output_dir=new.output_dir,
        preferences=new.preferences,
        priority=new.priority,
        deadline_s=new.deadline_s,
        tenant=new.tenant,
        budget=new.budget,
    )
    key = intake.idempotency(request, new, b"")
    workflow_id, root_id = await submit_goal(
        plane.queue,
        goal,
        limits=plane.fleet.limits,
        values=plane.values,
        idempotency=(key.key, key.digest) if key else None,
    )
    return encoded(SubmittedGoal(workflow_id=workflow_id, root_id=root_id), 201, {"location": f"/api/workflows/{workflow_id}"})


@router.get(
    "/workflows",
    summary="List workflows",
    **answers(WorkflowPage, WorkflowPage(items=[_WORKFLOW], next=None), problems=(422, 503)),
)
async def list_workflows(
    plane: Plane,
    caller: Calling,
    state: Annotated[WorkflowState | None, Query(description="Only those in this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str, Query(max_length=100, description="The `next` of the page before.")] = "",
) -> Response:
    """List workflows from the records, newest first; one that was just submitted may take a moment to appear."""
    found = await plane.records.workflows(limit=limit, cursor=cursor, state=state, tenant=caller.tenant)
    following = found[-1].id if len(found) == limit else None
    return encoded(WorkflowPage(items=[workflow_shape(plane, one) for one in found], next=following))


@router.get(
    "/workflows/{workflow_id}", summary="Look at a workflow", **answers(WorkflowDetail, _DETAIL, problems=(404, 422, 503))
)
async def get_workflow(workflow_id: WorkflowId, plane: Plane) -> Response:
    """Show a workflow with its tree of tasks and, once it succeeded, the deliverable."""
    return encoded(await workflow_detail(plane, workflow_id))


@router.post(
    "/workflows/{workflow_id}/cancel",
    summary="Cancel a workflow",
    **answers(Cancelled, Cancelled(id=_ID, cancelled=True), problems=(404, 422, 503)),
)
async def cancel_workflow(workflow_id: WorkflowId, plane: Plane) -> Response:
    """End a workflow now; what is open in it is cancelled."""
    cancelled = await plane.queue.end_workflow(workflow_id, WorkflowState.CANCELLED)
    if not cancelled:
        await workflow_exists(plane, workflow_id)
    return encoded(Cancelled(id=workflow_id, cancelled=cancelled))


_STREAM: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": (
                "Server-sent events. `change` carries an EventRecord under the journal's id; `end`: the workflow has ended; "
                "`dropped`: the reader was too slow or the server stops, so resume."
            ),
            "content": {"text/event-stream": {"schema": reference(EventRecord), "example": msgspec.json.encode(_EVENT).decode()}},
        },
        **refusals(422, 429, 503),
    },
}
After = Annotated[str, Query(pattern=EVENT_ID, description="Begin after this event; `0-0` for the first there is.")]
LastEventId = Annotated[str, Header(pattern=EVENT_ID, description="As browsers send it when they connect again.")]


@router.get("/events", summary="Follow everything live", **_STREAM)
async def follow_all(plane: Plane, after: After = "", last_event_id: LastEventId = "") -> Response:
    """Stream the changes of all tasks and workflows, from now on or after an event."""
    _room(plane)
    return _streamed(plane, "", last_event_id or after)


_GONE = {204: {"description": "It has ended and there is nothing after this event: stop."}, **refusals(404)}


@router.get(
    "/workflows/{workflow_id}/events",
    summary="Follow a workflow live",
    response_class=Response,
    responses={**_STREAM["responses"], **_GONE},
)
async def follow_workflow(workflow_id: WorkflowId, plane: Plane, after: After = "", last_event_id: LastEventId = "") -> Response:
    """Stream the changes of one workflow, from its beginning or after an event, until it has ended."""
    state, created_ms, finished_ms = await workflow_exists(plane, workflow_id)
    given = last_event_id or after
    ended = state.terminal
    if ended and given and position_of(given)[0] >= finished_ms:
        return Response(status_code=204)
    _room(plane)
    return _streamed(plane, workflow_id, given or f"{max(0, created_ms - 1)}-0")


def _room(plane: ControlPlane) -> None:
    if not plane.live.following.is_set():
        raise EngineUnreachable("the live events don't follow the engine yet: try again in a moment")
    if plane.live.listeners >= LISTENERS_MAX:
        raise Refusal(Fault(detail=f"{LISTENERS_MAX} streams are open: close one"), status=429, code="streams_full")


def _streamed(plane: ControlPlane, workflow_id: str, after: str) -> Response:
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    body = stream(plane.live, plane.records, workflow_id, after)
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)
