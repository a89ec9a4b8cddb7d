"""How long messages took: a histogram that adds up over processes, small enough for a host's beat.

The bus counts in it, hosts tell it with their figures, and the control plane adds those of all hosts together.
"""

from bisect import bisect_left
from itertools import accumulate

import msgspec

LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds: from a message on an idle fleet to one that a receiver died with."""


class Latencies(msgspec.Struct):
    """Seconds from a message's signature to its first hand-out."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    """By bucket, not cumulative; the last one is for all above the bounds."""
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one message."""
        self.counts[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def add_since(self, before: "Latencies", now: "Latencies") -> None:
        """Count what another process has counted between two looks at it."""
        changes = zip(self.counts, before.counts, now.counts, strict=True)
        self.counts = [ours + new - old for ours, old, new in changes]
        self.sum_s += now.sum_s - before.sum_s

    def buckets(self) -> list[tuple[float, int]]:
        """Return (upper bound, how many were at most that long), ending with infinity."""
        return list(zip((*LATENCY_BOUNDS_S, float("inf")), accumulate(self.counts), strict=True))
