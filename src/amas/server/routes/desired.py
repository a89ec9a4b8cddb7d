"""What is wanted of the fleet: apply a fleet, scale and restart pools, drain, cordon and restart hosts, add and remove agents.

Each is a change of the desired state, whose history says who wanted it and why; the placer, the hosts and the local platform make
what runs equal to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from amas.core.difference import Change, Difference, FieldChange
from amas.core.placement import Labels, open_hosts, unseated
from amas.engine.hosts import HostView
from amas.engine.scaling import ScalingState
from amas.errors import AgentUnknown, DesiredChanged
from amas.model.desired import Desired, DesiredChange, Order, Scale
from amas.model.fleet import FleetSpec
from amas.model.numbers import named
from amas.model.remote import is_remote
from amas.server import intake, wishes
from amas.server.contract import answers, encoded, takes
from amas.server.desired_shapes import (
    AgentRestarted,
    DesiredShape,
    FleetApplied,
    HistoryPage,
    HostNow,
    HostPage,
    NewAgent,
    NewFleet,
    NewScale,
    Ordered,
    PoolNow,
    Scaled,
    Wished,
)
from amas.server.identity import Calling
from amas.server.patterns import HOST_ACTION, REVISION_TAG
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal

router = APIRouter(prefix="/api", tags=["fleet"])

DIGITS_MAX = 15
"""Of a revision: more than will ever be."""

PoolName = Annotated[str, Path(max_length=200, description="A pool's name, such as `code-reviewer`.")]
HostId = Annotated[str, Path(max_length=200, description="A host's name, such as `host-1`.")]
HostAction = Annotated[str, Path(pattern=HOST_ACTION)]
AgentName = Annotated[str, Path(max_length=200, description="An agent's name, such as `code-reviewer-3`.")]
IfMatch = Annotated[
    str,
    Header(
        alias="If-Match",
        pattern=REVISION_TAG,
        description="The `ETag` of what was looked at, `*` for any: 412 when another fleet was applied since.",
    ),
]

_DIFFERENCE = Difference(
    changes=(Change("pool code-reviewer", "changed", 2, (FieldChange("replicas", 3, 5),)),),
    agents_before=40,
    agents_after=42,
    hosts_before=1,
    hosts_after=1,
)
_TOLD = ["~ pool code-reviewer (+2 agents)", "    replicas: 3 -> 5", "40 -> 42 agents (+2) on 1 host"]
_APPLIED = FleetApplied(revision=12, applied=True, difference=_DIFFERENCE, told=_TOLD)
_SCALE = Scale(replicas=5, by="ann", why="the sale", at_ms=1_757_000_000_000)
_DESIRED = DesiredShape(
    revision=12,
    fleet="amas",
    hosts=1,
    pools=[PoolNow(name="code-reviewer", declared=3, wanted=5, seated=5, scale=_SCALE)],
    dealt=True,
    behind=[],
)
_HOSTS = HostPage(items=[HostNow(id="host-1", live=True, seats=42, order=Order(), revision=12, running=4)])
_CHANGE = DesiredChange(revision=12, at_ms=1_757_000_000_000, by="ann", why="the sale", fields=("scale:code-reviewer",))
_SCALED = Scaled(pool="code-reviewer", replicas=5, revision=12)
_ORDERED = Ordered(host="host-1", order=Order(drained=True), revision=13, seats=42, open_hosts=1)
_RESTARTED = AgentRestarted(agent_id="code-reviewer-3", revision=12)
_WISHED = Wished(by="ann", why="the sale")
_FAULTS = (400, 409, 413, 415, 422, 503)


@router.post(
    "/fleet/apply",
    summary="Declare a fleet",
    openapi_extra=takes(NewFleet, NewFleet(revision=7, by="ann", why="the new one was too slow", expect=11)),
    **answers(FleetApplied, _APPLIED, problems=(*_FAULTS, 412), tagged=True),
)
async def apply_fleet(
    request: Request,
    plane: Plane,
    dry_run: Annotated[bool, Query(description="Only say what would change.")] = False,
    if_match: IfMatch = "",
) -> Response:
    """Declare a fleet in place of the one that is; queued tasks that nobody can do any more stay queued until somebody can."""
    new = await intake.read_one(request, NewFleet)
    if (matched := revision_of(if_match)) is not None:
        new = msgspec.structs.replace(new, expect=matched)
    fleet, how = await _fleet(plane, new), wishes.How(at_once=new.revision is not None, again=new.again)
    if dry_run:
        return encoded(_applied(seen := await wishes.judged(plane, fleet, how), seen.desired.revision, applied=False))
    why = new.why or (f"back to revision {new.revision}" if new.revision is not None else "applied over the API")
    with matching(if_match):
        seen, revision = await wishes.apply(plane, fleet, how, by=new.by, why=why, expect=new.expect)
    return encoded(_applied(seen, revision, applied=True), headers=tag(revision))


def tag(revision: int) -> dict[str, str]:
    """Return the header that names a revision of what is wanted."""
    return {"etag": f'"{revision}"'}


def revision_of(if_match: str) -> int | None:
    """Return the revision that an `If-Match` names; None for any, -1, which none is, for a tag that is none of ours."""
    name = if_match.strip('"')
    return None if if_match in ("", "*") else int(name) if name.isdecimal() and len(name) <= DIGITS_MAX else -1


@contextmanager
def matching(if_match: str) -> Iterator[None]:
    """Have it answered as HTTP wants it (412) where what `If-Match` names isn't what is there any more."""
    try:
        yield
    except Refusal as refused:
        if if_match and refused.code == DesiredChanged.code:
            refused.status = 412
        raise


