"""Dead letters, the tasks that failed for good: list, put back, discard. `/api/tasks/{id}` has the whole of one."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from amas.engine.workflows import DeadLetter
from amas.errors import ResetRefused
from amas.server.contract import answers, encoded
from amas.server.identity import Calling
from amas.server.lookups import find_task
from amas.server.patterns import DEAD_LETTER_CURSOR
from amas.server.plane import Plane
from amas.server.routes.tasks import TaskId
from amas.server.shapes import Changed, DeadLetterPage, DeadLetterShape, FailureShape

router = APIRouter(prefix="/api/dead-letters", tags=["dead letters"])

_LETTER = DeadLetterShape(
    task_id="01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",
    at_ms=1_757_000_002_004,
    capability="development.code_review",
    key="review/src-core",
    title="Review src/core",
    workflow_id="01990d3e-7a0f-7000-8000-5b7c8d9e0a6f",
    attempt=4,
    failures=4,
    failure=FailureShape(code="gave_up", message="the folder is gone"),
)
_CHANGED = Changed(id=_LETTER.task_id, changed=True)

_WHY = {
    "too_large": "too many tasks came of it to run them again in one go: submit what is missing as a new workflow",
    "compensating": "its workflow compensates what it did: try again when that has ended",
}


@router.get(
    "", summary="List dead letters", **answers(DeadLetterPage, DeadLetterPage(items=[_LETTER], next=None), problems=(422, 503))
)
async def list_dead_letters(
    plane: Plane,
    caller: Calling,
    workflow_id: Annotated[str, Query(max_length=100)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str, Query(pattern=DEAD_LETTER_CURSOR, description="The `next` of the page before.")] = "",
) -> Response:
    """List tasks that failed for good and were neither put back nor discarded, newest first."""
    found = await plane.workflows.dead_letters(limit=limit, cursor=cursor, workflow_id=workflow_id, tenant=caller.tenant)
    following = found[-1].cursor if len(found) == limit else None
    return encoded(DeadLetterPage(items=[_shape(letter) for letter in found], next=following))


@router.post("/{task_id}/retry", summary="Put a dead letter back", **answers(Changed, _CHANGED, problems=(404, 409, 422, 503)))
async def retry_dead_letter(task_id: TaskId, plane: Plane) -> Response:
    """Queue a task that failed for good again, with all its retries, and what failed because of it."""
    refused = await plane.workflows.put_back([task_id])
    match refused.get(task_id):
        case None:
            return encoded(Changed(id=task_id, changed=True))
        case "unknown":
            view = await find_task(plane, task_id)
            raise ResetRefused(f"task {task_id} is no dead letter: it is {view.state}")
        case why:
            raise ResetRefused(f"task {task_id} stays as it is: {_WHY.get(why, why)}")


@router.post("/{task_id}/discard", summary="Discard a dead letter", **answers(Changed, _CHANGED, problems=(404, 422, 503)))
async def discard_dead_letter(task_id: TaskId, plane: Plane) -> Response:
    """Take a task off the list of dead letters; it stays failed."""
    changed = await plane.workflows.discard([task_id]) > 0
    if not changed:
        await find_task(plane, task_id)
    return encoded(Changed(id=task_id, changed=changed))


def _shape(letter: DeadLetter) -> DeadLetterShape:
    failure = FailureShape(code=letter.failure.code, message=letter.failure.message) if letter.failure else None
    return DeadLetterShape(
        task_id=letter.task_id,
        at_ms=letter.at_ms,
        capability=letter.capability,
        key=letter.key,
        title=letter.title,
        workflow_id=letter.workflow_id,
        attempt=letter.attempt,
        failures=letter.failures,
        failure=failure,
    )
