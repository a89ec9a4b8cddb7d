"""All duties, under one leader lease: called by the control plane's process, of which there may be several.

Who holds the lease runs every duty in one task group; the others wait for it. The lease is fenced: a term has an epoch, and a
leader that can't renew in time, or finds another epoch, stops its duties before it may lead again. A duty that overlaps with a
new leader's for a moment does no harm: each of its steps is one atomic, idempotent call.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol, runtime_checkable

from amas.artifacts.values import LargeValues
from amas.clock import monotonic_s
from amas.controllers.actions import Parts
from amas.controllers.alerts import Alerts, Latest
from amas.controllers.autoscaler import Autoscaler
from amas.controllers.backup import Backups, FleetBackups
from amas.controllers.cron import NO_STORE, Cron
from amas.controllers.deadlines import Deadlines
from amas.controllers.declarer import Declarer
from amas.controllers.errands import Errands
from amas.controllers.figures import DutyWatch, Figures
from amas.controllers.host_scaler import HostScaler
from amas.controllers.leading import DUTY, LEASE_S
from amas.controllers.logs import LogKeeper
from amas.controllers.notices import Notifier
from amas.controllers.placer import Placer
from amas.controllers.readings import Meter
from amas.controllers.reaper import Reaper
from amas.controllers.recorder import Recorder
from amas.controllers.recovering import Recovering, Warden
from amas.controllers.rollouts import Rollouts
from amas.controllers.router import Router
from amas.controllers.runbooks import RunBooks
from amas.controllers.summing import Summing
from amas.controllers.timers import Timers
from amas.engine.alerts import AlertStore
from amas.engine.bell import Bell, Waker
from amas.engine.bounds import QueueBounds
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.hosts import HostRegistry, Leadership
from amas.engine.inbox import Inboxes
from amas.engine.journal import Journal
from amas.engine.limits import Limits
from amas.engine.queue import TaskQueue
from amas.engine.recoveries import Recoveries
from amas.engine.routes import Routes
from amas.engine.scaling import ScalingState
from amas.engine.schedules import Schedules
from amas.engine.workflows import Workflows
from amas.errors import EngineError, RecordsError
from amas.model.fleet import FleetSpec
from amas.observe import events
from amas.observe.logging import process_log
from amas.records.store import Records
from amas.settings import AlertSettings, EngineSettings, HostSettings, LogSettings, MessageSettings, OrchestrationLimits

PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 10.0
RESIGN_S = 1.0


Sleep = Callable[[float], Awaitable[None]]


class Duty(Protocol):
    """One reconciler."""

    name: str

    async def run_once(self) -> float:
        """Do one bounded sweep and return the seconds until the next is worth it."""
        ...


@runtime_checkable
class WokenDuty(Duty, Protocol):
    """One that needn't wait for its next sweep."""

    woken_by: str
    """The channel on which it is told that there is something to do."""


@runtime_checkable
class ErrandDuty(Duty, Protocol):
    """One that begins what may outlast a sweep."""

    errands: Errands


def make_duties(  # noqa: PLR0913  put together once, by a process's entry
    engine: Engine,
    records: Records,
    figures: Figures,
    *,
    fleet: FleetSpec,
    backups: FleetBackups | None = None,
    home: Path | None = None,
    values: LargeValues = NO_STORE,
) -> list[Duty]:
    """Return every duty of a cell, set as the environment says; `fleet` holds until one is declared in the engine.

    `home`: the folder whose disk alerts look at. `values`: what seals what schedules submit.
    """
    settings = EngineSettings.read()
    queue = TaskQueue(engine, retention_s=settings.retention_s)
    hosts = HostRegistry(engine, retention_s=settings.retention_s)
    timeout_s = OrchestrationLimits.read().workflow_timeout_h * 3600
    workflows = Workflows(engine, retention_s=settings.retention_s)
    resources = Limits(engine, retention_s=settings.retention_s)
    also: list[Duty] = [Backups(backups)] if backups else []
    if home is not None:
        also.append(LogKeeper(home / "logs", LogSettings.read()))
    cron = Cron(Schedules(engine, retention_s=settings.retention_s), figures, limits=fleet.limits, values=values)
    desired, routes = DesiredState(engine), Routes(engine, retention_s=settings.retention_s)
    return [
        *also,
        Timers(queue, workflows, resources, figures),
        Reaper(hosts, figures, lease_s=HostSettings.read().lease_s),
        Recovering(Recoveries(engine), engine=engine.address),
        Warden(desired, Recoveries(engine)),
        cron,
        Deadlines(queue, figures, timeout_s=timeout_s),
        Autoscaler(ScalingState(engine), desired, Inboxes(engine, MessageSettings.read()), records),
        HostScaler(ScalingState(engine), desired),
        Declarer(desired, queue, resources, QueueBounds(engine), [cron]),
        Placer(desired, figures),
        Router(routes, fleet, desired),
        Rollouts(desired, routes, fleet),
        Recorder(Journal(engine), records, figures),
        Summing(records),
        *_watching(Parts(engine, records, settings.retention_s, backups), figures, fleet=fleet, home=home),
    ]


