"""Routing: the table that tasks are drawn from, and why a task went where it went."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path
from starlette.responses import Response

from amas.core.healing import held_back
from amas.model.routing import Choice, Route, RouteTable
from amas.model.states import TaskState
from amas.orchestration.routing import Why
from amas.server.contract import answers, encoded
from amas.server.lookups import find_task
from amas.server.plane import Plane

router = APIRouter(prefix="/api", tags=["routing"])

TaskId = Annotated[str, Path(max_length=100, description="A task's id.")]

_CHOICES = (
    Choice(
        pool="code-reviewer",
        versions=("2",),
        share=0.85,
        allowance=12,
        points=1.9,
        success=0.96,
        trials=140.0,
        median_s=1.2,
        usd=0.004,
        waiting=3,
        slots=6,
    ),
    Choice(
        pool="junior-reviewer",
        versions=("1",),
        share=0.15,
        allowance=8,
        pulls=False,
        points=6.4,
        success=0.71,
        trials=31.5,
        median_s=0.9,
        usd=0.001,
        waiting=0,
        slots=4,
    ),
)
_TABLE = RouteTable(
    version=1_757_000_000_000,
    at_ms=1_757_000_000_000,
    routes=(Route(capability="development.code_review", choices=_CHOICES, waiting=0),),
)
_WHY = Why(
    id="01990d3e-7a11-7000-8000-0a1b2c3d4e5f",
    state=TaskState.RUNNING,
    capability="development.code_review",
    sentence="went to code-reviewer (drawn by its share; share of code-reviewer 85%): code-reviewer: share 85%, success 96% of "
    "140, median 1.2 s, 0.004 USD, 3 waiting; junior-reviewer: share 15%, success 71% of 32, median 0.9 s, 0.001 USD, 0 waiting",
    pool="code-reviewer",
    how="drawn",
    share=0.85,
    table=1_757_000_000_000,
    then=True,
    choices=list(_CHOICES),
    waits_for=[],
)


@router.get("/routes", summary="List routes", **answers(RouteTable, _TABLE, problems=(503,)))
async def list_routes(plane: Plane) -> Response:
    """Show how tasks are shared among pools that can do the same; empty where no capability has more than one live pool."""
    return encoded(await plane.distributor.table())


@router.get("/tasks/{task_id}/why", summary="Say why a task went where it went", **answers(Why, _WHY, problems=(404, 422, 503)))
async def get_why(task_id: TaskId, plane: Plane) -> Response:
    """Tell which pool a task went to, by which share and figures, or what it waits for."""
    task = await find_task(plane, task_id)
    told = await plane.distributor.explain(task)
    if task.state is TaskState.QUEUED:
        wanted = await plane.desired.read()
        pools = wanted.pools or plane.fleet.pools
        if why := held_back(told.pool, killed=wanted.kills, quarantined=wanted.quarantines, pools=pools):
            told = msgspec.structs.replace(told, sentence=f"{told.sentence}; {why}")
    return encoded(told)
