"""Agents that can't work get no tasks: asks those with a health check before the first task, after failures and now and then.

An agent that keeps `BaseAgent`'s own check, which is always content, is never asked. One that is asked now and then, as the
`healing.check_every_s` of its pool says, keeps its tasks and gets others meanwhile; only a no counts.
"""

import asyncio

from amas.agents.attempt import Seat
from amas.agents.base import BaseAgent
from amas.agents.healer import Healer
from amas.agents.own_figures import OwnFigures
from amas.core.retry import Draw, pause_s
from amas.model.states import AgentStatus
from amas.observe import events
from amas.observe.logging import Log

WHY_CHARS = 300
CHECK_S = 5.0
"""Seconds in which a check must answer."""
SPREAD = 0.2
"""The share of the interval by which agents are asked sooner, as chance has it, so that those who came together part."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 60.0
UNHEALTHY = "unhealthy"
CHECKS_AT_ONCE = 64
"""A fleet that starts asks all its agents; many of the checks call a model or a server."""
LOOKS_AT_ONCE = 16
"""Of those who were well: behind a server that hangs they mustn't stand in the way of who can't have tasks before it is asked."""


def has_check(kind: type[BaseAgent]) -> bool:
    """Return whether agents of this class have a health check of their own."""
    return kind.health_check is not BaseAgent.health_check


class HealthWatch:
    """Asks agents how they are and withholds their slots meanwhile; and what they have to tell."""

    def __init__(self, healer: Healer, log: Log, *, draw: Draw, healthy: asyncio.Event) -> None:
        """`healthy` is set whenever slots are restored."""
        self._healer, self._slots = healer, healer.hold("health")
        self._log, self._draw, self._healthy = log, draw, healthy
        self._due: asyncio.Queue[Seat] = asyncio.Queue()
        self._asked: dict[str, Seat] = {}
        self._well: dict[str, tuple[Seat, asyncio.TimerHandle]] = {}
        """Who said yes last, with when they are asked again."""
        self._again: asyncio.Queue[Seat] = asyncio.Queue()
        self._at_once, self._looks_at_once = asyncio.Semaphore(CHECKS_AT_ONCE), asyncio.Semaphore(LOOKS_AT_ONCE)
        self.troubled: set[str] = set()
        self.figures = OwnFigures(healer.seats, log)

    def check(self, *seats: Seat) -> None:
        """Withhold agents' slots until their checks say that they can work."""
        due = [seat for seat in seats if has_check(type(seat.agent)) and seat.agent.agent_id not in self._asked]
        if due:
            self._slots.withhold([seat.agent.agent_id for seat in due])
            for seat in due:
                self._rest(seat.agent.agent_id)
                self._asked[seat.agent.agent_id] = seat
                self._due.put_nowait(seat)

    def forget(self, seat: Seat) -> None:
        """Ask an agent no more: it has left."""
        if self._is_well(seat):
            self._rest(seat.agent.agent_id)
        if self._asked.get(seat.agent.agent_id) is seat:
            del self._asked[seat.agent.agent_id]
            self.troubled.discard(seat.agent.agent_id)

    async def run(self) -> None:
        """Ask those that are due, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_again(group), name="health looks")
            group.create_task(self.figures.run(), name="agents' figures")
            while True:
                seat = await self._due.get()
                group.create_task(self._nurse(seat), name=f"health {seat.agent.agent_id}")

    async def _look_again(self, group: asyncio.TaskGroup) -> None:
        while True:
            seat = await self._again.get()
            if self._is_well(seat):
                group.create_task(self._look(seat), name=f"health {seat.agent.agent_id}")

    async def _look(self, seat: Seat) -> None:
        """Ask an agent that was well whether it still is; nothing is withheld from it meanwhile."""
        async with self._looks_at_once:
            why = await self._ask(seat.agent)
        if not self._is_well(seat):  # it has left, or is asked for another reason
            return
        if why:
            self.check(seat)
        else:
            self._look_later(seat)

    def _look_later(self, seat: Seat) -> None:
        after_s = seat.pool.healing.check_every_s * (1 - SPREAD * self._draw())
        self._rest(seat.agent.agent_id)
        timer = asyncio.get_running_loop().call_later(after_s, self._again.put_nowait, seat)
        self._well[seat.agent.agent_id] = seat, timer

    def _is_well(self, seat: Seat) -> bool:
        found = self._well.get(seat.agent.agent_id)
        return found is not None and found[0] is seat

    def _rest(self, agent_id: str) -> None:
        """Don't ask an agent for the time being."""
        if found := self._well.pop(agent_id, None):
            found[1].cancel()

    async def _nurse(self, seat: Seat) -> None:
        agent_id, tries = seat.agent.agent_id, 0
        while (why := await self._ask(seat.agent)) and self._asks(seat):
            tries += 1
            if tries == 1:
                self._log.warning("an agent can't work", event=events.AGENT_UNHEALTHY, agent_id=agent_id, why=why)
                since_ms = self._healer.now_ms()
                self._healer.crashed(seat, UNHEALTHY)  # it is made anew while it is asked again
            seat.agent.status = AgentStatus.ERROR
            self.troubled.add(agent_id)
            await asyncio.sleep(pause_s(tries, least_s=PAUSE_MIN_S, most_s=PAUSE_MAX_S, draw=self._draw))
        if not self._asks(seat):
            return
        if tries:
            self._log.info("an agent can work again", event=events.AGENT_HEALTHY, agent_id=agent_id)
        self.troubled.discard(agent_id)
        del self._asked[agent_id]
        self._look_later(seat)
        self._slots.restore(agent_id)
        if agent_id not in self._healer.healing and agent_id not in self._healer.quarantined:
            seat.agent.status = AgentStatus.WORKING if seat.running else AgentStatus.IDLE
        self._healthy.set()
        if tries:
            await self._healer.recovered(agent_id, since_ms)

    def _asks(self, seat: Seat) -> bool:
        return self._asked.get(seat.agent.agent_id) is seat

    async def _ask(self, agent: BaseAgent) -> str:
        """Return why an agent can't work; "" where it can."""
        async with self._at_once:
            try:
                async with asyncio.timeout(CHECK_S):
                    return "" if await agent.health_check() else "its health check says no"
            except TimeoutError:
                return f"its health check doesn't answer within {CHECK_S:g} s"
            except Exception as error:  # noqa: BLE001  the agent's code may raise anything
                return f"{type(error).__name__}: {error}"[:WHY_CHARS]
