"""The fleet as a whole: probes, figures and analytics."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from amas.clock import now_ms
from amas.errors import EngineError, RecordsError
from amas.model.states import TaskState
from amas.records.views import Analytics, Group
from amas.server.contract import VERSION, answers, encoded
from amas.server.figures import figures
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal
from amas.server.shapes import AgentFigures, Check, CostFigures, FleetFigures, HostFigure, Live, Ready, TaskFigures

router = APIRouter(tags=["fleet"])

_LIVE = Live(version=VERSION)
_READY = Ready(ready=True, version=VERSION, checks=[Check(name="engine", ok=True, detail="version 9.1.0")])
FIGURES = FleetFigures(
    agents=AgentFigures(total=40, idle=36, working=4, error=0, healing=0),
    tasks=TaskFigures(
        succeeded=960,
        failed=4,
        cancelled=0,
        retried=7,
        running=4,
        delayed=1,
        dead_letters=4,
        queued={"development.code_review": 2},
        bounds={"development.code_review": 1_000_000},
    ),
    hosts=[HostFigure(id="host-1", agents=40, running=4, cpu_s=12.5, rss_bytes=90_000_000, loop_lag_s=0.001)],
    workflows_open=1,
    tasks_per_second=12.5,
    average_response_s=0.125,
    success_rate=0.9959,
    utilisation=0.1,
    recorder_lag_s=0.0,
    cost=CostFigures(usd_last_hour=0.125, usd_last_day=2.5, usd_month_projected=75.0),
)
_GROUP = Group(name="", succeeded=960, failed=4, cancelled=0, success_rate=0.9959, mean_s=0.125, p50_s=0.08, p99_s=1.5)
_ANALYTICS = Analytics(
    since_ms=1_757_000_000_000, open={TaskState.RUNNING: 4}, total=_GROUP, capabilities=[], layers=[], pools=[]
)


@router.get("/health/orchestration", summary="Liveness probe", **answers(Live, _LIVE))
@router.get("/health", summary="Liveness", **answers(Live, _LIVE))
async def live() -> Response:
    """Say that this process answers; it asks nobody else, so that an engine's trouble restarts no control plane."""
    return encoded(_LIVE)


@router.get("/ready/orchestration", summary="Readiness probe", **answers(Ready, _READY, problems=(503,)))
@router.get("/ready", summary="Readiness", **answers(Ready, _READY, problems=(503,)))
@router.get("/api/health", summary="The fleet's health", **answers(Ready, _READY, problems=(503,)))
async def ready(plane: Plane) -> Response:
    """Say that the engine, the records and at least one host are there; 503 names what isn't."""
    checks = [await _engine(plane), await _records(plane), await _hosts(plane)]
    if faults := [Fault(detail=f"{check.name}: {check.detail}") for check in checks if not check.ok]:
        raise Refusal(*faults, status=503, code="not_ready")
    return encoded(Ready(ready=True, version=VERSION, checks=checks))


async def _engine(plane: ControlPlane) -> Check:
    try:
        version = await plane.engine.check()
    except EngineError as error:
        return Check(name="engine", ok=False, detail=str(error))
    return Check(name="engine", ok=True, detail=f"version {version}")


async def _records(plane: ControlPlane) -> Check:
    try:
        position = await plane.records.position()
    except RecordsError as error:
        return Check(name="records", ok=False, detail=str(error))
    return Check(name="records", ok=True, detail=f"hold everything up to {position}")


async def _hosts(plane: ControlPlane) -> Check:
    try:
        hosts = [host for host in await plane.board.hosts() if host.lease_until_ms >= plane.engine.now_ms()]
    except EngineError:
        return Check(name="hosts", ok=False, detail="can't be known while the engine is away")
    if not hosts:
        return Check(name="hosts", ok=False, detail="no host is live: nothing would take a task")
    return Check(name="hosts", ok=True, detail=f"{len(hosts)} live with {sum(host.about.agents for host in hosts)} agents")


@router.get("/api/metrics", summary="The fleet in figures", **answers(FleetFigures, FIGURES, problems=(503,)))
async def get_metrics(plane: Plane) -> Response:
    """Show agents, tasks, rates and hosts as they are; what can't be known is null."""
    return encoded(await figures(plane))


@router.get("/api/analytics", summary="What was done, and how well", **answers(Analytics, _ANALYTICS, problems=(422, 503)))
async def get_analytics(
    plane: Plane,
    hours: Annotated[float, Query(gt=0, le=8784, description="How far back; a year at most.")] = 24,
) -> Response:
    """Show figures of what ended in the last hours, by capability, layer and pool, from the records."""
    return encoded(await plane.records.analytics(now_ms() - round(hours * 3_600_000)))
