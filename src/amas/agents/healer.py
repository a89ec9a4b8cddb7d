"""What a host does about its agents that crash: no tasks for a while, a fresh agent object, and quarantine if they go on so.

An agent is `healing` while it gets nothing and is made anew, and in `error` while it is quarantined. Quarantines stand in the
desired state: this writes them there, and obeys those that it finds, whoever wrote them. Decisions are `core/healing.py`'s.
All of it runs on the host's loop; an agent that never crashed costs nothing here.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from amas.agents.attempt import Seat
from amas.agents.base import load_agent, make_agent
from amas.agents.isolation import ProcessAgent
from amas.agents.slots import FreeSlots
from amas.clock import monotonic_s
from amas.core.healing import Isolate, Past, decide, recent, suspects, why_released
from amas.core.retry import Draw
from amas.engine.desired import DesiredState, Wish
from amas.engine.queue import TaskQueue
from amas.engine.recoveries import Recoveries
from amas.errors import EngineError
from amas.model.fleet import PoolSpec
from amas.model.flow import BUILT_IN
from amas.model.healing import BY_HOST, POISON, STUCK, Crash, Quarantine
from amas.model.states import AgentStatus, TaskState
from amas.observe import events
from amas.observe.logging import Log

LOOK_S = 1.0
"""Seconds between looks whether somebody has quarantined an agent or let one go: one small read for the whole host."""
SETTLE_S = 2.0
"""Seconds that the verdict on the last crash's task may take; without it the crash counts against the agent."""


class Hold:
    """Withholds an agent's slots for one reason; it gets tasks again when no reason is left."""

    def __init__(self, why: str, slots: FreeSlots, reasons: dict[str, set[str]]) -> None:
        self._why, self._slots, self._reasons = why, slots, reasons

    def withhold(self, agent_ids: Collection[str]) -> None:
        """Give agents no tasks until they are restored, each by itself."""
        self._slots.withhold(agent_ids)
        for agent_id in agent_ids:
            self._reasons[agent_id].add(self._why)

    def restore(self, agent_id: str) -> None:
        """Let an agent have tasks again, as far as this reason goes."""
        reasons = self._reasons.get(agent_id)
        if reasons is not None:
            reasons.discard(self._why)
            if not reasons:
                del self._reasons[agent_id]
                self._slots.restore(agent_id)


class Means(NamedTuple):
    """What this works with."""

    queue: TaskQueue
    desired: DesiredState
    recoveries: Recoveries
    log: Log
    draw: Draw
    healed: asyncio.Event
    """Set whenever slots are restored."""


