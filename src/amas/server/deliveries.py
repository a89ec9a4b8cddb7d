"""How long messages took to agents, added up over all hosts from what they say with every beat.

A host counts from its own start; here only what it counted since the last look is added, so that the sum never falls when hosts
come and go. What a host that died counted after its last beat is missing.
"""

from collections.abc import Iterable

from amas.engine.hosts import HostView
from amas.model.latency import Latencies
from amas.observe import names
from amas.observe.metrics import Histogrammed

KNOWN_MAX = 10_000
"""Host processes whose last word is kept: one that loses its lease comes back under its own number."""


class Deliveries:
    """The sum, in this process, since it started."""

    def __init__(self) -> None:
        self._sum = Latencies()
        self._last: dict[tuple[str, str, int], Latencies] = {}

    def take(self, hosts: Iterable[HostView]) -> None:
        """Add what hosts have counted since the last look."""
        for host in hosts:
            if (told := host.figures.messages) is None:
                continue
            process = host.id, host.about.machine, host.about.pid
            self._sum.add_since(self._last.pop(process, Latencies()), told)
            self._last[process] = told
        while len(self._last) > KNOWN_MAX:
            del self._last[next(iter(self._last))]

    def shown(self) -> Histogrammed:
        """Return the histogram."""
        return Histogrammed(
            name=names.MESSAGE_LATENCY,
            buckets=self._sum.buckets(),
            sum_s=self._sum.sum_s,
        )
