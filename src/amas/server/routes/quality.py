"""Quality: what the gates of a workflow said, round by round."""

from fastapi import APIRouter
from starlette.responses import Response

from amas.core.gates import Move, Opinion, Round
from amas.core.quality import Check
from amas.model.states import TaskState
from amas.server.contract import answers, encoded
from amas.server.gate_shapes import DeliveryShape, GateShape, WorkflowQuality
from amas.server.plane import Plane
from amas.server.quality import workflow_quality
from amas.server.routes.workflows import WorkflowId

router = APIRouter(prefix="/api/workflows", tags=["workflows"])

_WORDS = "development.security: 2 files were not covered"
_FIRST = Round(
    round=0,
    score=0.75,
    move=Move.SAME,
    opinions=(Opinion(judge="rules", score=0.75, checks=(Check("completeness", 0.75, "2 of 8 files"),), feedback=(_WORDS,)),),
    agents=("security-reviewer-1",),
)
_GATE = GateShape(
    task_id="01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",
    key="gate/review",
    title="Check: Code review",
    state=TaskState.SUCCEEDED,
    threshold=0.85,
    score=1.0,
    accepted=True,
    rounds=[_FIRST, Round(round=1, score=1.0, move=Move.ACCEPT, opinions=(Opinion(judge="rules", score=1.0),))],
    judged_by="quality-supervisor-1",
)
_DELIVERY = DeliveryShape(approved=True, score=1.0, signed_by="quality-supervisor-1", signature="HMAC-SHA256")
_QUALITY = WorkflowQuality(workflow_id="01990d3e-7a0f-7000-8000-5b7c8d9e0a6f", gates=[_GATE], delivery=_DELIVERY)


@router.get(
    "/{workflow_id}/quality",
    summary="Look at a workflow's gates",
    **answers(WorkflowQuality, _QUALITY, problems=(404, 422, 503)),
)
async def get_quality(workflow_id: WorkflowId, plane: Plane) -> Response:
    """Show how each part was judged, round by round: by whom, what was sent back, and who signed the delivery."""
    return encoded(await workflow_quality(plane, workflow_id))
