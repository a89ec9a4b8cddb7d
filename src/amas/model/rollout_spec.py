"""How new versions are brought in, as a pool or a fleet declares it: its `rollout:` section."""

import math
from typing import Literal

import msgspec


class RolloutSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a new version of a pool is brought in: step by step, and what it must not fall short of."""

    steps: tuple[float, ...] = (0.05, 0.25, 0.5)
    """The new version's share of the pool's tasks, step after step; after the last one it is promoted."""
    min_tasks: int = 50
    """Outcomes of the new version that each step waits for."""
    min_time_s: float = 60.0
    """Seconds that each step takes at least."""
    max_duration_s: float = 86_400.0
    """Seconds for all steps; undecided by then, the new version goes."""
    start_limit_s: float = 300.0
    """Seconds that the new version may be without a live agent."""
    success_drop: float = 0.05
    """By how much its share of attempts that succeed may be lower, 0 to 1."""
    quality_drop: float = 0.05
    """By how much the mean score that gates give it may be lower, 0 to 1."""
    latency_ratio: float = 1.5
    """How many times as long its tasks may take, by the geometric mean."""
    cost_ratio: float = 1.25
    """How many times as much its attempts may cost."""
    alpha: float = 0.05
    """The most often that a version within the bounds above is rolled back for them, however long and often it is looked at."""
    beta: float = 0.05
    """The most often that a version beyond one of them is promoted."""
    environment: Literal["production", "staging"] = "production"
    """`staging`: it gets only tasks that name it, until a person or a QA agent approves; then the steps begin."""
    long_runs: Literal["keep", "hand_over"] = "keep"
    """A suspended run whose version is to go: `keep` waits for its end, `hand_over` lets the other version go on with it from its
    journaled steps."""
    long_runs_limit_s: float = 3_600.0
    """Seconds that `keep` waits; then what is left is handed over."""

    def problem(self) -> tuple[str, str] | None:
        """Return the first field that can't be, and what it must be; None when all is sound."""
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or not 0 < self.steps[0] <= self.steps[-1] <= 1:
            return "steps", "must be growing shares over 0 and up to 1, such as [0.05, 0.25, 0.5]"
        for name in ("success_drop", "quality_drop"):
            if not 0 < getattr(self, name) < 1:
                return name, "must be between 0 and 1, such as 0.05: a difference of nothing can't be shown"
        for name in ("latency_ratio", "cost_ratio"):
            if not 1 < getattr(self, name) < math.inf:
                return name, "must be over 1, such as 1.5"
        for name in ("alpha", "beta"):
            if not 0 < getattr(self, name) <= 0.5:
                return name, "must be over 0 and up to 0.5, such as 0.05"
        if self.min_tasks < 1:
            return "min_tasks", "must be 1 or more"
        return None
