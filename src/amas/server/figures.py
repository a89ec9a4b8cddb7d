"""The fleet in figures: what the metrics page and `GET /api/metrics` show, read from the engine in a bounded handful of calls."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from amas.clock import monotonic_s, now_ms
from amas.controllers.alerts import read_alerts
from amas.controllers.figures import Figures
from amas.core.healing import pools_down
from amas.engine.alerts import AlertStore
from amas.engine.desired import DesiredState
from amas.engine.journal import Journal
from amas.engine.scaling import ScalingState
from amas.errors import EngineError, RecordsError
from amas.observe import names
from amas.observe.metrics import Histogrammed, PoolSize, Snapshot
from amas.records.store import Records
from amas.server.agents import added_up, slots_of, tally
from amas.server.plane import ControlPlane
from amas.server.shapes import CostFigures, FleetFigures, HostFigure, TaskFigures

RESPONSE_WINDOW_MS = 300_000
"""How far back the mean response looks, and at the newest thousand tasks at most: a fleet may end millions in that time."""
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
DAYS = 30
"""Of a month, for what it will cost."""
SCRAPE_TIMEOUT_S = 5.0
"""Half of what Prometheus waits by default."""


def ended(totals: Mapping[str, int]) -> int:
    """Return how many tasks have ended."""
    return sum(totals.get(state, 0) for state in ("succeeded", "failed", "cancelled"))


async def recorder_lag_s(journal: Journal, records: Records) -> float | None:
    """Return the age of the oldest entry that isn't recorded yet, 0 when there is none; None when the records don't answer."""
    try:
        position = await records.position()
    except RecordsError:
        return None
    behind = await journal.read(position, limit=1)
    return _age_s(behind[0].at_ms) if behind else 0.0


async def snapshot(plane: ControlPlane) -> Snapshot | None:
    """Return the engine's figures for one scrape; None when it doesn't answer in time."""
    try:
        async with asyncio.timeout(SCRAPE_TIMEOUT_S):
            totals, queued = await plane.queue.totals(), await plane.queue.depths()
            bounds = await plane.bounds.read()
            hosts, roster = await plane.board.hosts(), await plane.board.roster()
            lag_s = await recorder_lag_s(plane.journal, plane.records)
            _, watched = await read_alerts(AlertStore(plane.engine))
            held, messages = await plane.inboxes.backlog(), await plane.inboxes.totals()
            recoveries, wanted = await plane.recoveries.figures(), await plane.desired.read()
            breakers = await plane.breakers.all()
            pools = await _pool_sizes(plane)
    except (EngineError, TimeoutError):
        return None
    by_status, spent = tally(roster.count()), plane.figures.spent
    known = {pool.name for pool in wanted.pools or plane.fleet.pools}
    plane.rate.take(ended(totals), at_s=monotonic_s())
    plane.deliveries.take(hosts)
    return Snapshot(
        workflows_open=totals["open_workflows"],
        agents={name: getattr(by_status, name) for name in ("idle", "working", "error", "healing")},
        hosts=len(hosts),
        running=sum(len(host.running) for host in hosts),
        queued=queued,
        bounds=bounds,
        totals=totals,
        recorder_lag_s=lag_s,
        response_s=await _average_response_s(plane.records),
        messages_held=sum(held.values()),
        messages=messages,
        pools=pools,
        cost_usd=spent.usd,
        tokens={
            "input": spent.input_tokens,
            "output": spent.output_tokens,
            "cached": spent.cached_tokens,
            "other": max(0, spent.tokens - spent.input_tokens - spent.output_tokens),
        },
        model_requests=spent.calls,
        backups_made=plane.figures.backups_made,
        backups_failed=plane.figures.backups_failed,
        backup_age_s=(now_ms() - plane.figures.backup_at_ms) / 1000 if plane.figures.backup_at_ms else None,
        recoveries=recoveries,
        quarantined=len(wanted.quarantines),
        breakers={view.name: view.state for view in breakers},
        alerts=Counter(
            (alert.rule, alert.severity, alert.status) for alert in watched.alerts.values() if alert.status != "resolved"
        ),
        told={pool: of for pool, of in added_up(hosts).items() if pool in known},
        host_lag_s=max((host.figures.loop_lag_s for host in hosts), default=None),
        usage=await plane.usage.look(hosts),
    )


async def _pool_sizes(plane: ControlPlane) -> dict[str, PoolSize]:
    desired, views = await DesiredState(plane.engine).read(), await ScalingState(plane.engine).views()
    seated: dict[str, int] = {}
    for seats in (seats for of in desired.seats.values() for seats in of):
        seated[seats.pool] = seated.get(seats.pool, 0) + seats.count
    return {
        pool.name: PoolSize(
            wanted=pool.replicas,
            seated=seated.get(pool.name, 0),
            grown=views[pool.name].grown if pool.name in views else 0,
            shrunk=views[pool.name].shrunk if pool.name in views else 0,
        )
        for pool in desired.pools
    }


def durations(kept: Figures) -> list[Histogrammed]:
    """Return what the duties measured in this process; only the leader's are ever more than empty."""
    known = {names.DECOMPOSITION_DURATION: kept.decompositions, names.ASSIGNMENT_DURATION: kept.assignments}
    return [Histogrammed(name=name, buckets=found.buckets(), sum_s=found.sum_s) for name, found in known.items()]


