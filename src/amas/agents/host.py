"""A host: one process, one event loop, many agents of many pools.

It registers, keeps one lease (`lease.py`), claims by free capacity and reports outcomes (`pump.py`), runs attempts
(`attempt.py`), asks its agents how they are (`health.py`), and leaves in good order when it is drained. Killed at any point it
loses nothing: the reaper gives its tasks to other hosts, and journaled steps are not done again. Agents come and go while it
works (`reseat`): who goes takes no more tasks and leaves when it has done those that it runs.

Made by a host's process entry, which calls `drain` on SIGTERM; by the local platform and by tests. It never starts processes
other than isolated agents' and never decides what a failure means to a workflow.
"""

import asyncio
import os
import random
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from amas.agents.attempt import STOP_GRACE_S, Attempt, Outcome, Seat, Stop
from amas.agents.flow_agents import flow_pool
from amas.agents.healer import Healer, Means
from amas.agents.health import HealthWatch
from amas.agents.lease import LeaseKeeper, Stall, Watched, process_figures
from amas.agents.mail import Surroundings, no_mail
from amas.agents.mailroom import Mailroom
from amas.agents.nursery import Nursery
from amas.agents.progress import ProgressPost
from amas.agents.pump import Pump
from amas.agents.slots import FreeSlots, PoolSlots
from amas.agents.squads import Squad, Unmade, read_secrets
from amas.agents.task_context import Services, TaskContext, needs_coalescer, step_coalescer
from amas.agents.threads import DaemonThreads
from amas.agents.tokens import TokenPurse
from amas.agents.tools.toolbox import Toolbox
from amas.agents.whereabouts import longest
from amas.artifacts.store import ArtifactStore
from amas.artifacts.values import BYTES_MAX, LargeValues
from amas.clock import monotonic_s
from amas.core.authority import Hierarchy
from amas.engine.bell import Bell, came
from amas.engine.breakers import Breakers
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.hosts import HostAbout, HostFigures, HostRegistry
from amas.engine.insist import insist
from amas.engine.limits import Limits
from amas.engine.queue import TaskQueue
from amas.engine.recoveries import Recoveries
from amas.engine.sealed import SealKeys
from amas.engine.tools import ToolLedger
from amas.errors import EngineError
from amas.messages.bus import AgentCommunicationBus
from amas.model.desired import Seats
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.gate import GateSpec
from amas.model.healing import Crash, Quarantine
from amas.model.numbers import Numbers, expand, ranges
from amas.model.policy import PolicyRule
from amas.model.states import AgentStatus
from amas.model.task import Claimed, Completion
from amas.model.tools import ToolSpec
from amas.observe import events
from amas.observe.logging import HostLog
from amas.observe.tracing import process_tracing
from amas.policy.deliveries import seal
from amas.policy.manager import PolicyManager
from amas.sealing import Seal
from amas.settings import EngineSettings, HostSettings

NO_RESTARTS: Mapping[str, int] = MappingProxyType({})
NO_QUARANTINES: Mapping[str, Quarantine] = MappingProxyType({})
FLUSH_S = 10.0
"""Seconds for the last outcomes when a host leaves; an engine that is away longer leaves the rest to the reaper."""


BusOpener = Callable[[Engine, Sequence[str]], AgentCommunicationBus]
"""Opens the fleet's message bus for a host; the ids are of agents that receive there from the start."""


class HostState(StrEnum):
    """Where a host stands."""

    STARTING = "starting"
    WORKING = "working"
    DRAINING = "draining"
    LEFT = "left"


class HostHome(NamedTuple):
    """Where a host's agents work and write."""

    workspaces: Path
    artifacts: ArtifactStore
    log: HostLog
    payload_bytes: int = BYTES_MAX
    """The largest input, result or step: AMAS_PAYLOAD_MB."""
    secret: str = ""
    """What deliveries are signed with; without one they aren't."""
    payloads: Seal | None = None
    """What payloads are sealed with; without one they aren't."""