def _applied(seen: wishes.Judged, revision: int, *, applied: bool) -> FleetApplied:
    rollouts = [each.to.name for each in seen.begins]
    return FleetApplied(revision=revision, applied=applied, difference=seen.found, told=seen.told, rollouts=rollouts)


async def _fleet(plane: ControlPlane, new: NewFleet) -> FleetSpec:
    if (new.fleet is None) == (new.revision is None):
        raise Refusal(Fault(detail="say either a fleet or the revision that brought one", pointer="#"))
    if new.fleet is not None:
        return new.fleet
    assert new.revision is not None
    return await wishes.earlier(plane.desired, new.revision)


@router.get("/fleet/desired", summary="What is wanted", **answers(DesiredShape, _DESIRED, problems=(503,), tagged=True))
async def get_desired(plane: Plane) -> Response:
    """Show what is wanted of every pool, and whether the hosts have carried it out."""
    desired, live = await plane.desired.read_with_hosts()
    hosts, labels = await plane.hosts.all(), await plane.desired.host_labels(desired, live)
    return encoded(_shown(desired, live, hosts, labels), headers=tag(desired.revision))


def _shown(desired: Desired, live: frozenset[str], hosts: list[HostView], labels: Labels) -> DesiredShape:
    whys = unseated(desired, live, labels)
    seated: dict[str, int] = {}
    for host, of in desired.seats.items():
        for seats in of:
            seated[seats.pool] = seated.get(seats.pool, 0) + (seats.count if host in live else 0)
    declared = {pool.name: pool.replicas for pool in desired.fleet.pools} if desired.fleet else {}
    return DesiredShape(
        revision=desired.revision,
        fleet=desired.fleet.name if desired.fleet else "",
        hosts=desired.hosts,
        pools=[
            PoolNow(
                name=pool.name,
                declared=declared.get(pool.name, 0),
                wanted=pool.replicas,
                seated=seated.get(pool.name, 0),
                scale=desired.scales.get(pool.name),
                why=whys.get(pool.name, ""),
            )
            for pool in desired.pools
        ],
        dealt=wishes.dealt(desired, live, labels),
        behind=[host.id for host in hosts if 0 < host.about.revision < desired.revision],
    )