async def figures(plane: ControlPlane) -> FleetFigures:
    """Return the figures for people and dashboards: a look into the records, a call of the engine, and the board's hosts."""
    lately = await _lately(plane.records)
    told, wanted = await plane.engine_figures.read(lately.recorded if lately else "")
    hosts, roster = await plane.board.hosts(), await plane.board.roster()
    tried = told.totals.get("succeeded", 0) + told.totals.get("failed", 0)
    slots = slots_of(hosts)
    running = sum(len(host.running) for host in hosts)
    return FleetFigures(
        agents=tally(roster.count()),
        tasks=TaskFigures(
            **{name: told.totals.get(name, 0) for name in ("succeeded", "failed", "cancelled", "retried")},
            delayed=told.delayed,
            dead_letters=told.dead_letters,
            running=running,
            queued=dict(sorted(told.queued.items())),
            bounds=told.bounds,
        ),
        hosts=[
            HostFigure(
                id=host.id,
                agents=host.about.agents,
                running=len(host.running),
                cpu_s=host.figures.cpu_s,
                rss_bytes=host.figures.rss_bytes,
                loop_lag_s=host.figures.loop_lag_s,
            )
            for host in hosts
        ],
        workflows_open=told.workflows_open,
        tasks_per_second=plane.rate.take(ended(told.totals), at_s=monotonic_s()),
        average_response_s=lately.mean_s if lately else None,
        success_rate=told.totals.get("succeeded", 0) / tried if tried else None,
        utilisation=running / slots if slots else None,
        recorder_lag_s=_age_s(told.unrecorded_ms) if lately else None,
        cost=lately.cost if lately else None,
        quarantined=len(wanted.quarantines),
        pools_down=pools_down(wanted.quarantines, wanted.pools or plane.fleet.pools),
    )


class _Lately(NamedTuple):
    """What the records say of late."""

    recorded: str
    """The journal's last entry that they have."""
    mean_s: float | None
    """The mean response."""
    cost: CostFigures


async def _lately(records: Records) -> _Lately | None:
    """Return what the records say, None when they don't answer."""
    now = now_ms()
    try:
        recorded, mean_s, (hour, day) = await records.lately(
            responses_since_ms=now - RESPONSE_WINDOW_MS, spent_since_ms=(now - HOUR_MS, now - DAY_MS)
        )
    except RecordsError:
        return None
    return _Lately(recorded, mean_s, CostFigures(usd_last_hour=hour, usd_last_day=day, usd_month_projected=day * DAYS))


def _age_s(written_ms: int) -> float:
    return max(0.0, (now_ms() - written_ms) / 1000) if written_ms else 0.0


async def _average_response_s(records: Records) -> float | None:
    try:
        return await records.mean_response_s(now_ms() - RESPONSE_WINDOW_MS)
    except RecordsError:
        return None
