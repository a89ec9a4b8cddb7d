"""How long messages took to agents, added up over all hosts from what they say with every beat.

A host counts from its own start; here only what it counted since the last look is added, so that the sum never falls when hosts
come and go. What a host that died counted after its last beat is missing.
"""

from collections.abc import Iterable
from itertools import accumulate

from amas.engine.hosts import MESSAGE_BOUNDS_S, HostView
from amas.observe import names
from amas.observe.metrics import Histogrammed

KNOWN_MAX = 10_000
"""Host processes whose last word is kept: one that loses its lease comes back under its own number."""


class Deliveries:
    """The sum, in this process, since it started."""

    def __init__(self) -> None:
        self._counts = [0] * (len(MESSAGE_BOUNDS_S) + 1)
        self._sum_s = 0.0
        self._last: dict[tuple[str, str, int], tuple[tuple[int, ...], float]] = {}

    def take(self, hosts: Iterable[HostView]) -> None:
        """Add what hosts have counted since the last look."""
        for host in hosts:
            told, told_s = host.figures.messages, host.figures.messages_s
            if len(told) != len(self._counts):  # it has no messaging
                continue
            process = host.id, host.about.machine, host.about.pid
            before, before_s = self._last.pop(process, ((0,) * len(told), 0.0))
            self._last[process] = told, told_s
            self._counts = [sum_ + new - old for sum_, new, old in zip(self._counts, told, before, strict=True)]
            self._sum_s += told_s - before_s
        while len(self._last) > KNOWN_MAX:
            del self._last[next(iter(self._last))]

    def shown(self) -> Histogrammed:
        """Return the histogram."""
        return Histogrammed(
            name=names.MESSAGE_LATENCY,
            meaning="Seconds from sending a message between agents to its first delivery.",
            buckets=list(zip((*MESSAGE_BOUNDS_S, float("inf")), accumulate(self._counts), strict=True)),
            sum_s=self._sum_s,
        )