class Host:
    """Runs agents until it is drained."""

    def __init__(  # noqa: PLR0913  put together once, by a process's entry
        self,
        host_id: str,
        pools: Sequence[PoolSpec],
        *,
        engine: EngineSettings,
        settings: HostSettings,
        home: HostHome,
        rng: random.Random,
        numbers: Mapping[str, Sequence[int]] | None = None,
        gate: GateSpec | None = None,
        bus: BusOpener | None = None,
        tools: Mapping[str, ToolSpec] | None = None,
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Take up the agents; FleetError when a pool's can't be imported.

        `gate`: the fleet's. `bus`: how its agents write to others; without one they can't. `numbers`: this host's share of the
        agents, by pool (see `core.placement`); all of them by default. `labels`: what pools may ask for. `tools`: the fleet's.
        """
        self.host_id, self._revision, self._since_ms = host_id, 0, 0
        self._restarts = NO_RESTARTS
        self._engine_settings, self._settings, self._home, self._rng = engine, settings, home, rng
        self._open_bus, self._labels = bus, dict(labels)
        self._mail: Mailroom | None = None
        self.state = HostState.STARTING
        self.working = asyncio.Event()
        """Set while the host claims."""
        self._drain_asked = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._unreported = 0
        self._slots = FreeSlots(batch_max=settings.claim_batch, threads=settings.threads, left=self._left)
        self._threads, self._nursery = DaemonThreads(settings.threads, name="agent"), Nursery()
        self.seats: dict[str, Seat] = {}
        """Every agent that was made so far, by its id: most are when they get their first task."""
        self._succeeded: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._busy_s: dict[str, float] = {}
        self._squads: dict[str, Squad] = {}
        self._squad_of: dict[PoolSlots, Squad] = {}
        self._flow: Squad | None = None
        self._built_in: dict[str, Seat] = {}
        """The flow squad's, which are nobody's agents."""
        self._about_lock = asyncio.Lock()
        self._hierarchy = Hierarchy.of(pool.member for pool in pools)
        self._tools = dict(tools or {})
        for pool in pools:
            self._staff(pool, pool.numbers if numbers is None else ranges(numbers.get(pool.name, ())))
        self._carry_flow_agent(gate)

    def drain(self) -> None:
        """Ask the host to finish what it runs and leave; `run` returns when it has."""
        self._drain_asked.set()

    async def run(self) -> None:
        """Work until drained; an error that comes out of here is a mistake of ours or an engine that isn't ours."""
        async with Engine.of(self._engine_settings) as engine:
            if not await self._reach(engine):
                self.state = HostState.LEFT
                return
            await insist(lambda: SealKeys(engine).agree(self._home.payloads), draw=self._rng.random)
            self._open(engine)
            await self._register()
            self._keeper.start()
            try:
                await self._serve(engine)
            finally:
                self._pump.stop_all(Stop.DRAINED)
                await self._keeper.stop()
                await self._toolbox.close()
                await self._nursery.close()
                self._threads.shutdown()
                self._services.threads.shutdown()
            await self._leave()

    # -- starting

    async def _reach(self, engine: Engine) -> bool:
        """Wait for the engine; return False when the host was drained meanwhile."""
        reach = asyncio.ensure_future(insist(engine.check, draw=self._rng.random))
        asked = asyncio.ensure_future(self._drain_asked.wait())
        await asyncio.wait((reach, asked), return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not reach.done():
            reach.cancel()
            return False
        reach.result()
        return True

    def _open(self, engine: Engine) -> None:
        queue = TaskQueue(engine, retention_s=self._engine_settings.retention_s)
        self._registry = HostRegistry(engine, retention_s=self._engine_settings.retention_s)
        self._since_ms = self._registry.now_ms()
        log, open_bus = self._home.log.bind(host_id=self.host_id), self._open_bus
        if open_bus is not None:
            self._mail = Mailroom(lambda: open_bus(engine, ()), self._surroundings, log=log, draw=self._rng.random)
        fleet = FleetSpec(name=self.host_id, pools=tuple(squad.pool for squad in self._squads.values()))
        self._policies = PolicyManager(
            fleet, ToolLedger(engine), log=log, patient=lambda call: insist(call, draw=self._rng.random)
        )
        self._toolbox = Toolbox(self._policies, ToolLedger(engine).first_said)
        self._toolbox.follow(fleet.pools, self._tools)
        self._services = Services(
            host_id=self.host_id,
            queue=queue,
            limits=Limits(engine, retention_s=self._engine_settings.retention_s),
            steps=step_coalescer(queue),
            needs=needs_coalescer(queue),
            progress=ProgressPost(queue),
            threads=DaemonThreads(self._settings.threads, name="step"),
            workspaces=self._home.workspaces,
            artifacts=self._home.artifacts,
            values=LargeValues(self._home.artifacts, bytes_max=self._home.payload_bytes, seal=self._home.payloads),
            log=log,
            draw=self._rng.random,
            stale=self._stale,
            breakers=Breakers(engine) if self._settings.breakers else None,
            loop=asyncio.get_running_loop(),
            hierarchy=self._hierarchy,
            mail=self._mail.carry_out if self._mail else no_mail,
            seal=lambda delivered: seal(delivered, self._home.secret),
            tokens=TokenPurse(engine, self.host_id, draw=self._rng.random),
            tools=self._toolbox,
            tracing=process_tracing(),
        )
        self._pump = Pump(self._services, self._slots, self._registry, begin=self._begin, register=self._register_anew)
        means = Means(queue, DesiredState(engine), Recoveries(engine), log, self._rng.random, self._pump.wake)
        self._healer = Healer(self.host_id, self.seats, self._slots, means, self._spec_of)
        self._health = HealthWatch(self._healer, log, draw=self._rng.random, healthy=self._pump.wake)
        self._keeper = LeaseKeeper(
            self.host_id,
            Watched(self._figures, self._lose_lease, self._held_up, self._stalled),
            engine=self._engine_settings,
            settings=self._settings,
        )

    def _about(self) -> HostAbout:
        cards = tuple(squad.card for squad in self._squads.values() if squad.numbers)
        return HostAbout(os.getpid(), socket.gethostname(), version("amas"), cards, self._revision, self._labels)

    async def _register(self) -> None:
        async with self._about_lock:  # what was said last is true
            await insist(
                lambda: self._registry.register(self.host_id, self._about(), lease_s=self._settings.lease_s),
                draw=self._rng.random,
            )

    async def _register_anew(self) -> None:
        await self._register()
        self._keeper.registration += 1

    async def _announce(self) -> None:
        async with self._about_lock:
            held = await insist(lambda: self._registry.announce(self.host_id, self._about()), draw=self._rng.random)
        if not held:
            self._pump.lose_lease()  # registers anew, and says it then

    # -- agents come and go

    async def reseat(  # noqa: PLR0913  what is wanted, part by part
        self,
        pools: Sequence[PoolSpec],
        seats: Sequence[Seats],
        *,
        gate: GateSpec | None = None,
        tools: Mapping[str, ToolSpec] | None = None,
        revision: int = 0,
        restarts: Mapping[str, int] = NO_RESTARTS,
        policies: tuple[PolicyRule, ...] = (),
        quarantines: Mapping[str, Quarantine] = NO_QUARANTINES,
    ) -> None:
        """Run these agents of these pools, and no others; returns when the engine knows, while those that go may still work.

        An agent whose pool has changed is made anew when it has done what it runs, which ends with the code that it began with;
        a pool that can't be imported keeps the agents that it has. `pools`: the whole fleet's. `gate`, `tools`: the fleet's.
        `revision`: of what is wanted, told to the engine. `restarts`: when agents were asked to be restarted, by the engine's
        clock (ms). `policies`: the fleet's, which hold from here on. `quarantines`: who gets no tasks, from the moment that it
        is here. Does nothing unless the host works.
        """
        if self.state is not HostState.WORKING:
            return
        self._policies.follow(FleetSpec(name=self.host_id, pools=tuple(pools), policies=policies))
        specs = {pool.name: pool for pool in pools}
        wanted: dict[str, list[int]] = {}
        for seat in seats:
            if seat.pool in specs:
                wanted.setdefault(seat.pool, []).extend(expand(seat.numbers))
        await read_secrets([specs[name] for name in wanted], self._services.log)
        for name in [name for name in self._squads if name not in wanted]:
            self._dismiss(name)
        for name, numbers in wanted.items():
            try:
                self._staff(specs[name], ranges(numbers))
            except Exception as error:  # noqa: BLE001  importing an agent runs its author's code
                self._services.log.warning("a pool's agents can't be made", event=events.POOL_UNMADE, pool=name, why=str(error))
        self._hierarchy = Hierarchy.of(pool.member for pool in pools)
        self._services = self._services._replace(hierarchy=self._hierarchy)
        self._toolbox.follow(pools, tools or {})
        self._carry_flow_agent(gate)
        going = self._slots.left_soon
        self._squad_of = {
            slots: squad
            for slots, squad in self._squad_of.items()
            if slots in going or squad in (*self._squads.values(), self._flow)
        }
        self._healer.obey(quarantines, revision=revision)  # before anything is awaited: no claim offers who has just come
        self._restart(restarts)
        self._revision = revision
        self._pump.wake.set()
        await self._announce()

    def _restart(self, asked: Mapping[str, int]) -> None:
        """Make agents anew that were asked to be since this host looked last, or is there; what they run is given back."""
        new = [agent_id for agent_id, at_ms in asked.items() if at_ms > self._restarts.get(agent_id, self._since_ms)]
        self._restarts = asked
        for agent_id in new:
            if seat := self.seats.get(agent_id):  # else it is made when it has something to do
                given_back = self._pump.give_back(agent_id)
                self._healer.renew(seat)
                self._health.check(seat)
                self._services.log.info(
                    "an agent was restarted", event=events.AGENT_RENEWED, agent_id=agent_id, given_back=given_back
                )

    def _staff(self, pool: PoolSpec, numbers: Numbers) -> None:
        """Have these agents in a pool, and no others."""
        old = self._squads.get(pool.name)
        if old is not None and old.makes(pool):
            if old.numbers != numbers:
                before, after = set(expand(old.numbers)), set(expand(numbers))
                self._slots.move(old.ids(ranges(before - after)), None)
                self._join(old, ranges(after - before))
                old.numbers = numbers
            return
        squad = self._squads[pool.name] = self._new_squad(pool)
        squad.numbers = numbers
        if old is not None:
            self._slots.move(old.ids(ranges(set(expand(old.numbers)) - set(expand(numbers)))), None)
        self._join(squad, numbers)
        if old is not None:
            self._slots.drop_pool(old.slots)

    def _dismiss(self, name: str) -> None:
        squad = self._squads.pop(name)
        self._slots.move(squad.ids(squad.numbers), None)
        self._slots.drop_pool(squad.slots)

    def _new_squad(self, pool: PoolSpec) -> Squad:
        squad = Squad(pool, self._slots, self._nursery)
        self._squad_of[squad.slots] = squad
        return squad

    def _join(self, squad: Squad, numbers: Numbers) -> None:
        """Have agents stand in a squad, at once or from when they have done what they do in another."""
        ids = squad.ids(numbers)
        new = [agent_id for agent_id in ids if self._slots.pool_of(agent_id) is None] if squad.early else []
        self._slots.move(ids, squad.slots)
        self._make_early(squad, new)

    def _make_early(self, squad: Squad, agent_ids: Sequence[str]) -> None:
        seats = [self._seat(agent_id) for agent_id in agent_ids] if squad.early else []
        if seats and self.state is not HostState.STARTING:
            self._health.check(*seats)
            if self._mail:
                self._mail.admit(seats)

    def _left(self, agent_id: str) -> None:
        """Forget an agent that has left its squad; another squad may have it already."""
        seat = self.seats.pop(agent_id, None) or self._built_in.pop(agent_id, None)
        if seat is not None:
            self._health.forget(seat)
        self._healer.forget(agent_id)
        if self._mail:
            self._mail.dismiss(agent_id)
        slots = self._slots.pool_of(agent_id)
        if slots is not None:
            self._make_early(self._squad_of[slots], [agent_id])

    def _carry_flow_agent(self, gate: GateSpec | None) -> None:
        """Have the agent that every host has for maps and flows; it is nobody's, so it isn't told of among the agents."""
        pool, old = flow_pool(self.host_id, gate), self._flow
        if old is not None and old.makes(pool):
            return
        squad = self._flow = self._new_squad(pool)
        if old is not None:
            self._slots.move(old.ids(old.numbers), None)
            self._slots.drop_pool(old.slots)
        number = old.numbers[0][0] + 1 if old else 1  # another one, so that it needn't wait for what the old one still does
        squad.numbers = ((number, number),)
        self._slots.move(squad.ids(squad.numbers), squad.slots)

    def _spec_of(self, agent_id: str) -> PoolSpec | None:
        """Return the pool of an agent, None for one that isn't here."""
        slots = self._slots.pool_of(agent_id)
        return self._squad_of[slots].pool if slots is not None else None

    def _seat(self, agent_id: str) -> Seat:
        """Return an agent that may have a task, made now where it wasn't."""
        seat = self.seats.get(agent_id) or self._built_in.get(agent_id)
        if seat is None:
            slots = self._slots.pool_of(agent_id)
            assert slots is not None, f"{agent_id} got a task that it didn't ask for"
            squad = self._squad_of[slots]
            made = self._built_in if squad is self._flow else self.seats
            try:
                seat = made[agent_id] = squad.seat(agent_id)
            except Exception as error:  # noqa: BLE001  the agent's author's constructor may raise anything
                return Seat(Unmade(agent_id, squad.pool, error), squad.pool)
        return seat

    # -- working

    async def _serve(self, engine: Engine) -> None:
        handlers = {"bell": self._pump.rung, f"host:{self.host_id}": self._pump.told_to_stop}
        bell = Bell(engine, handlers, connected=self._pump.listening)
        self._health.check(*self.seats.values())
        if self._mail:
            self._mail.admit(self.seats.values())
        async with asyncio.TaskGroup() as group:
            duties = [
                group.create_task(duty, name=name)
                for name, duty in (
                    ("bell", bell.run()),
                    ("poll", self._pump.poll()),
                    ("progress", self._services.progress.run()),
                    ("health", self._health.run()),
                    ("healing", self._healer.run()),
                    ("policies", self._policies.run()),
                    ("sealing", SealKeys(engine).stay(self._home.payloads, self.host_id)),
                    *([("mail", self._mail.run())] if self._mail else []),
                )
            ]
            pump = group.create_task(self._pump.run(), name="pump")
            self.state = HostState.WORKING
            self.working.set()
            self._services.log.info(
                "a host works", event=events.HOST_STARTED, pid=os.getpid(), agents=self._about().agents, pools=len(self._squads)
            )
            await self._drain_asked.wait()
            await self._drain(pump)
            for duty in duties:
                duty.cancel()

    def _surroundings(self, seat: Seat) -> Surroundings:
        agent_id, services = seat.agent.agent_id, self._services
        leads = tuple(lead.pool for lead in services.hierarchy.leads(seat.member))
        log = services.log.bind(agent_id=agent_id).rationed()
        return Surroundings(agent_id, seat.member, leads, seat.pool.options, services.artifacts, log)

    def _begin(self, batch: Sequence[Claimed]) -> list[Attempt]:
        """Seat claimed tasks; the pump starts them."""
        attempts = []
        for claimed in batch:
            seat = self.seats.get(claimed.agent_id) or self._seat(claimed.agent_id)
            if not seat.running:
                seat.agent.status = AgentStatus.WORKING
                if seat.idle:
                    seat.idle.clear()
            seat.running += 1
            attempts.append(Attempt(claimed, seat, self._services, self._threads, self))
        if attempts:
            self._unreported += len(attempts)
            self._idle.clear()
        return attempts

    def reported(self, attempt: Attempt, outcome: Outcome) -> None:
        """Count an attempt's end and send it on its way."""
        agent = attempt.seat.agent
        took_s = monotonic_s() - attempt.started_s
        pool = attempt.seat.pool.name
        if attempt.context.trace:
            attempt.context.trace.ended(outcome, took_s=took_s, suspended=attempt.context.suspended)
        agent.busy_s += took_s
        self._busy_s[pool] = self._busy_s.get(pool, 0.0) + took_s
        if isinstance(outcome, Completion):
            self._pump.lessons.add(attempt.claimed.spec.capability, took_s)
            agent.tasks_succeeded += 1
            self._succeeded[pool] += 1
            self._healer.did_well(agent.agent_id)
        elif outcome is not None:
            agent.tasks_failed += 1
            self._failed[pool] += 1
            if outcome.crash:
                self._healer.crashed(attempt.seat, outcome.crash.code, attempt.claimed.id)
            self._health.check(attempt.seat)
        self._unreported -= 1
        if not self._unreported:
            self._idle.set()
        self._pump.take(attempt, outcome)

    def crash_of(self, seat: Seat, task_id: str, code: str, *, lost_s: float) -> Crash:
        """Return what the engine is to be told of a crash."""
        return self._healer.crash_of(seat, task_id, code, lost_s=lost_s)

    def _stale(self, context: TaskContext) -> None:
        attempt = self._pump.running.get(context.id)
        if attempt is not None and attempt.context is context:
            attempt.stop(Stop.STALE)

    def freed(self, attempt: Attempt) -> None:
        """Give the agent's slot back."""
        seat = attempt.seat
        seat.running -= 1
        if seat.idle and not seat.running:
            seat.idle.set()
        if not seat.running and seat.agent.status is AgentStatus.WORKING:
            seat.agent.status = AgentStatus.IDLE
        self._slots.give(seat.agent.agent_id)
        self._pump.wake.set()

    def _figures(self, lag_s: float) -> HostFigures:
        """Called in the lease's thread; copies of dictionaries are whole."""
        cpu_s, rss_bytes = process_figures()
        return HostFigures(
            cpu_s,
            rss_bytes,
            lag_s,
            dict(self._succeeded),
            dict(self._failed),
            tuple(sorted({*self._health.troubled.copy(), *self._healer.quarantined.copy()})),
            self._mail.latencies if self._mail else None,
            dict(self._busy_s),
            tuple(sorted(self._healer.healing.copy())),
            {name: squad.memory.most_mb() for name, squad in self._squads.copy().items() if squad.memory},
            longest(list(self._pump.running.values()), self._keeper.loop_thread),
            self._health.figures.told,
        )

    def _lose_lease(self, registration: int) -> None:
        if registration == self._keeper.registration and self.state is not HostState.LEFT:
            self._services.log.warning("the lease was lost; everything stops here", event=events.LEASE_LOST)
            self._pump.lose_lease()

    def _held_up(self, stall: Stall) -> None:
        """Called in the lease's thread while the loop stands still."""
        message = "an agent blocks its host: let it be a plain function, which runs in a thread, or isolate it"
        self._services.log.warning(message, event=events.HOST_HELD_UP, **self._blocking(stall))

    def _stalled(self, stall: Stall) -> None:
        """Called in the lease's thread, before the process ends."""
        self._services.log.critical("an agent blocks its host, which ends", event=events.HOST_STALLED, **self._blocking(stall))

    def _blocking(self, stall: Stall) -> dict[str, str | float]:
        """Return what a log line says of a loop that stands still, and of the attempt that is to blame."""
        attempts = list(self._pump.running.values())
        current = asyncio.current_task(attempts[0].loop) if attempts else None
        found = next((attempt.claimed for attempt in attempts if attempt.task and attempt.task is current), None)
        return {
            "agent_id": found.agent_id if found else "",
            "task_id": found.id if found else "",
            "silent_s": round(stall.silent_s, 3),
            "stack": stall.stack,
        }

    # -- leaving

    async def _drain(self, pump: asyncio.Task[None]) -> None:
        """Let attempts finish for a while, stop the rest, and send what there is to say."""
        self.state = HostState.DRAINING
        self.working.clear()
        self._pump.claiming = False
        self._services.log.info("a host drains", event=events.HOST_DRAINING, running=len(self._pump.running))
        handlers = self._mail.drain(self._settings.drain_s) if self._mail else asyncio.sleep(0)
        await asyncio.gather(came(self._idle, self._settings.drain_s), handlers)
        if self._pump.stop_all(Stop.DRAINED):
            await came(self._idle, STOP_GRACE_S * 2)
        self._pump.close()
        await asyncio.wait((pump,), timeout=FLUSH_S)
        pump.cancel()

    async def _leave(self) -> None:
        """Give back what is left and end the lease."""
        self.state = HostState.LEFT
        given_back = 0
        try:
            async with asyncio.timeout(FLUSH_S):
                given_back = await self._registry.leave(self.host_id)
                await self._policies.tell()
        except (EngineError, TimeoutError) as error:
            self._services.log.warning("a host left without a word; its lease runs out", event=events.HOST_LEFT, why=str(error))
            return
        self._services.log.info("a host left", event=events.HOST_LEFT, given_back=given_back)
