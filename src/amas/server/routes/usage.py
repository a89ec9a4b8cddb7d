"""What the fleet takes, and what it saves."""

from fastapi import APIRouter
from starlette.responses import Response

from amas.core.savings import Saving, Savings, savings
from amas.engine.scaling import ScalingState
from amas.errors import RecordsError
from amas.records.ended import Span
from amas.server.contract import answers, encoded
from amas.server.plane import ControlPlane, Plane
from amas.server.usage_shapes import FleetUsage, NetworkFigures

router = APIRouter(prefix="/api", tags=["fleet"])

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
_SAVING = Saving(kind="scaling", words="code-reviewer has 3 of at most 40 agents", usd_per_hour=0.74)
_USAGE = FleetUsage(
    at_ms=1_757_000_000_000,
    cpu_s={"engine": 2.5, "control_plane": 1.25, "hosts": 12.5},
    memory={"engine": 24_000_000, "control_plane": 90_000_000, "hosts": 90_000_000},
    network=NetworkFigures(received=1_200_000, sent=4_800_000),
    storage={"engine": 2_000_000, "records": 4_000_000, "logs": 500_000},
    disk={"used": 40_000_000_000, "free": 60_000_000_000},
    machine_network=None,
    savings=Savings(usd_per_hour=0.74, active=[_SAVING]),
)


@router.get("/usage", summary="What the fleet takes and saves", **answers(FleetUsage, _USAGE, problems=(503,)))
async def get_usage(plane: Plane) -> Response:
    """Show CPU, memory, network and storage by part, and which optimisations are at work with what they save."""
    found = await plane.usage.look(await plane.board.hosts())
    machine = found.machine_network
    return encoded(
        FleetUsage(
            at_ms=plane.engine.now_ms(),
            cpu_s=dict(found.cpu_s),
            memory=dict(found.memory),
            network=NetworkFigures(**found.network),
            storage=dict(found.storage),
            disk=dict(found.disk),
            machine_network=NetworkFigures(**machine) if machine else None,
            savings=await _savings(plane),
        )
    )


async def _savings(plane: ControlPlane) -> Savings:
    state = ScalingState(plane.engine)
    _, hosts = await state.hosts_kept()
    return savings(
        plane.fleet.pools,
        await state.views(),
        now_ms=plane.engine.now_ms(),
        hosts=(plane.fleet.host_scaling, hosts),
        cached=await _cached(plane),
    )


async def _cached(plane: ControlPlane) -> tuple[int, int]:
    try:
        since_ms = plane.engine.now_ms() // HOUR_MS * HOUR_MS - DAY_MS  # whole hours, which the records have sums of
        total, _ = await plane.records.costs("model", Span(since_ms=since_ms), limit=1)
    except RecordsError:
        return 0, 0
    return total.cached_tokens, total.input_tokens
