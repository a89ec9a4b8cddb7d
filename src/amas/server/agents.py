"""The agents as people see them, from what live hosts say of themselves. One look serves half a second of requests."""

import asyncio
from collections.abc import Iterator

from amas.clock import monotonic_s
from amas.engine.hosts import AgentCard, HostRegistry, HostView
from amas.model.fleet import FleetSpec
from amas.model.states import AgentStatus
from amas.server.shapes import AgentFigures, AgentShape

FRESH_S = 0.5
"""Hosts beat every 2 s: a younger look rarely shows anything new."""


class AgentBoard:
    """The hosts and their agents as they were at most `FRESH_S` ago."""

    def __init__(self, hosts: HostRegistry, fleet: FleetSpec) -> None:
        self._hosts = hosts
        self._capabilities = {pool.name: pool.capabilities for pool in fleet.pools}
        self._seen: list[HostView] = []
        self._agents: list[AgentShape] = []
        self._seen_at = float("-inf")
        self._looking = asyncio.Lock()

    async def hosts(self) -> list[HostView]:
        """Return every host that holds a lease."""
        await self._look()
        return self._seen

    async def agents(self) -> list[AgentShape]:
        """Return every agent of every such host, by name."""
        await self._look()
        return self._agents

    async def _look(self) -> None:
        async with self._looking:  # those who come meanwhile share the answer
            if monotonic_s() - self._seen_at > FRESH_S:
                self._seen = await self._hosts.all()
                at_ms = self._hosts.now_ms()
                agents = (agent for host in self._seen for agent in self._of_host(host, at_ms))
                self._agents = sorted(agents, key=lambda agent: agent.agent_id)
                self._seen_at = monotonic_s()

    def _of_host(self, host: HostView, at_ms: int) -> Iterator[AgentShape]:
        busy: dict[str, list[str]] = {}
        for task_id, agent_id in host.running.items():
            busy.setdefault(agent_id, []).append(task_id)
        silent, troubled = host.lease_until_ms < at_ms, frozenset(host.figures.troubled)
        healing = frozenset(host.figures.healing)
        for card in host.about.agents:
            tasks = tuple(sorted(busy.get(card.id, ())))
            away = silent or card.id in healing
            yield self._shape(host, card, tasks, status_of(silent=away, troubled=card.id in troubled, working=bool(tasks)))

    def _shape(self, host: HostView, card: AgentCard, tasks: tuple[str, ...], status: AgentStatus) -> AgentShape:
        return AgentShape(
            agent_id=card.id,
            agent_type=card.pool,
            title=card.title,
            layer=card.layer,
            lead=card.lead,
            capabilities=self._capabilities.get(card.pool, ()),
            status=status,
            current_tasks=tasks,
            slots=card.slots,
            host_id=host.id,
            version=card.version,
            tasks_succeeded=host.figures.succeeded.get(card.id, 0),
            tasks_failed=host.figures.failed.get(card.id, 0),
        )


def status_of(*, silent: bool, troubled: bool, working: bool) -> AgentStatus:
    """Return an agent's status: `healing` while its host is silent beyond its lease, or it crashed and is made anew."""
    if silent:
        return AgentStatus.HEALING
    if troubled:
        return AgentStatus.ERROR
    return AgentStatus.WORKING if working else AgentStatus.IDLE


def tally(agents: list[AgentShape]) -> AgentFigures:
    """Return how many agents have which status."""
    by_status = dict.fromkeys(AgentStatus, 0)
    for agent in agents:
        by_status[agent.status] += 1
    return AgentFigures(total=len(agents), **{status.value: n for status, n in by_status.items()})
