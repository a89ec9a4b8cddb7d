"""Pools: what a fleet of any size looks like at a glance, as many lines as it has pools."""

from fastapi import APIRouter
from starlette.responses import Response

from amas.server.agents import tally
from amas.server.contract import answers, encoded
from amas.server.plane import Plane
from amas.server.shapes import AgentFigures, PoolList, PoolShape

router = APIRouter(prefix="/api/pools", tags=["agents"])

_POOL = PoolShape(
    pool="code-reviewer",
    title="Code Reviewer",
    layer="specialist",
    lead="technical-lead",
    capabilities=("development.code_review",),
    labels={"family": "development"},
    skill="ruff_review",
    versions=["1"],
    hosts=["host-1", "host-2"],
    agents=AgentFigures(total=1500, idle=1488, working=12, error=0, healing=0),
    slots=4500,
    tasks_succeeded=20411,
    tasks_failed=7,
    metrics={"lines_read": 812_000.0},
)


@router.get("", summary="List pools", **answers(PoolList, PoolList(items=[_POOL], agents=_POOL.agents), problems=(503,)))
async def list_pools(plane: Plane) -> Response:
    """List the pools that have agents on live hosts, with how many of them are doing what."""
    roster = await plane.board.roster()
    return encoded(PoolList(items=await plane.board.pools(), agents=tally(roster.count())))
