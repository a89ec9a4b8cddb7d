"""The agents of a fleet as they are now, from what live hosts say of themselves: found, counted and listed, never stored.

Agents stand in ranges, so counting costs what works now, not what there is, and a page of a list costs the page, by status too.
An agent that two hosts tell of, which happens while it moves, is shown once, on the host that lives and came last.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from amas.engine.hosts import HostView, PoolCard
from amas.model.numbers import named
from amas.model.states import AgentStatus


class Span(NamedTuple):
    """Agents of one pool, one after the other, on one host."""

    first: int
    last: int
    card: PoolCard
    host: HostView
    silent: bool
    """The host's lease has run out; it is about to be replaced."""


class Seen(NamedTuple):
    """One agent."""

    agent_id: str
    span: Span
    status: AgentStatus
    tasks: tuple[str, ...]
    """The ids of what it works on."""


class Roster:
    """The agents of some hosts."""

    def __init__(self, hosts: Iterable[HostView], *, now_ms: int) -> None:
        self.spans: dict[str, list[Span]] = {}
        """By pool in the order of names, by number, none over another."""
        self._tasks: dict[str, list[str]] = {}
        self._troubled: set[str] = set()
        self._healing: set[str] = set()
        found: dict[str, list[Span]] = {}
        for host in hosts:
            silent = host.lease_until_ms < now_ms
            for card in host.about.pools:
                found.setdefault(card.pool, []).extend(Span(first, last, card, host, silent) for first, last in card.numbers)
            for task_id, agent_id in host.running.items():
                self._tasks.setdefault(agent_id, []).append(task_id)
            self._troubled.update(host.figures.troubled)
            self._healing.update(host.figures.healing)
        for pool in sorted(found):
            self.spans[pool] = _apart(found[pool])
        self._unlike: dict[str, dict[int, AgentStatus]] = {}
        """By pool and number, the agents that don't idle on a live host; all of a silent host are healing, and not among them."""
        self._counts = {pool: _quiet(spans) for pool, spans in self.spans.items()}
        """How many agents have which status, by pool and host."""
        self._place_unlike()

    def _place_unlike(self) -> None:
        moved: Counter[tuple[str, str, AgentStatus]] = Counter()
        for agent_id in self._tasks.keys() | self._troubled | self._healing:
            pool, number = named(agent_id)
            span = self._span(pool, number)
            if span is not None and not span.silent:
                status = self._unlike.setdefault(pool, {})[number] = self._status(agent_id, span)
                moved[pool, span.host.id, status] += 1
        for (pool, host_id, status), agents in moved.items():
            at = self._counts[pool][host_id]
            at[AgentStatus.IDLE] -= agents
            at[status] += agents

    def unlike_their_hosts(self) -> Iterator[tuple[str, AgentStatus]]:
        """Yield the agents that don't idle on a live host; all of a silent host are healing, and not among them."""
        return ((f"{pool}-{number}", status) for pool, unlike in self._unlike.items() for number, status in unlike.items())

    def count(self, *, pools: Collection[str] | None = None, host_id: str = "") -> Counter[AgentStatus]:
        """Return how many agents have which status: of these pools, of this host; by default of all."""
        total: Counter[AgentStatus] = Counter()
        for pool in self._counts if pools is None else pools:
            for host, counted in self._counts.get(pool, {}).items():
                if not host_id or host == host_id:
                    total.update(counted)
        return total

    def find(self, agent_id: str) -> Seen | None:
        """Return one agent, or None when no live host has it."""
        span = self._span(*named(agent_id))
        return self._seen(agent_id, span) if span else None

    def agents(
        self, *, pools: Collection[str] | None = None, status: AgentStatus | None = None, host_id: str = "", after: str = ""
    ) -> Iterator[Seen]:
        """Yield agents by pool and number, those that come after the agent `after`."""
        from_pool, from_number = named(after)
        for pool, spans in self.spans.items():
            if pool < from_pool or (pools is not None and pool not in pools):
                continue
            least = from_number + 1 if pool == from_pool else 1
            of = self._numbers_of(pool, status)
            for span in spans:
                if not host_id or span.host.id == host_id:
                    for number in of(span, max(span.first, least)):
                        yield self._seen(f"{pool}-{number}", span)

    def _numbers_of(self, pool: str, status: AgentStatus | None) -> Callable[[Span, int], Iterable[int]]:
        """Return what gives the numbers within a span, from one on, whose agents have a status; None for any."""
        unlike = self._unlike.get(pool, {})
        such = sorted(number for number, its in unlike.items() if its is status)

        def of(span: Span, first: int) -> Iterable[int]:
            numbers = range(first, span.last + 1)
            if status is None or (span.silent and status is AgentStatus.HEALING):
                return numbers
            if span.silent:
                return ()
            if status is AgentStatus.IDLE:
                return (number for number in numbers if number not in unlike)
            return such[bisect_left(such, first) : bisect_right(such, span.last)]

        return of

    def _span(self, pool: str, number: int) -> Span | None:
        spans = self.spans.get(pool, [])
        at = bisect_right(spans, number, key=lambda span: span.first)
        return spans[at - 1] if at and number <= spans[at - 1].last else None

    def _seen(self, agent_id: str, span: Span) -> Seen:
        return Seen(agent_id, span, self._status(agent_id, span), tuple(sorted(self._tasks.get(agent_id, ()))))

    def _status(self, agent_id: str, span: Span) -> AgentStatus:
        """`healing` while its host is silent beyond its lease and about to be replaced, or it crashed and is made anew."""
        if span.silent or agent_id in self._healing:
            return AgentStatus.HEALING
        if agent_id in self._troubled:
            return AgentStatus.ERROR
        return AgentStatus.WORKING if agent_id in self._tasks else AgentStatus.IDLE


def _quiet(spans: Iterable[Span]) -> dict[str, Counter[AgentStatus]]:
    """Return how many agents there are by host, as if none did anything."""
    counts: dict[str, Counter[AgentStatus]] = {}
    for span in spans:
        at = counts.setdefault(span.host.id, Counter())
        at[AgentStatus.HEALING if span.silent else AgentStatus.IDLE] += span.last - span.first + 1
    return counts


def _apart(spans: list[Span]) -> list[Span]:
    """Return spans in order, each cut to what no better one has: of a live host before a silent one's, of a later one before."""
    taken: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.silent, -each.host.since_ms)):
        pieces = [(span.first, span.last)]
        for other in taken:
            pieces = [piece for first, last in pieces for piece in _without(first, last, other)]
        taken += [span._replace(first=first, last=last) for first, last in pieces]
    return sorted(taken, key=lambda each: each.first)


def _without(first: int, last: int, other: Span) -> Iterator[tuple[int, int]]:
    if other.last < first or other.first > last:
        yield first, last
        return
    if first < other.first:
        yield first, other.first - 1
    if other.last < last:
        yield other.last + 1, last
