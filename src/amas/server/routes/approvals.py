"""Approvals: what people are asked, and their answers."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from amas.engine.signals import Approval, open_approvals
from amas.orchestration.workflow_handle import answer
from amas.server import intake
from amas.server.contract import answers, encoded, takes
from amas.server.identity import Calling
from amas.server.paging import Cursor, Limit, Page
from amas.server.plane import Plane
from amas.server.routes.tasks import TaskId
from amas.server.shapes import ApprovalPage, Changed, NewAnswer
from amas.server.tenancy import own_tasks

router = APIRouter(prefix="/api/approvals", tags=["approvals"])

_APPROVAL = Approval(
    task_id="01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",
    workflow_id="01990d3e-7a0f-7000-8000-5b7c8d9e0a6f",
    key="release",
    question="Is the review good enough?",
    about={"version": "1.2"},
    results=(),
    expires_ms=1_757_003_600_000,
)


@router.get(
    "", summary="List open approvals", **answers(ApprovalPage, ApprovalPage(items=[_APPROVAL], next=None), problems=(422, 503))
)
async def list_approvals(
    plane: Plane,
    caller: Calling,
    workflow_id: Annotated[str, Query(max_length=100)] = "",
    limit: Limit = 1000,
    cursor: Cursor = "",
) -> Response:
    """List what people are asked just now, of one workflow or of all."""
    found = await open_approvals(plane.engine, opened=plane.values.opened, workflow_id=workflow_id)
    own = set(await own_tasks(plane, caller, [approval.task_id for approval in found]))
    mine = [approval for approval in found if approval.task_id in own]
    items, following = Page(limit, cursor).of(mine, lambda approval: f"{approval.workflow_id} {approval.task_id}")
    return encoded(ApprovalPage(items=items, next=following))


@router.post(
    "/{task_id}",
    summary="Answer an approval",
    openapi_extra=takes(NewAnswer, NewAnswer(approved=True, by="ada")),
    **answers(Changed, Changed(id=_APPROVAL.task_id, changed=True), problems=(400, 404, 409, 413, 415, 422, 503)),
)
async def answer_approval(task_id: TaskId, request: Request, plane: Plane) -> Response:
    """Approve or refuse; a refusal fails the task with `refused`. The first answer stands."""
    new = await intake.read_one(request, NewAnswer)
    await plane.workflows.signal(task_id, answer(approved=new.approved, by=new.by, comment=new.comment, score=new.score))
    return encoded(Changed(id=task_id, changed=True))
