"""Diagnostics: read where things are known, in a bounded handful of calls, without changing anything."""

import asyncio
import threading

from amas.clock import monotonic_s
from amas.controllers.figures import Figures
from amas.controllers.readings import submitted_ms
from amas.engine.hosts import HostView
from amas.engine.vitals import Vitals, read_vitals
from amas.observe.places import of_task
from amas.server.diagnostic_shapes import (
    Diagnostics,
    DutyShape,
    EngineState,
    HostState,
    LoopTask,
    SlowCall,
    SlowTransition,
    StuckTask,
)
from amas.server.figures import recorder_lag_s
from amas.server.plane import ControlPlane

TASKS_MAX = 200
STUCK_MAX = 10
QUEUES_MAX = 200
"""Looked into for their oldest task, the longest first."""
NAP_S = 0.01


async def diagnostics(plane: ControlPlane) -> Diagnostics:
    """Return how everything is; EngineError when the engine doesn't answer, which then is the diagnosis."""
    lag_s = await _loop_lag_s()
    asked_s = monotonic_s()
    vitals = await read_vitals(plane.engine)
    answered_s = monotonic_s() - asked_s
    hosts, now_ms = await plane.hosts.all(), plane.queue.now_ms()
    return Diagnostics(
        leads=plane.figures.epoch > 0,
        loop_lag_s=lag_s,
        threads=threading.active_count(),
        duties=_duties(plane.figures),
        tasks=_tasks(),
        hosts=[_host(host, now_ms) for host in hosts],
        engine=_engine(vitals, answered_s),
        recorder_lag_s=await recorder_lag_s(plane.journal, plane.records),
        stuck=[*await _queued(plane, now_ms), *await _running(plane, hosts, now_ms)],
    )


async def _loop_lag_s() -> float:
    began_s = monotonic_s()
    await asyncio.sleep(NAP_S)
    return max(0.0, monotonic_s() - began_s - NAP_S)


def _duties(figures: Figures) -> list[DutyShape]:
    now_s = monotonic_s()
    return [
        DutyShape(
            name=name,
            doing="rests" if watch.due_s else "sweeps",
            for_s=now_s - watch.since_s,
            late_s=max(0.0, now_s - watch.due_s) if watch.due_s else 0.0,
            sweeps=watch.sweeps,
            mean_s=watch.total_s / watch.sweeps if watch.sweeps else 0.0,
            longest_s=watch.longest_s,
            troubles=figures.troubles.get(name, 0),
        )
        for name, watch in sorted(figures.duties.items())
    ]


def _tasks() -> list[LoopTask]:
    found = [LoopTask(name=task.get_name(), at=of_task(task)) for task in list(asyncio.all_tasks())[:TASKS_MAX]]
    return sorted(found, key=lambda each: each.name)


def _host(host: HostView, now_ms: int) -> HostState:
    return HostState(
        id=host.id,
        loop_lag_s=host.figures.loop_lag_s,
        lease_left_s=(host.lease_until_ms - now_ms) / 1000,
        running=len(host.running),
        troubled=len(host.figures.troubled),
    )


def _engine(found: Vitals, answered_s: float) -> EngineState:
    return EngineState(
        version=found.version,
        up_s=found.up_s,
        answered_s=answered_s,
        keys=found.keys,
        clients=found.clients,
        blocked=found.blocked,
        memory_bytes=found.memory_bytes,
        memory_max_bytes=found.memory_max_bytes,
        slowest=[
            SlowTransition(
                name=each.name,
                calls=each.calls,
                mean_us=each.micros / each.calls if each.calls else 0.0,
                total_s=each.micros / 1e6,
                failed=each.failed,
            )
            for each in found.commands
        ],
        slow_calls=[SlowCall(at_ms=each.at_ms, micros=each.micros, name=each.command) for each in found.slow],
    )


async def _queued(plane: ControlPlane, now_ms: int) -> list[StuckTask]:
    """Return the tasks that were submitted first of those that stand at the head of a queue."""
    depths = await plane.queue.depths()
    queues = sorted((queue for queue, depth in depths.items() if depth), key=lambda queue: -depths[queue])[:QUEUES_MAX]
    found = [
        StuckTask(id=task_id, what="queued", where=queue, for_s=(now_ms - at) / 1000)
        for queue, task_id in (await plane.queue.heads(queues)).items()
        if (at := submitted_ms(task_id)) is not None
    ]
    return sorted(found, key=lambda each: -each.for_s)[:STUCK_MAX]


async def _running(plane: ControlPlane, hosts: list[HostView], now_ms: int) -> list[StuckTask]:
    """Return those that began first, of the running tasks that were submitted first or that hosts have run for longest."""
    running = {task_id: agent for host in hosts for task_id, agent in host.running.items()}
    told = sorted((each for host in hosts for each in host.figures.longest), key=lambda each: -each.for_s)
    at = {each.task_id: each.at for each in told if each.task_id in running}
    submitted = sorted(running, key=lambda task_id: submitted_ms(task_id) or now_ms)[:STUCK_MAX]
    views = [await plane.queue.task(task_id) for task_id in dict.fromkeys([*list(at)[:STUCK_MAX], *submitted])]
    found = [
        StuckTask(
            id=view.id, what="running", where=running[view.id], for_s=(now_ms - view.started_ms) / 1000, at=at.get(view.id, "")
        )
        for view in views
        if view is not None and view.started_ms
    ]
    return sorted(found, key=lambda each: -each.for_s)[:STUCK_MAX]