class Healer:
    """Heals one host's agents."""

    def __init__(
        self,
        host_id: str,
        seats: Mapping[str, Seat],
        slots: FreeSlots,
        means: Means,
        spec_of: Callable[[str], PoolSpec | None],
    ) -> None:
        """`seats`: those that are made already. `spec_of`: the pool of any agent of the host, None for who isn't there."""
        self._host_id, self.seats, self._means, self._spec_of = host_id, seats, means, spec_of
        self._slots, self._log, self._draw, self._healed = slots, means.log, means.draw, means.healed
        self._reasons: dict[str, set[str]] = defaultdict(set)
        self._hold, self._ban = self.hold("healing"), self.hold("quarantine")
        self._revision = -1
        self._written = 0
        """The revision that this host made last."""
        self._due: asyncio.Queue[Seat] = asyncio.Queue()
        self._past: dict[str, list[Past]] = {}
        """Crashes that still count, by agent."""
        self._good_at: dict[str, float] = {}
        """When an agent that has crashed last did a task well."""
        self.healing: set[str] = set()
        self.quarantined: dict[str, Quarantine] = {}

    def hold(self, why: str) -> Hold:
        """Return what withholds slots for a reason of its own."""
        return Hold(why, self._slots, self._reasons)

    # -- what attempts tell

    def crash_of(self, seat: Seat, task_id: str, code: str, *, lost_s: float = 0.0) -> Crash:
        """Return what the engine is to be told of a crash that just happened; `lost_s`: of a stuck attempt, for how long."""
        agent_id = seat.agent.agent_id
        other = suspects(self._counted(seat), task_id, good_at_s=self._good_at.get(agent_id, float("-inf")))
        return Crash(agent_id, other, round(lost_s * 1000), seat.pool.replicas > 1, code)

    def crashed(self, seat: Seat, code: str, task_id: str = "") -> None:
        """Give an agent no tasks until it is healed."""
        agent_id = seat.agent.agent_id
        if seat.pool.capabilities == BUILT_IN:
            return  # the host has one of these, and can't do without
        self._past[agent_id] = [*self._counted(seat), Past(monotonic_s(), code, task_id)]
        if agent_id not in self.healing:
            self.healing.add(agent_id)
            self._hold.withhold([agent_id])
            self._due.put_nowait(seat)
        seat.agent.status = AgentStatus.HEALING
        self._log.warning("an agent crashed", event=events.AGENT_CRASHED, agent_id=agent_id, task_id=task_id, code=code)

    def did_well(self, agent_id: str) -> None:
        """Note that an agent did a task; told of every success."""
        if self._past and agent_id in self._past:
            self._good_at[agent_id] = monotonic_s()

    def forget(self, agent_id: str) -> None:
        """Forget an agent that has left, and look anew whether it is quarantined in case that it is back at once."""
        self.healing.discard(agent_id)
        if self.quarantined.pop(agent_id, None):
            self._revision = -1
        self._past.pop(agent_id, None)
        self._good_at.pop(agent_id, None)
        self._reasons.pop(agent_id, None)

    def _counted(self, seat: Seat) -> list[Past]:
        past = self._past.get(seat.agent.agent_id)
        return recent(past, now_s=monotonic_s(), window_s=seat.pool.healing.window_s) if past else []

    # -- healing

    async def run(self) -> None:
        """Heal those that crashed and obey quarantines, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look(), name="quarantines")
            while True:
                seat = await self._due.get()
                group.create_task(self._heal(seat), name=f"heal {seat.agent.agent_id}")

    async def _heal(self, seat: Seat) -> None:
        agent_id, since_ms = seat.agent.agent_id, self.now_ms()
        seen = 0
        while seen < len(past := self._past.get(agent_id, ())):  # it may crash again meanwhile
            seen = len(past)
            found = decide(past, seat.pool.healing, now_s=monotonic_s(), poisons=await self._poisons(seat), draw=self._draw)
            if isinstance(found, Isolate):
                await self._quarantine(seat, found.why)
                break
            await asyncio.sleep(found.delay_s)
        if self.seats.get(agent_id) is not seat:
            return  # it has left meanwhile
        self.renew(seat)
        self.healing.discard(agent_id)
        self._hold.restore(agent_id)
        if agent_id in self._reasons:
            return  # it is quarantined, or its health check still says no
        _settle(seat)
        self._healed.set()
        self._log.info("an agent was made anew", event=events.AGENT_RENEWED, agent_id=agent_id)
        if self._past[agent_id][-1].code != STUCK:  # a stuck attempt's recovery is over when its task runs again
            await self.recovered(agent_id, since_ms)

    def now_ms(self) -> int:
        """Return the engine's time."""
        return self._means.recoveries.now_ms()

    async def recovered(self, agent_id: str, since_ms: int) -> None:
        """Note that an agent which failed at `since_ms` can work again."""
        try:
            await self._means.recoveries.note("agent_crashed", agent_id, since_ms=since_ms, tasks=1)
        except EngineError as error:
            self._log.debug("a recovery couldn't be noted", agent_id=agent_id, why=str(error))

    async def _poisons(self, seat: Seat) -> set[str]:
        """Return the tasks that crashed this agent and proved to be poison; asked only when it matters."""
        past = self._counted(seat)
        ids = {crash.task_id for crash in past if crash.task_id}
        if len(past) < seat.pool.healing.crashes or not ids:
            return set()
        last, until_s = past[-1].task_id, monotonic_s() + SETTLE_S
        while True:
            try:
                known = await self._means.queue.outcomes(sorted(ids))
            except EngineError:
                return set()
            if last not in known or known[last].state is not TaskState.RUNNING or monotonic_s() > until_s:
                return {task_id for task_id, end in known.items() if end.failure and end.failure.code == POISON}
            await asyncio.sleep(0.02)

    def renew(self, seat: Seat) -> None:
        """Put a fresh agent object in an agent's place; an isolated one's next attempt has a fresh child anyhow."""
        old = seat.agent
        if isinstance(old, ProcessAgent):
            return
        try:
            fresh = make_agent(load_agent(seat.pool.agent), old.agent_id, seat.pool)
        except Exception as error:  # noqa: BLE001  the agent's code may raise anything
            self._log.warning("an agent can't be made anew", event=events.AGENT_CRASHED, agent_id=old.agent_id, why=repr(error))
            return
        fresh.status, fresh.busy_s = old.status, old.busy_s
        fresh.tasks_succeeded, fresh.tasks_failed = old.tasks_succeeded, old.tasks_failed
        seat.take(fresh)

    # -- quarantine

    async def _quarantine(self, seat: Seat, why: str) -> None:
        agent_id, now_ms = seat.agent.agent_id, self.now_ms()
        lasts_s, version = seat.pool.healing.quarantine_s, seat.pool.version
        until_ms = now_ms + round(lasts_s * 1000) if lasts_s else 0
        held = Quarantine(by=f"{BY_HOST}{self._host_id}", why=why, at_ms=now_ms, until_ms=until_ms, version=version)
        self._obey_one(agent_id, held)
        wish = Wish(f"quarantine:{agent_id}", held)
        while True:
            try:
                self._written = await self._means.desired.change([wish], by=held.by, why=f"{agent_id}: {why}")
            except EngineError:
                await asyncio.sleep(LOOK_S)
            else:
                return

    async def _look(self) -> None:
        while True:
            try:
                revision = await self._means.desired.revision()
                if revision != self._revision or self.quarantined:
                    wanted = await self._means.desired.read()
                    self.obey(wanted.quarantines, revision=wanted.revision)
                    self._revision = revision
            except EngineError:
                pass  # whoever is quarantined stays so
            await asyncio.sleep(LOOK_S)

    def obey(self, quarantines: Mapping[str, Quarantine], *, revision: int) -> None:
        """Hold back whom the desired state of this revision quarantines, and let the others go."""
        if revision < self._written:
            return  # what was read before our own last word came
        now_ms = self.now_ms()
        for agent_id in {*quarantines, *self.quarantined}:
            spec, held = self._spec_of(agent_id), quarantines.get(agent_id)
            if spec is None:
                self.forget(agent_id)
                continue
            over = "somebody lifted it" if held is None else why_released(held, now_ms=now_ms, version=spec.version)
            if held is not None and not over:
                self._obey_one(agent_id, held)
            elif agent_id in self.quarantined and not (held is None and agent_id in self.healing):  # not written yet
                self._release(agent_id, over)

    def _obey_one(self, agent_id: str, held: Quarantine) -> None:
        self._ban.withhold([agent_id])
        if agent_id not in self.quarantined:
            self._log.error(
                "an agent is quarantined", event=events.AGENT_QUARANTINED, agent_id=agent_id, why=held.why, by=held.by
            )
        self.quarantined[agent_id] = held
        if seat := self.seats.get(agent_id):
            seat.agent.status = AgentStatus.ERROR

    def _release(self, agent_id: str, why: str) -> None:
        del self.quarantined[agent_id]
        self._past.pop(agent_id, None)
        self._ban.restore(agent_id)
        if seat := self.seats.get(agent_id):
            self.renew(seat)
            _settle(seat)
        self._healed.set()
        self._log.info("an agent's quarantine is over", event=events.AGENT_RELEASED, agent_id=agent_id, why=why)


def _settle(seat: Seat) -> None:
    seat.agent.status = AgentStatus.WORKING if seat.running else AgentStatus.IDLE
