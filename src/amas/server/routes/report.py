"""How the fleet did in a window of time."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from amas.model.report import (
    AVAILABILITY,
    Availability,
    BackupLine,
    FamilyFigures,
    FleetReport,
    HostLine,
    Outage,
    RecoveryTimes,
    ReportPoint,
    ResponseTimes,
    RolloutLine,
    TaskCounts,
)
from amas.server.contract import answers, encoded
from amas.server.plane import Plane
from amas.server.reporting import report_of

router = APIRouter(prefix="/api", tags=["fleet"])

SINCE_S_MAX = 30 * 86_400
"""The history of a longer time is for a data warehouse."""

_AT = 1_757_000_000_000
_REPORT = FleetReport(
    fleet="BlackRoad",
    from_ms=_AT,
    to_ms=_AT + 3_600_000,
    observed_s=3600.0,
    recorder_lag_s=0.2,
    definition=AVAILABILITY,
    availability=Availability(
        share=0.9989,
        answered_s=3570.0,
        down_s=4.0,
        idle_s=26.0,
        slot_s=1.0,
        outages=(Outage(from_ms=_AT + 60_000, to_ms=_AT + 64_000, engine_away=True),),
    ),
    tasks=TaskCounts(
        accepted=60_412,
        succeeded=60_300,
        failed=12,
        cancelled=0,
        success_rate=0.9998,
        open={"running": 100},
        checked=100,
        lost=(),
    ),
    response=ResponseTimes(p50_s=0.04, p99_s=1.2, max_s=7.1),
    utilisation=0.31,
    usd=12.5,
    tokens=810_000,
    families=(
        FamilyFigures(
            family="development",
            pools=("code-review", "testing"),
            agents=3000,
            succeeded=60_300,
            failed=12,
            cancelled=0,
            success_rate=0.9998,
            p99_s=1.2,
            agent_s=3348.0,
            utilisation=0.31,
            usd=12.5,
            tokens=810_000,
        ),
    ),
    recoveries=(RecoveryTimes(cause="host_lost", count=3, p50_s=6.2, max_s=7.0, tasks=31),),
    rollouts=(
        RolloutLine(
            pool="code-review",
            was="1",
            version="2",
            phase="rolled_back",
            started_ms=_AT,
            at_ms=_AT + 40_000,
            tasks=41,
            why="version 2 fails more",
        ),
    ),
    backups=(BackupLine(id="20260131T235900Z-1f3a", at_ms=_AT, kind="full", size=120_000_000, stored=2_400_000, tasks=250_000),),
    alerts=(),
    runs=(),
    hosts=(HostLine(id="host-1", agents=3000, rss_bytes=120_000_000, cpu_s=410.0, since_ms=_AT),),
    timeline=(ReportPoint(at_ms=_AT, succeeded=1001, failed=0, waiting=0.4, down_s=0.0),),
)


@router.get("/report", summary="How the fleet did", **answers(FleetReport, _REPORT, problems=(422, 503)))
async def get_report(
    plane: Plane, since_s: Annotated[float, Query(ge=1, le=SINCE_S_MAX, description="Seconds back from now.")] = 3600.0
) -> Response:
    """Report availability, success, response and recovery times, utilisation, costs, and what operators and the fleet itself did.

    The cost of the answer grows with the tasks that ended in the window, not with the history.
    """
    return encoded(await report_of(plane, since_s))
