"""Workflows from flows: start one, send it signals, pause and go on, do a part again."""

from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from amas.clock import child_id
from amas.core.flow_check import check
from amas.errors import TaskUnknown
from amas.model.flow import Flow, FlowTask
from amas.orchestration.flow_start import Starter, StartOptions, start_flow
from amas.orchestration.signals import send_signal
from amas.server import intake
from amas.server.contract import answers, encoded, takes
from amas.server.lookups import workflow_exists
from amas.server.plane import TAKING, Plane
from amas.server.routes.tasks import TaskId
from amas.server.routes.workflows import WorkflowId
from amas.server.shapes import Changed, NewRerun, NewSignal, NewWorkflow, Rerun, StartedWorkflow, TaskSignal

router = APIRouter(prefix="/api", tags=["workflows"])

_ID, _TASK = "01990d3e-7a0f-7000-8000-5b7c8d9e0a6f", "01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e"
_FLOW = Flow(
    name="nightly",
    tasks=(
        FlowTask(key="review", capability="development.code_review", input={"path": "/srv/project/src"}),
        FlowTask(key="release", approval="Is the review good enough?", needs=("review",), expires_s=3600),
    ),
)
_NEW = NewWorkflow(flow=_FLOW, tenant="acme")
_CHANGED = Changed(id=_ID, changed=True)


@router.post(
    "/workflows",
    summary="Start a flow",
    dependencies=[TAKING],
    openapi_extra=takes(NewWorkflow, _NEW),
    **answers(StartedWorkflow, StartedWorkflow(workflow_id=_ID), status=201, problems=(400, 413, 415, 422, 503)),
)
async def post_workflow(request: Request, plane: Plane) -> Response:
    """Check a graph of tasks and store it; once this is answered, all of it is on disk.

    A large one that was interrupted goes on when it is sent again under the same Idempotency-Key.
    """
    new = await intake.read_one(request, NewWorkflow)
    check(new.flow, capabilities=plane.fleet.capabilities)
    options = StartOptions(tenant=new.tenant, priority=new.priority, deadline_s=new.deadline_s)
    key = intake.idempotency(request, new, b"")
    starter = Starter(partial(plane.queue.submit), plane.queue, plane.workflows, plane.values)
    workflow_id = await start_flow(starter, new.flow, options, key=key.key if key else "")
    return encoded(StartedWorkflow(workflow_id=workflow_id), 201, {"location": f"/api/workflows/{workflow_id}"})


@router.post(
    "/workflows/{workflow_id}/pause",
    summary="Pause a workflow",
    **answers(Changed, _CHANGED, problems=(404, 422, 503)),
)
async def pause_workflow(workflow_id: WorkflowId, plane: Plane) -> Response:
    """Let nothing new of a workflow start; what runs finishes."""
    changed = await plane.workflows.pause(workflow_id)
    if not changed:
        await workflow_exists(plane, workflow_id)
    return encoded(Changed(id=workflow_id, changed=changed))


@router.post(
    "/workflows/{workflow_id}/resume",
    summary="Resume a workflow",
    **answers(Changed, _CHANGED, problems=(404, 422, 503)),
)
async def resume_workflow(workflow_id: WorkflowId, plane: Plane) -> Response:
    """Go on with a workflow that was paused."""
    changed = await plane.workflows.resume(workflow_id)
    if not changed:
        await workflow_exists(plane, workflow_id)
    return encoded(Changed(id=workflow_id, changed=changed))


@router.post(
    "/workflows/{workflow_id}/rerun",
    summary="Do a part again",
    openapi_extra=takes(NewRerun, NewRerun(task="review")),
    **answers(Rerun, Rerun(workflow_id=_ID, task_id=_TASK, tasks=2), problems=(400, 404, 409, 413, 415, 422, 503)),
)
async def rerun_workflow(workflow_id: WorkflowId, request: Request, plane: Plane) -> Response:
    """Do a task of a workflow and all that came of it again, with the results before it as they are; it may have ended."""
    wanted = (await intake.read_one(request, NewRerun)).task
    await workflow_exists(plane, workflow_id)
    try:
        task_id = child_id(workflow_id, wanted)
        count = await plane.workflows.rerun(workflow_id, task_id)
    except (TaskUnknown, ValueError):  # not a key, or not a workflow of ours: then it is an id
        task_id = wanted
        count = await plane.workflows.rerun(workflow_id, task_id)
    return encoded(Rerun(workflow_id=workflow_id, task_id=task_id, tasks=count))


@router.post(
    "/workflows/{workflow_id}/signal",
    summary="Send a workflow a signal",
    openapi_extra=takes(NewSignal, NewSignal(key="paid", value={"amount": 12})),
    **answers(Changed, _CHANGED, problems=(400, 404, 409, 413, 415, 422, 503)),
)
async def signal_workflow(workflow_id: WorkflowId, request: Request, plane: Plane) -> Response:
    """Send a signal task its value, also before it waits for it; the same value again changes nothing."""
    new = await intake.read_one(request, NewSignal)
    await plane.workflows.signal_key(workflow_id, new.key, new.value)
    return encoded(Changed(id=workflow_id, changed=True))


@router.post(
    "/tasks/{task_id}/signal",
    summary="Send a task a signal",
    openapi_extra=takes(TaskSignal, TaskSignal(name="go", value=True)),
    **answers(Changed, Changed(id=_TASK, changed=True), problems=(400, 404, 409, 413, 415, 422, 503)),
)
async def signal_task(task_id: TaskId, request: Request, plane: Plane) -> Response:
    """Send an agent what it waits for with `wait_for_signal`, or will wait for."""
    new = await intake.read_one(request, TaskSignal)
    await send_signal(plane.engine, plane.workflows, task_id, new.name, new.value)
    return encoded(Changed(id=task_id, changed=True))
