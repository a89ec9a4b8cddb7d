"""What arrivals make expect: Holt's linear exponential smoothing with a damped trend (Gardner and McKenzie, 1985). Pure.

A series is tasks that arrived in intervals of the same length, the oldest first. A forecast is never negative, and no more than
twice the most that was seen of late: a spike is no reason to expect a bigger one.
"""

from collections.abc import Sequence

LEVEL, TREND, DAMPING = 0.5, 0.3, 0.9
"""How much the newest interval counts for level and trend; how much of a trend is left after an interval."""
SEEN_MIN = 6
"""With fewer intervals nothing is said: a trend in three points is chance."""
RECENT = 6
GROWTH_MAX = 2.0


def forecast(arrivals: Sequence[float], steps: int) -> float | None:
    """Return the arrivals expected in the interval `steps` after the last; None when too little was seen."""
    if len(arrivals) < SEEN_MIN:
        return None
    level, trend = arrivals[0], 0.0
    for seen in arrivals[1:]:
        expected = level + DAMPING * trend
        before, level = level, LEVEL * seen + (1 - LEVEL) * expected
        trend = TREND * (level - before) + (1 - TREND) * DAMPING * trend
    reach = sum(DAMPING**step for step in range(1, steps + 1))
    return min(max(level + reach * trend, 0.0), GROWTH_MAX * max(arrivals[-RECENT:]))
