"""What the duties count, for `/metrics` and `amas status` to read: in this process, since it started, by one writer each.

Durations are kept as Prometheus keeps a histogram: cumulative buckets, a sum and a count. No labels: none of it comes from ids.
"""

from bisect import bisect_left

import msgspec

from amas.records.views import Cost

DURATION_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds: from a local claim to the 30 s within which A-level recovery must be over, and a planner's time-out."""


class Durations(msgspec.Struct):
    """A histogram of seconds."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(DURATION_BOUNDS_S) + 1))
    """By bucket, not cumulative; the last one is for all above the bounds."""
    sum_s: float = 0.0
    count: int = 0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(DURATION_BOUNDS_S, seconds)] += 1
        self.sum_s += seconds
        self.count += 1

    def buckets(self) -> list[tuple[float, int]]:
        """Return (upper bound, how many were at most that long), ending with infinity."""
        total, buckets = 0, []
        for bound, count in zip((*DURATION_BOUNDS_S, float("inf")), self.counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets


class Figures(msgspec.Struct):
    """All of them."""

    epoch: int = 0
    """The leader's term while this process leads; 0 while it doesn't."""
    decompositions: Durations = msgspec.field(default_factory=Durations)
    """`orchestration_task_decomposition_duration`: see `records.views.Applied.decompositions_ms`."""
    assignments: Durations = msgspec.field(default_factory=Durations)
    """`orchestration_agent_assignment_duration`: see `records.views.Applied.assignments_ms`."""
    hosts_lost: int = 0
    tasks_given_back: int = 0
    tasks_promoted: int = 0
    workflows_overdue: int = 0
    """Ended because their time was up."""
    placements: int = 0
    """How often agents were dealt out anew."""
    schedules_fired: int = 0
    schedules_refused: int = 0
    """Times at which what a schedule submits was refused."""
    backups_made: int = 0
    backups_failed: int = 0
    backup_at_ms: int = 0
    """When the newest back-up was taken, as far as this process has looked; 0: none, or it hasn't."""
    entries_recorded: int = 0
    spent: Cost = Cost()
    """Since this process began to record."""
    behind_since_ms: int = 0
    """When the oldest entry was written that the recorder has read but not recorded; 0 when there is none."""
    troubles: dict[str, int] = msgspec.field(default_factory=dict)
    """Sweeps that failed because the engine or the records couldn't be used, by duty."""

    def recorder_lag_s(self, now_ms: int) -> float:
        """Return how many seconds the history is behind the journal."""
        return max(0, now_ms - self.behind_since_ms) / 1000 if self.behind_since_ms else 0.0
