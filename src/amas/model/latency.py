"""How long messages took, by their type: histograms that add up over processes, small enough for a host's beat.

The bus counts in them; whoever shows them adds those of all processes together and reads `buckets`.
"""

from bisect import bisect_left

import msgspec

from amas.model.message import MessageType

LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds: from a message on an idle fleet to one that a receiver died with."""


class Latencies(msgspec.Struct):
    """Seconds from a message's signature to its hand-out, of one type."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    """By bucket, not cumulative; the last one is for all above the bounds."""
    sum_s: float = 0.0

    def buckets(self) -> list[tuple[float, int]]:
        """Return (upper bound, how many were at most that long), ending with infinity."""
        total, buckets = 0, []
        for bound, count in zip((*LATENCY_BOUNDS_S, float("inf")), self.counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets


class MessageLatencies(msgspec.Struct):
    """The latencies of every type that came in, since the process began."""

    by_type: dict[MessageType, Latencies] = msgspec.field(default_factory=dict)

    def add(self, kind: MessageType, seconds: float) -> None:
        """Count one message."""
        found = self.by_type.get(kind)
        if found is None:
            found = self.by_type[kind] = Latencies()
        found.counts[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        found.sum_s += seconds

    def merge(self, other: "MessageLatencies") -> None:
        """Count what another process has counted, too."""
        for kind, theirs in other.by_type.items():
            ours = self.by_type.setdefault(kind, Latencies())
            ours.counts = [mine + more for mine, more in zip(ours.counts, theirs.counts, strict=True)]
            ours.sum_s += theirs.sum_s
