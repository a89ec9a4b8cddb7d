"""Agents that can't work get no tasks: asks each that has a health check before its first task and after each failure.

An agent that keeps `BaseAgent`'s own check, which is always content, is never asked.
"""

import asyncio

from amas.agents.attempt import Seat
from amas.agents.base import BaseAgent
from amas.agents.healer import Healer
from amas.core.retry import Draw, pause_s
from amas.model.states import AgentStatus
from amas.observe import events
from amas.observe.logging import Log

CHECK_S = 10.0
"""Seconds in which a check must answer."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 60.0
UNHEALTHY = "unhealthy"
CHECKS_AT_ONCE = 64
"""A fleet that starts asks all its agents; many of the checks call a model or a server."""


def has_check(kind: type[BaseAgent]) -> bool:
    """Return whether agents of this class have a health check of their own."""
    return kind.health_check is not BaseAgent.health_check


class HealthWatch:
    """Asks agents and withholds their slots meanwhile."""

    def __init__(self, healer: Healer, log: Log, *, draw: Draw, healthy: asyncio.Event) -> None:
        """`healthy` is set whenever slots are restored."""
        self._healer, self._slots = healer, healer.hold("health")
        self._log, self._draw, self._healthy = log, draw, healthy
        self._due: asyncio.Queue[Seat] = asyncio.Queue()
        self._asked: dict[str, Seat] = {}
        self._at_once = asyncio.Semaphore(CHECKS_AT_ONCE)
        self.troubled: set[str] = set()

    def check(self, *seats: Seat) -> None:
        """Withhold agents' slots until their checks say that they can work."""
        due = [seat for seat in seats if has_check(type(seat.agent)) and seat.agent.agent_id not in self._asked]
        if due:
            self._slots.withhold([seat.agent.agent_id for seat in due])
            for seat in due:
                self._asked[seat.agent.agent_id] = seat
                self._due.put_nowait(seat)

    def forget(self, seat: Seat) -> None:
        """Ask an agent no more: it has left."""
        if self._asked.get(seat.agent.agent_id) is seat:
            del self._asked[seat.agent.agent_id]
            self.troubled.discard(seat.agent.agent_id)

    async def run(self) -> None:
        """Ask those that are due, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                seat = await self._due.get()
                group.create_task(self._nurse(seat), name=f"health {seat.agent.agent_id}")

    async def _nurse(self, seat: Seat) -> None:
        agent_id, tries = seat.agent.agent_id, 0
        while not await self._ask(seat.agent) and self._asks(seat):
            tries += 1
            if tries == 1:
                self._log.warning("an agent can't work", event=events.AGENT_UNHEALTHY, agent_id=agent_id)
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
        self._slots.restore(agent_id)
        if agent_id not in self._healer.healing and agent_id not in self._healer.quarantined:
            seat.agent.status = AgentStatus.WORKING if seat.running else AgentStatus.IDLE
        self._healthy.set()
        if tries:
            await self._healer.recovered(agent_id, since_ms)

    def _asks(self, seat: Seat) -> bool:
        return self._asked.get(seat.agent.agent_id) is seat

    async def _ask(self, agent: BaseAgent) -> bool:
        async with self._at_once:
            try:
                async with asyncio.timeout(CHECK_S):
                    return bool(await agent.health_check())
            except Exception as error:  # noqa: BLE001  the agent's code may raise anything
                self._log.debug("a health check failed", agent_id=agent.agent_id, why=repr(error))
                return False
