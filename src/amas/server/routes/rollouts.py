"""Roll-outs: begun, looked at, approved, promoted, aborted."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from amas.core.rollout import Figure, Standing
from amas.model.rollout import Phase
from amas.model.rollout_spec import RolloutSpec
from amas.orchestration.rollouts import RolloutView
from amas.server import intake
from amas.server.contract import answers, encoded, takes
from amas.server.desired_shapes import Word
from amas.server.patterns import POOL_NAME
from amas.server.plane import Plane
from amas.server.rollout_shapes import NewRollout, RolloutPage

router = APIRouter(prefix="/api/rollouts", tags=["fleet"])

Pool = Annotated[str, Path(pattern=POOL_NAME, description="The pool's name.")]

_VIEW = RolloutView(
    pool="code-reviewer",
    was="1",
    version="2",
    phase=Phase.CANARY,
    step=1,
    steps=(0.05, 0.25, 0.5),
    share=0.25,
    started_ms=1_757_000_000_000,
    phase_ms=1_757_000_060_000,
    by="ann",
    approved_by="",
    why="version 2 gets 25%: nothing is worse after 51 tasks: success 98.0% against 97.9%, time 1.1 s against 1.2 s",
    next="continue: at 25%: 12 of 50 tasks and 20 of 60 s of this step",
    tasks=63.0,
    figures=(Figure(name="success", stable=0.979, canary=0.98, standing=Standing.OPEN, bound="at most 0.05 lower"),),
    agents_alive=True,
)
_SPEC = RolloutSpec(steps=(0.05, 0.25, 0.5), min_tasks=50, min_time_s=60.0)
_PROBLEMS = (400, 413, 415, 422, 503)
_WORD = takes(Word, Word(by="ann"))


@router.get("", summary="List roll-outs", **answers(RolloutPage, RolloutPage(items=[_VIEW]), problems=(503,)))
async def list_rollouts(plane: Plane) -> Response:
    """Show each pool's last roll-out: where it stands, what both versions did, and what would be done now."""
    return encoded(RolloutPage(items=await plane.rollouts.all()))


@router.get("/{pool}", summary="Look at a roll-out", **answers(RolloutView, _VIEW, problems=(422, 503)))
async def get_rollout(pool: Pool, plane: Plane) -> Response:
    """Show a pool's last roll-out."""
    return encoded(await plane.rollouts.one(pool))


@router.post(
    "/{pool}",
    summary="Begin a roll-out",
    openapi_extra=takes(NewRollout, NewRollout(version="2", agent="reviewers:careful", rollout=_SPEC, by="ann")),
    **answers(RolloutView, _VIEW, problems=_PROBLEMS),
)
async def begin_rollout(pool: Pool, request: Request, plane: Plane) -> Response:
    """Let a new version of a pool work beside the old one; by what its tasks tell it is promoted or taken back by itself."""
    new = await intake.read_one(request, NewRollout)
    changes: dict[str, object] = {"options": new.options, **({"agent": new.agent} if new.agent else {})}
    await plane.rollouts.begin(pool, new.version, changes=changes, spec=new.rollout, by=new.by)
    return encoded(await plane.rollouts.one(pool))


@router.post(
    "/{pool}/approve", summary="Approve a roll-out", openapi_extra=_WORD, **answers(RolloutView, _VIEW, problems=_PROBLEMS)
)
async def approve_rollout(pool: Pool, request: Request, plane: Plane) -> Response:
    """Let a new version that is in staging have its first share of the pool's tasks."""
    await plane.rollouts.approve(pool, by=(await intake.read_one(request, Word)).by)
    return encoded(await plane.rollouts.one(pool))


@router.post("/{pool}/promote", summary="Promote it", openapi_extra=_WORD, **answers(RolloutView, _VIEW, problems=_PROBLEMS))
async def promote_rollout(pool: Pool, request: Request, plane: Plane) -> Response:
    """Promote a new version now, whatever its figures say."""
    await plane.rollouts.promote(pool, by=(await intake.read_one(request, Word)).by)
    return encoded(await plane.rollouts.one(pool))


@router.post("/{pool}/abort", summary="Abort a roll-out", openapi_extra=_WORD, **answers(RolloutView, _VIEW, problems=_PROBLEMS))
async def abort_rollout(pool: Pool, request: Request, plane: Plane) -> Response:
    """Take a new version back now; its queued tasks go to the version that stays."""
    await plane.rollouts.abort(pool, by=(await intake.read_one(request, Word)).by)
    return encoded(await plane.rollouts.one(pool))
