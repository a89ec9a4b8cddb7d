"""The agents as people see them, from what live hosts say of themselves. One look serves half a second of requests."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from amas.clock import monotonic_s
from amas.engine.hosts import HostRegistry, HostView, PoolCard
from amas.engine.roster import Roster, Seen
from amas.model.states import AgentStatus
from amas.server.shapes import AgentFigures, AgentShape, PoolShape

FRESH_S = 0.5
"""Hosts beat every 2 s: a younger look rarely shows anything new."""
BUSY_MAX = 500
"""Agents at work that are put in their places on the event loop: a few milliseconds. More are in a thread, and it goes on."""


class AgentBoard:
    """The hosts and their agents as they were at most `FRESH_S` ago."""

    def __init__(self, hosts: HostRegistry) -> None:
        self._hosts = hosts
        self._seen: list[HostView] = []
        self._roster = Roster((), now_ms=0)
        self._seen_at = float("-inf")
        self._looking = asyncio.Lock()

    async def hosts(self) -> list[HostView]:
        """Return every host that holds a lease."""
        await self._look()
        return self._seen

    async def roster(self) -> Roster:
        """Return the agents of all such hosts."""
        await self._look()
        return self._roster

    async def pools(self) -> list[PoolShape]:
        """Return every pool that has agents on such a host, by name."""
        await self._look()
        return list(self._pools())

    async def _look(self) -> None:
        async with self._looking:  # those who come meanwhile share the answer
            if monotonic_s() - self._seen_at > FRESH_S:
                self._seen = seen = await self._hosts.all()
                made = partial(Roster, seen, now_ms=self._hosts.now_ms())
                busy = sum(len(host.running) for host in seen)
                self._roster = await asyncio.to_thread(made) if busy > BUSY_MAX else made()
                self._seen_at = monotonic_s()

    def _pools(self) -> Iterator[PoolShape]:
        succeeded: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        own = added_up(self._seen)
        for host in self._seen:
            succeeded.update(host.figures.succeeded)
            failed.update(host.figures.failed)
        for pool, spans in self._roster.spans.items():
            card = max(spans, key=lambda span: span.host.since_ms).card
            yield PoolShape(
                pool=pool,
                title=card.title,
                layer=card.layer,
                lead=card.lead,
                capabilities=card.capabilities,
                labels=card.labels,
                skill=card.skill,
                versions=sorted({span.card.version for span in spans}),
                hosts=sorted({span.host.id for span in spans}),
                agents=tally(self._roster.count(pools=(pool,))),
                slots=sum((span.last - span.first + 1) * span.card.slots for span in spans),
                tasks_succeeded=succeeded[pool],
                tasks_failed=failed[pool],
                metrics=own.get(pool, {}),
            )


def agent_shape(seen: Seen) -> AgentShape:
    """Return an agent as people see it."""
    card: PoolCard = seen.span.card
    return AgentShape(
        agent_id=seen.agent_id,
        agent_type=card.pool,
        title=card.title,
        layer=card.layer,
        lead=card.lead,
        capabilities=card.capabilities,
        labels=card.labels,
        skill=card.skill,
        status=seen.status,
        current_tasks=seen.tasks,
        slots=card.slots,
        host_id=seen.span.host.id,
        version=card.version,
    )


def added_up(hosts: Iterable[HostView]) -> dict[str, dict[str, float]]:
    """Return what agents tell of themselves, by pool, over all hosts."""
    found: dict[str, dict[str, float]] = {}
    for host in hosts:
        for pool, figures in host.figures.own.items():
            sums = found.setdefault(pool, {})
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
    return found


def slots_of(hosts: list[HostView]) -> int:
    """Return how many tasks these hosts' agents can do at a time."""
    return sum(card.count * card.slots for host in hosts for card in host.about.pools)


def tally(counted: Counter[AgentStatus]) -> AgentFigures:
    """Return how many agents have which status."""
    return AgentFigures(total=counted.total(), **{status.value: counted[status] for status in AgentStatus})
