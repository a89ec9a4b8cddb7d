"""What a task's attempts have kept: its steps and the messages that it sent."""

from contextlib import suppress
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from amas.errors import SealKeyMissing
from amas.model.artifact import is_reference
from amas.model.message import SENT_STEP, MessageType
from amas.server.contract import answers, encoded
from amas.server.lookups import find_task
from amas.server.plane import ControlPlane, Plane
from amas.server.routes.tasks import TaskId
from amas.server.steps import SHOWN_BYTES, TaskMessage, TaskStep, TaskSteps, steps_of

router = APIRouter(prefix="/api/tasks", tags=["tasks"])

_ID = "01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e"
_SENT = TaskMessage(to="writer-1", type=MessageType.SHARE_FINDINGS, ids=[_ID], sent_ms=1_757_000_000_000)
_STEPS = TaskSteps(task_id=_ID, steps=[TaskStep(name="read", bytes=18, result={"files": 12})], messages=[_SENT], truncated=False)


@router.get("/{task_id}/steps", summary="See what a task has kept", **answers(TaskSteps, _STEPS, problems=(404, 422, 503)))
async def get_steps(task_id: TaskId, plane: Plane) -> Response:
    """Show a task's journaled steps and the messages that it sent, until the engine forgets the task."""
    await find_task(plane, task_id)
    kept = await plane.queue.steps(task_id)
    return encoded(steps_of(task_id, kept, _opened(plane, kept)))


def _opened(plane: ControlPlane, kept: dict[str, bytes]) -> dict[str, Any]:
    """Return the values that people may be shown: short ones and messages, opened where they were sealed and we have the key."""
    opened = {}
    for name, encoded_value in kept.items():
        if len(encoded_value) <= SHOWN_BYTES or name.startswith(SENT_STEP):
            with suppress(SealKeyMissing):
                opened[name] = plane.values.opened(msgspec.msgpack.decode(encoded_value))
    return {name: value for name, value in opened.items() if not is_reference(value)}
