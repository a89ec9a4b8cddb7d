"""How the fleet heals: agents in quarantine, recoveries, circuit breakers."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from amas.core.agents import why_no_agent
from amas.core.healing import pools_down
from amas.engine.desired import Wish
from amas.errors import AgentUnknown, LimitUnknown
from amas.model.breaker import BreakerState, BreakerView
from amas.model.desired import Desired
from amas.model.healing import Quarantine
from amas.model.numbers import pool_named
from amas.server import intake
from amas.server.contract import answers, encoded, takes
from amas.server.healing_shapes import (
    BreakerName,
    BreakerPage,
    NewQuarantine,
    QuarantinePage,
    QuarantineShape,
    RecoveryPage,
    RecoveryShape,
)
from amas.server.identity import Calling
from amas.server.patterns import AGENT_NAME
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal

router = APIRouter(prefix="/api", tags=["healing"])

AgentId = Annotated[str, Path(pattern=AGENT_NAME, description="An agent's id, such as `coder-3`.")]
FOR_S_MAX = 31_536_000.0

_PAGE = QuarantinePage(
    items=[
        QuarantineShape(
            agent_id="coder-3",
            pool="coder",
            by="host host-1",
            why="it crashed 3 times within 600 s (process_crashed)",
            at_ms=1_757_000_000_000,
            until_ms=1_757_000_900_000,
            version="1",
        )
    ],
    pools_down=[],
)
_RECOVERIES = RecoveryPage(
    items=[RecoveryShape(at_ms=1_757_000_000_000, cause="host_lost", subject="host-1", duration_s=6.4, tasks=12)], under_way=0
)
_BREAKERS = BreakerPage(
    items=[
        BreakerView(
            name="payments-api",
            state=BreakerState.OPEN,
            errors=0,
            errors_max=5,
            open_s=30.0,
            open_until_ms=1_757_000_030_000,
            opened=1,
            opened_at_ms=1_757_000_000_000,
            why="ConnectTimeout: no answer",
        )
    ]
)


def _page(wanted: Desired, plane: ControlPlane) -> QuarantinePage:
    items = [
        QuarantineShape(
            agent_id=agent_id,
            pool=pool_named(agent_id),
            by=held.by,
            why=held.why,
            at_ms=held.at_ms,
            until_ms=held.until_ms,
            version=held.version,
        )
        for agent_id, held in sorted(wanted.quarantines.items())
    ]
    return QuarantinePage(items=items, pools_down=pools_down(wanted.quarantines, wanted.pools or plane.fleet.pools))


@router.get("/quarantine", summary="List quarantines", **answers(QuarantinePage, _PAGE, problems=(503,)))
async def list_quarantines(plane: Plane) -> Response:
    """List the agents that get no tasks, and why; and the pools that have no other agents."""
    return encoded(_page(await plane.desired.read(), plane))


@router.put(
    "/quarantine/{agent_id}",
    summary="Quarantine an agent",
    openapi_extra=takes(NewQuarantine, NewQuarantine(why="its answers are odd since noon")),
    **answers(QuarantinePage, _PAGE, problems=(400, 404, 413, 415, 422, 503)),
)
async def put_quarantine(agent_id: AgentId, request: Request, plane: Plane) -> Response:
    """Give an agent no more tasks; what it runs it finishes."""
    new = await intake.read_one(request, NewQuarantine)
    if not new.why.strip():
        raise Refusal(Fault(detail="say why, for those who find it tomorrow", pointer="#/why"))
    if not 0 <= new.for_s <= FOR_S_MAX:
        raise Refusal(Fault(detail=f"is {new.for_s:g}, but must be from 0 to {FOR_S_MAX:g} seconds", pointer="#/for_s"))
    pools = (await plane.desired.read()).pools or plane.fleet.pools
    if unknown := why_no_agent(agent_id, pools, now=False):
        raise AgentUnknown(unknown)
    now_ms = plane.engine.now_ms()
    until_ms = now_ms + round(new.for_s * 1000) if new.for_s else 0
    held = Quarantine(by=new.by, why=new.why, at_ms=now_ms, until_ms=until_ms)
    await plane.desired.change([Wish(f"quarantine:{agent_id}", held)], by=new.by, why=f"{agent_id}: {new.why}")
    return encoded(_page(await plane.desired.read(), plane))


@router.delete(
    "/quarantine/{agent_id}",
    summary="Lift a quarantine",
    **answers(QuarantinePage, _PAGE, problems=(404, 422, 503)),
)
async def lift_quarantine(
    agent_id: AgentId, plane: Plane, caller: Calling, by: Annotated[str, Query(min_length=1, max_length=100)] = "operator"
) -> Response:
    """Let an agent have tasks again; its host makes it anew within seconds."""
    if agent_id not in (await plane.desired.read()).quarantines:
        raise AgentUnknown(f"{agent_id!r} isn't quarantined")
    await plane.desired.change([Wish(f"quarantine:{agent_id}", None)], by=caller.says(by), why=f"{agent_id}: lifted")
    return encoded(_page(await plane.desired.read(), plane))


@router.get("/recoveries", summary="List recoveries", **answers(RecoveryPage, _RECOVERIES, problems=(422, 503)))
async def list_recoveries(plane: Plane, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
    """List what failed and was made good, newest first: what it was, and how long until the work went on."""
    found = await plane.recoveries.newest(limit=limit)
    items = [
        RecoveryShape(
            at_ms=each.at_ms, cause=each.cause, subject=each.subject, duration_s=each.duration_ms / 1000, tasks=each.tasks
        )
        for each in found
    ]
    return encoded(RecoveryPage(items=items, under_way=len(await plane.recoveries.under_way())))


@router.get("/breakers", summary="List breakers", **answers(BreakerPage, _BREAKERS, problems=(503,)))
async def list_breakers(plane: Plane) -> Response:
    """List the circuit breakers of everything that agents depend on, with how they stand and what opened them."""
    return encoded(BreakerPage(items=await plane.breakers.all()))


@router.post(
    "/breakers/reset",
    summary="Close a breaker",
    openapi_extra=takes(BreakerName, BreakerName(name="payments-api")),
    **answers(BreakerPage, _BREAKERS, problems=(400, 404, 413, 415, 422, 503)),
)
async def reset_breaker(request: Request, plane: Plane) -> Response:
    """Let everybody use a dependency again at once, because somebody knows that it is back."""
    name = request.state.named = (await intake.read_one(request, BreakerName)).name
    if not await plane.breakers.reset(name):
        raise LimitUnknown(f"there is no breaker {name!r}: `amas breakers` lists them")
    return encoded(BreakerPage(items=await plane.breakers.all()))
