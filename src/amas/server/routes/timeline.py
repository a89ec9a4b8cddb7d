"""Where a task's time went, and what was logged about it."""

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from amas.model.trace import parse
from amas.server.contract import answers, encoded
from amas.server.logs import LINES_MAX, task_lines
from amas.server.lookups import find_task
from amas.server.plane import Plane
from amas.server.routes.tasks import TaskId
from amas.server.timeline import TaskLog, Timeline, TimelineSpan, spans_of

router = APIRouter(prefix="/api/tasks", tags=["tasks"])

SUB_TASKS_MAX = 200
"""More would be no picture any more; the list of the workflow's tasks has them."""

_ID = "01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e"
_SPAN = TimelineSpan(kind="attempt", name="writer-1", state="succeeded", started_ms=1, finished_ms=4_200, attempt=1)


@router.get(
    "/{task_id}/timeline",
    summary="See where a task's time went",
    **answers(Timeline, Timeline(task_id=_ID, trace_id="", spans=[_SPAN], more_sub_tasks=False), problems=(404, 422, 503)),
)
async def get_timeline(task_id: TaskId, plane: Plane) -> Response:
    """Show waits, attempts, requests to models and sub-tasks in the order in which they began, from the records."""
    task, records = await find_task(plane, task_id), plane.records
    if not task.created_ms and (recorded := await records.task(task_id)):  # the engine keeps no such time
        task = msgspec.structs.replace(task, created_ms=recorded.created_ms)
    sub_tasks = await records.spawned_by(task_id, workflow_id=task.workflow_id, limit=SUB_TASKS_MAX + 1)
    spans = spans_of(task, await records.attempts(task_id), await records.model_calls(task_id), sub_tasks[:SUB_TASKS_MAX])
    trace_id = place.trace_id if (place := parse(task.traceparent)) else ""
    more = len(sub_tasks) > SUB_TASKS_MAX
    return encoded(Timeline(task_id=task_id, trace_id=trace_id, spans=spans, more_sub_tasks=more))


@router.get(
    "/{task_id}/logs",
    summary="Read what was logged about a task",
    **answers(TaskLog, TaskLog(task_id=_ID, lines=[], truncated=False), problems=(404, 422, 503)),
)
async def get_task_logs(task_id: TaskId, plane: Plane, limit: Annotated[int, Query(ge=1, le=LINES_MAX)] = 100) -> Response:
    """Show the newest lines that name the task, whichever agent wrote them, from the files of this machine's hosts."""
    await find_task(plane, task_id)
    lines, truncated = await asyncio.to_thread(task_lines, plane.home / "logs", task_id, limit=limit)
    return encoded(TaskLog(task_id=task_id, lines=lines, truncated=truncated))