def _watching(parts: Parts, figures: Figures, *, fleet: FleetSpec, home: Path | None) -> list[Duty]:
    """Return the duties of alerts and run-books, which share what they see."""
    store, latest, settings = AlertStore(parts.engine), Latest(fleet), AlertSettings.read()
    meter, has_manager = Meter(parts.engine, parts.records, figures, fleet, home=home), bool(settings.alertmanager_url)
    return [
        Alerts(store, meter, latest, alertmanager=has_manager),
        Notifier(store, latest, settings),
        RunBooks(store, parts, latest, alertmanager=has_manager),
    ]


class Controllers:
    """Runs duties whenever this process leads."""

    def __init__(
        self, engine: Engine, duties: Sequence[Duty], figures: Figures, *, holder: str, lease_s: float = LEASE_S
    ) -> None:
        """`holder`: this process's name, unlike any other's."""
        self._duties, self._figures, self._engine = duties, figures, engine
        self._leadership, self._lease_s = Leadership(engine, holder), lease_s
        self._holder = holder

    async def run(self) -> None:
        """Lead when it can, wait when it can't, until cancelled; then let another lead at once."""
        try:
            while True:
                self._figures.epoch = await self._try_to_lead()
                if self._figures.epoch:
                    await self._lead(self._figures.epoch)
                await asyncio.sleep(self._lease_s / 3)
        finally:
            self._figures.epoch = 0
            with suppress(EngineError, TimeoutError):
                async with asyncio.timeout(RESIGN_S):
                    await self._leadership.resign(DUTY)

    async def _try_to_lead(self) -> int:
        try:
            return await self._leadership.acquire(DUTY, lease_s=self._lease_s)
        except EngineError:
            return 0  # asked again soon

    async def _lead(self, epoch: int) -> None:
        process_log().info("leads the controllers", event=events.LEADER_BEGAN, holder=self._holder, epoch=epoch)
        try:
            async with asyncio.TaskGroup() as group:
                wakers = [Waker() for _ in self._duties]
                running = [
                    group.create_task(keep_at(duty, self._figures, sleep=waker.rest), name=duty.name)
                    for duty, waker in zip(self._duties, wakers, strict=True)
                ]
                if bell := _bell(self._engine, self._duties, wakers):
                    running.append(group.create_task(bell.run(), name="bell"))
                await self._keep_lead(epoch)
                for each in running:
                    each.cancel()
        finally:
            self._figures.epoch = 0
            self._figures.duties.clear()
        process_log().warning("leads the controllers no longer", event=events.LEADER_LOST, holder=self._holder, epoch=epoch)

    async def _keep_lead(self, epoch: int) -> None:
        """Renew the lease and return when it is lost, or may be."""
        until_s = monotonic_s() + self._lease_s
        while True:
            await asyncio.sleep(self._lease_s / 3)
            asked_s = monotonic_s()
            try:
                async with asyncio.timeout(max(0.0, until_s - asked_s)):
                    found = await self._leadership.acquire(DUTY, lease_s=self._lease_s)
            except (EngineError, TimeoutError):
                if monotonic_s() < until_s:
                    continue
                return
            if found != epoch:
                return
            until_s = asked_s + self._lease_s


def _bell(engine: Engine, duties: Sequence[Duty], wakers: Sequence[Waker]) -> Bell | None:
    """Return what rings for the duties, if any is rung for; when it listens again after a break, all look."""
    by_channel: dict[str, list[Waker]] = {}
    for duty, waker in zip(duties, wakers, strict=True):
        if isinstance(duty, WokenDuty):
            by_channel.setdefault(duty.woken_by, []).append(waker)

    def ring(rung: Sequence[Waker], _: bytes = b"") -> None:
        for waker in rung:
            waker.ring()

    handlers = {channel: partial(ring, rung) for channel, rung in by_channel.items()}
    return Bell(engine, handlers, connected=partial(ring, list(chain(*by_channel.values())))) if handlers else None


async def keep_at(duty: Duty, figures: Figures, *, sleep: Sleep = asyncio.sleep) -> None:
    """Run a duty's sweeps until cancelled; one that the engine or the records refuse is tried again, after growing pauses."""
    try:
        await _keep_at(duty, figures, sleep=sleep)
    finally:
        if isinstance(duty, ErrandDuty):
            duty.errands.drop()


async def _keep_at(duty: Duty, figures: Figures, *, sleep: Sleep) -> None:
    troubles, watch = 0, figures.duties.setdefault(duty.name, DutyWatch())
    while True:
        watch.begin(monotonic_s())
        try:
            pause_s = await duty.run_once()
        except (EngineError, RecordsError) as error:
            pause_s = min(PAUSE_MIN_S * 2**troubles, PAUSE_MAX_S) * random.uniform(0.5, 1.0)  # noqa: S311  jitter, no secret
            troubles = min(troubles + 1, 10)
            figures.troubles[duty.name] = figures.troubles.get(duty.name, 0) + 1
            if troubles == 1:
                process_log().warning(
                    "a duty can't go on", event=events.DUTY_TROUBLED, duty=duty.name, error=error.code, why=str(error)
                )
        else:
            if troubles:
                process_log().info("a duty goes on", event=events.DUTY_RESUMED, duty=duty.name)
            troubles = 0
        watch.rest(monotonic_s(), pause_s)
        await sleep(pause_s)
