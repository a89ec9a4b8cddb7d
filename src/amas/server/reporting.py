"""A report over a window of time, put together from the records, the engine, the hosts and the back-ups' repository.

Reads only. `core/report.py` does the arithmetic; here is where its numbers come from. One report is made at a time, since a long
window may take the database seconds.
"""

import asyncio
from collections.abc import Iterable, Sequence

from amas.controllers.alerts import read_alerts
from amas.core import report as core
from amas.engine.alerts import AlertStore
from amas.errors import AmasError
from amas.model.fleet import FleetSpec
from amas.model.healing import Recovery
from amas.model.report import AVAILABILITY, AlertLine, BackupLine, FleetReport, HostLine, RolloutLine, RunLine
from amas.model.runbook import AuditLine
from amas.records.history import PAGE_MAX
from amas.server.figures import recorder_lag_s
from amas.server.plane import ControlPlane

RECOVERIES_MAX = 1000
"""As many as the engine keeps."""
AUDIT_MAX = 200
LOST_MAX = 100
"""Ids that are named."""
CATCH_UP_S = 5.0
"""How long an open task that the engine has forgotten may wait for its end to be recorded."""


async def report_of(plane: ControlPlane, since_s: float) -> FleetReport:
    """Return how the fleet did in the last `since_s` seconds."""
    async with plane.reporting:
        now_ms = plane.engine.now_ms()
        slots = core.slots_of(now_ms - round(since_s * 1000), now_ms)
        work = await plane.records.work_in(slots)
        fleet = (await plane.desired.read()).fleet or plane.fleet
        pools = await _pools(plane, fleet)
        newest = await plane.recoveries.newest(limit=RECOVERIES_MAX)
        recoveries = [each for each in newest if each.at_ms >= slots.from_ms]
        checked, lost = await _lost(plane)
        return FleetReport(
            fleet=fleet.title or fleet.name,
            from_ms=slots.from_ms,
            to_ms=slots.to_ms,
            observed_s=core.observed_s(work),
            recorder_lag_s=await recorder_lag_s(plane.journal, plane.records),
            definition=AVAILABILITY,
            tasks=core.task_counts(work, checked=checked, lost=lost),
            response=core.response(work.ended),
            utilisation=core.utilisation(work.ended, pools, core.observed_s(work)),
            usd=sum(each.usd for each in work.spent.values()),
            tokens=sum(each.tokens for each in work.spent.values()),
            families=core.families(work, pools),
            rollouts=await _rollouts(plane, slots),
            backups=await _backups(plane, slots),
            alerts=await _alerts(plane, slots),
            runs=await _runs(plane, slots),
            hosts=await _hosts(plane),
            **await asyncio.to_thread(_over_time, work, recoveries),  # type: ignore[arg-type]
        )


def _over_time(work: core.Work, recoveries: Sequence[Recovery]) -> dict[str, object]:
    """Return what takes a while to add up in a long window."""
    return {
        "availability": core.availability(work, recoveries),
        "timeline": core.timeline(work, recoveries),
        "recoveries": core.recovery_times(recoveries),
    }


async def _pools(plane: ControlPlane, fleet: FleetSpec) -> list[core.PoolNow]:
    """Return the declared pools, and others that have agents, with what is there of each; variants belong to their bases."""
    family = {pool.name: pool.labels.get("family", pool.name) for pool in fleet.pools}
    agents, slots = dict.fromkeys(family, 0), dict.fromkeys(family, 0)
    for shape in await plane.board.pools():
        base = shape.pool.partition("~")[0]
        agents[base] = agents.get(base, 0) + shape.agents.total
        slots[base] = slots.get(base, 0) + shape.slots
    return [core.PoolNow(name, family.get(name, name), agents[name], slots[name]) for name in agents]


async def _lost(plane: ControlPlane) -> tuple[int, list[str]]:
    """Return how many open tasks the engine was asked for, and which of them neither it nor the records know an end of."""
    ids = await plane.records.open_ids()
    missing: list[str] = []
    for first in range(0, len(ids), PAGE_MAX):
        page = ids[first : first + PAGE_MAX]
        known = await plane.queue.known(page)
        missing += [task_id for task_id, is_known in zip(page, known, strict=True) if not is_known]
    waited_s = 0.0
    while (missing := await _still_open(plane, missing[:LOST_MAX])) and waited_s < CATCH_UP_S:
        await asyncio.sleep(0.25)
        waited_s += 0.25
    return len(ids), missing


async def _still_open(plane: ControlPlane, task_ids: Iterable[str]) -> list[str]:
    views = [(task_id, await plane.records.task(task_id)) for task_id in task_ids]
    return [task_id for task_id, view in views if view is not None and not view.state.terminal]


async def _rollouts(plane: ControlPlane, slots: core.Slots) -> tuple[RolloutLine, ...]:
    return tuple(
        RolloutLine(
            pool=view.pool,
            was=view.was,
            version=view.version,
            phase=view.phase.value,
            started_ms=view.started_ms,
            at_ms=view.phase_ms,
            tasks=round(view.tasks),
            why=view.why,
        )
        for view in await plane.rollouts.all()
        if max(view.started_ms, view.phase_ms) >= slots.from_ms
    )


async def _backups(plane: ControlPlane, slots: core.Slots) -> tuple[BackupLine, ...]:
    """Return the back-ups that were made; none where no repository is set or it can't be read: `amas backups` says which."""
    try:
        _, found = await plane.backups.listing()
    except AmasError:
        return ()
    return tuple(
        BackupLine(
            id=each.id, at_ms=each.at_ms, kind=each.kind, size=each.size, stored=each.stored, tasks=each.rows.get("tasks", 0)
        )
        for each in found.whole
        if each.at_ms >= slots.from_ms
    )


async def _alerts(plane: ControlPlane, slots: core.Slots) -> tuple[AlertLine, ...]:
    _, record = await read_alerts(AlertStore(plane.engine))
    return tuple(
        AlertLine(
            rule=each.rule,
            severity=each.severity,
            status=each.status,
            labels=each.labels,
            times=max(1, sum(at_ms >= slots.from_ms for at_ms in each.firings)),
            at_ms=each.fired_ms,
            reason=each.reason,
        )
        for each in sorted(record.alerts.values(), key=lambda each: each.fired_ms)
        if each.fired_ms >= slots.from_ms
    )


async def _runs(plane: ControlPlane, slots: core.Slots) -> tuple[RunLine, ...]:
    lines = await AlertStore(plane.engine).audit(AuditLine, limit=AUDIT_MAX)
    return tuple(
        RunLine(at_ms=line.at_ms, runbook=line.runbook, what=line.what, by=line.by, step=line.step, outcome=line.outcome)
        for line in reversed(lines)
        if line.at_ms >= slots.from_ms
    )


async def _hosts(plane: ControlPlane) -> tuple[HostLine, ...]:
    return tuple(
        HostLine(
            id=host.id,
            agents=host.about.agents,
            rss_bytes=host.figures.rss_bytes,
            cpu_s=host.figures.cpu_s,
            since_ms=host.since_ms,
        )
        for host in await plane.board.hosts()
    )
