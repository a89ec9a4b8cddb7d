"""Scaling: how large each pool is that follows its work, what it should be, and why."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from amas.engine.scaling import ScalingState
from amas.model.scaling import PoolScaling, ScalingBoard, ScalingStep, Signal
from amas.server.contract import answers, encoded
from amas.server.plane import Plane
from amas.server.problems import Fault, Refusal

router = APIRouter(prefix="/api/scaling", tags=["scaling"])

PoolName = Annotated[str, Path(max_length=100, description="The pool's name.")]

_WHY = "130 tasks wait, 10 for an agent, and 2 tasks run"
_STEP = ScalingStep(
    at_ms=1_757_000_000_000,
    before=4,
    replicas=7,
    reason=f"grows from 4 to 7: {_WHY}, which takes 15 agents; it may change by 3 or 50 % in 60 s",
)
_POOL = PoolScaling(
    pool="code-reviewer",
    replicas=7,
    min=1,
    max=40,
    recommended=7,
    reason=_STEP.reason,
    at_ms=_STEP.at_ms,
    signals=(Signal(name="queue_depth", value=130, target=10, agents=15, words=_WHY),),
    steps=(_STEP,),
    grown=3,
    shrunk=1,
)


@router.get("", summary="List scaled pools", **answers(ScalingBoard, ScalingBoard(pools=(_POOL,)), problems=(503,)))
async def list_scaling(plane: Plane) -> Response:
    """Show every pool whose size follows its work, and the hosts where their number does, once somebody has looked."""
    state = ScalingState(plane.engine)
    views, (_, hosts) = await state.views(), await state.hosts_kept()
    return encoded(ScalingBoard(pools=tuple(views[name] for name in sorted(views)), hosts=hosts))


@router.get("/{pool}", summary="Say why a pool has its size", **answers(PoolScaling, _POOL, problems=(404, 422, 503)))
async def get_scaling(pool: PoolName, plane: Plane) -> Response:
    """Show one pool: its size, what each signal asks for, and its last changes with their reasons."""
    view = (await ScalingState(plane.engine).views()).get(pool)
    if view is None:
        mend = "declare scaling: for it (docs/scaling.md)"
        raise Refusal(Fault(detail=f"the size of a pool {pool!r} follows nothing: {mend}"), status=404, code="pool_not_scaled")
    return encoded(view)