@router.get(
    "/fleet/history",
    summary="Who changed what",
    **answers(HistoryPage, HistoryPage(items=[_CHANGE], fleets=[7]), problems=(422, 503)),
)
async def get_history(plane: Plane, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
    """Show the changes of what is wanted, newest first, and which revisions brought fleets that can be applied again."""
    return encoded(
        HistoryPage(items=await plane.desired.history(limit=limit), fleets=sorted(await plane.desired.fleets(), reverse=True))
    )


@router.post(
    "/pools/{name}/scale",
    summary="Scale a pool",
    openapi_extra=takes(NewScale, NewScale(replicas=5, by="ann", why="the sale")),
    **answers(Scaled, _SCALED, problems=_FAULTS),
)
async def scale_pool(name: PoolName, request: Request, plane: Plane) -> Response:
    """Let a pool have so many agents, whatever the fleet file says, within the fleet's limits; null ends that."""
    new = await intake.read_one(request, NewScale)
    why = new.why or ("as the fleet file says" if new.replicas is None else f"scaled to {new.replicas}")
    size, revision = await wishes.scale(plane, name, new.replicas, by=new.by, why=why)
    return encoded(Scaled(pool=name, replicas=size, revision=revision))


@router.post(
    "/pools/{name}/restart",
    summary="Make a pool's agents anew",
    openapi_extra=takes(Wished, _WISHED),
    **answers(Scaled, _SCALED, problems=_FAULTS),
)
async def restart_pool(name: PoolName, request: Request, plane: Plane) -> Response:
    """Have each agent of a pool made anew once it has done what it runs."""
    new = await intake.read_one(request, Wished)
    revision = await wishes.make_anew(plane, name, by=new.by, why=new.why or "restarted")
    size = next(pool.replicas for pool in (await plane.desired.read()).pools if pool.name == name)
    return encoded(Scaled(pool=name, replicas=size, revision=revision))


@router.get("/hosts", summary="List hosts", **answers(HostPage, _HOSTS, problems=(503,)))
async def list_hosts(plane: Plane) -> Response:
    """Show every host that lives, or of which something is wanted: its orders, its seats and what it runs."""
    desired, live = await plane.desired.read_with_hosts()
    views = {host.id: host for host in await plane.hosts.all()}
    items, declared = [], desired.fleet.host_labels if desired.fleet else {}
    for host in sorted({*live, *desired.orders, *desired.seats}):
        view = views.get(host)
        items.append(
            HostNow(
                id=host,
                live=host in live,
                seats=sum(seats.count for seats in desired.seats.get(host, ())),
                order=desired.orders.get(host, Order()),
                revision=view.about.revision if view else 0,
                running=len(view.running) if view else 0,
                labels={**(view.about.labels if view else {}), **declared.get(host, {})},
            )
        )
    _, scaling = await ScalingState(plane.engine).hosts_kept()
    return encoded(HostPage(items=items, scaling=scaling))


@router.post(
    "/hosts/{host_id}/{action}",
    summary="Drain, cordon, uncordon or restart a host",
    openapi_extra=takes(Wished, _WISHED),
    **answers(Ordered, _ORDERED, problems=(404, *_FAULTS)),
)
async def order_host(host_id: HostId, action: HostAction, request: Request, plane: Plane) -> Response:
    """Drain: its agents go to other hosts. Cordon: it gets no more. Uncordon: as before. Restart: the platform starts it anew."""
    new = await intake.read_one(request, Wished)
    wanted, revision = await wishes.order(plane, host_id, action, by=new.by, why=new.why or action)
    desired, live = await plane.desired.read_with_hosts()
    may_get, _ = open_hosts(desired, live)
    seats = sum(seats.count for seats in desired.seats.get(host_id, ()))
    return encoded(Ordered(host=host_id, order=wanted, revision=revision, seats=seats, open_hosts=len(may_get)))


@router.post(
    "/agents",
    summary="Add an agent",
    openapi_extra=takes(NewAgent, NewAgent(pool="code-reviewer", by="ann", why="the sale")),
    **answers(Scaled, _SCALED, status=201, problems=_FAULTS),
)
async def add_agent(request: Request, plane: Plane) -> Response:
    """Let a pool have one agent more than it has; it gets the next number."""
    new = await intake.read_one(request, NewAgent)
    size, revision = await wishes.scale(plane, new.pool, None, by=new.by, why=new.why or "one agent more", more=1)
    return encoded(Scaled(pool=new.pool, replicas=size, revision=revision), 201)


@router.delete("/agents/{agent_id}", summary="Remove an agent", **answers(Scaled, _SCALED, problems=(404, 409, 422, 503)))
async def remove_agent(agent_id: AgentName, plane: Plane, caller: Calling) -> Response:
    """Let a pool have one agent fewer, and this one no more, once it has done what it runs; the others keep their numbers."""
    pool, number = _named(agent_id)
    size, revision = await wishes.retire(plane, pool, number, by=caller.says("api"), why=f"removed {agent_id}")
    return encoded(Scaled(pool=pool, replicas=size, revision=revision))


@router.post(
    "/agents/{agent_id}/restart",
    summary="Restart an agent",
    openapi_extra=takes(Wished, _WISHED),
    **answers(AgentRestarted, _RESTARTED, problems=(404, *_FAULTS)),
)
async def restart_agent(agent_id: AgentName, request: Request, plane: Plane) -> Response:
    """Have one agent made anew at once; what it runs is given back and burns no retry, and the others of its host go on."""
    pool, number = _named(agent_id)
    new = await intake.read_one(request, Wished)
    revision = await wishes.restart_agent(plane, pool, number, by=new.by, why=new.why or f"restarted {agent_id}")
    return encoded(AgentRestarted(agent_id=agent_id, revision=revision))


def _named(agent_id: str) -> tuple[str, int]:
    """Return an agent's pool and number."""
    if is_remote(agent_id):
        why = f"{agent_id} runs elsewhere: restart or end it there, and its session takes it out"
        raise Refusal(Fault(detail=why), status=409, code="agent_elsewhere")
    pool, number = named(agent_id)
    if not pool:
        raise AgentUnknown(f"{agent_id!r} is no agent's name: it is its pool's, a hyphen and a number")
    return pool, number
