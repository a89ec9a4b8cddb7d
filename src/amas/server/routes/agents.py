"""Agents: list, look, read their logs. They are declared in the fleet file; making and removing them is not done here."""

import asyncio
from itertools import islice
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from amas.engine.roster import Roster
from amas.errors import AgentUnknown, RecordsError
from amas.model.labels import Selector
from amas.model.remote import is_remote
from amas.model.states import AgentStatus, Layer
from amas.server import elsewhere
from amas.server.agents import agent_shape
from amas.server.choosing import Labels, selector_of
from amas.server.contract import answers, encoded
from amas.server.logs import LINES_MAX, agent_lines
from amas.server.plane import ControlPlane, Plane
from amas.server.shapes import AgentPage, AgentShape, LogPage

router = APIRouter(prefix="/api/agents", tags=["agents"])

AgentId = Annotated[str, Path(max_length=200, description="An agent's name, such as `code-reviewer-1`.")]

_AGENT = AgentShape(
    agent_id="code-reviewer-1",
    agent_type="code-reviewer",
    title="Code Reviewer",
    layer="specialist",
    lead="technical-lead",
    capabilities=("development.code_review",),
    labels={"family": "development"},
    skill="ruff_review",
    status=AgentStatus.WORKING,
    current_tasks=("01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",),
    slots=3,
    host_id="host-1",
    version="1",
    tasks_succeeded=41,
    tasks_failed=1,
)
_LINE = {"at": "2026-01-01T12:00:00Z", "level": "info", "message": "reviewed a file", "agent_id": "code-reviewer-1"}


@router.get("", summary="List agents", **answers(AgentPage, AgentPage(items=[_AGENT], total=1, next=None), problems=(422, 503)))
async def list_agents(  # noqa: PLR0913, PLR0917  one query parameter each
    plane: Plane,
    status: Annotated[AgentStatus | None, Query()] = None,
    pool: Annotated[str, Query(max_length=200)] = "",
    layer: Annotated[Layer | None, Query()] = None,
    capability: Annotated[str, Query(max_length=200)] = "",
    host: Annotated[str, Query(max_length=200)] = "",
    label: Labels = [],  # noqa: B006  FastAPI copies it
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str, Query(max_length=200, description="The `next` of the page before.")] = "",
) -> Response:
    """List the agents of live hosts by pool and number, as they were half a second ago at most; then those that run elsewhere."""
    roster = await plane.board.roster()
    labels = selector_of(label)
    pools = _pools(roster, pool=pool, layer=layer, capability=capability, labels=labels)
    own = () if is_remote(cursor) else roster.agents(pools=pools, status=status, host_id=host, after=cursor)
    items = [agent_shape(seen) for seen in islice(own, limit + 1)]
    counted = roster.count(pools=pools, host_id=host)
    wanted = elsewhere.Wanted(pool=pool, layer=layer, capability=capability, host=host, status=status, labels=labels)
    after = cursor if is_remote(cursor) else ""
    afar, more = await elsewhere.page(plane.remote.registry, wanted, after=after, limit=limit + 1 - len(items))
    items += afar
    return encoded(
        AgentPage(
            items=items[:limit],
            total=(counted.total() if status is None else counted[status]) + more,
            next=items[limit - 1].agent_id if len(items) > limit else None,
        )
    )


def _pools(roster: Roster, *, pool: str, layer: Layer | None, capability: str, labels: Selector) -> frozenset[str] | None:
    """Return the pools that filters let through; None for all."""
    if not (pool or layer or capability or labels.requirements):
        return None
    cards = {name: spans[0].card for name, spans in roster.spans.items()}
    return frozenset(
        name
        for name, card in cards.items()
        if (not pool or name == pool)
        and (layer is None or card.layer == layer)
        and (not capability or capability in card.capabilities)
        and labels.allows(card.labels)
    )


@router.get("/{agent_id}", summary="Look at an agent", **answers(AgentShape, _AGENT, problems=(404, 422, 503)))
async def get_agent(agent_id: AgentId, plane: Plane) -> Response:
    """Show one agent, with what the records know that it has done."""
    shape = await _agent(plane, agent_id)
    try:
        succeeded, failed = await plane.records.work_of(agent_id)
    except RecordsError:
        return encoded(shape)
    return encoded(msgspec.structs.replace(shape, tasks_succeeded=succeeded, tasks_failed=failed))


@router.get(
    "/{agent_id}/logs",
    summary="Read an agent's log",
    **answers(LogPage, LogPage(agent_id="code-reviewer-1", lines=[_LINE], truncated=False), problems=(404, 422, 503)),
)
async def get_logs(agent_id: AgentId, plane: Plane, limit: Annotated[int, Query(ge=1, le=LINES_MAX)] = 100) -> Response:
    """Show the newest lines of an agent's log, from the files of this machine's hosts."""
    lines, truncated = await asyncio.to_thread(agent_lines, plane.home / "logs", agent_id, limit=limit)
    if not lines:
        await _agent(plane, agent_id)
    return encoded(LogPage(agent_id=agent_id, lines=lines, truncated=truncated))


async def _agent(plane: ControlPlane, agent_id: str) -> AgentShape:
    if is_remote(agent_id):
        if afar := await elsewhere.find(plane.remote.registry, agent_id):
            return afar
        raise AgentUnknown(f"there is no agent {agent_id!r}: no session has registered it, or its lease has run out")
    seen = (await plane.board.roster()).find(agent_id)
    if seen is None:
        raise AgentUnknown(f"there is no agent {agent_id!r} on any live host: `amas agents` lists those that there are")
    return agent_shape(seen)
