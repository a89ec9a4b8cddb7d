"""How long to wait before trying again: failed attempts and callers of an engine that doesn't answer.

Pure: chance comes in as `draw`, which returns a number from 0 up to 1, such as `random.Random().random`.
"""

from collections.abc import Callable

from amas.model.task import RetryPolicy

Draw = Callable[[], float]

_DOUBLINGS_MAX = 32
"""Beyond this any bound is reached; it keeps the power from overflowing."""


def retry_delay_s(policy: RetryPolicy, *, failures: int, draw: Draw) -> float:
    """Return the seconds before the next attempt of a task that had failed `failures` times before this failure."""
    whole_s = min(policy.backoff_s * 2.0 ** min(failures, _DOUBLINGS_MAX), policy.backoff_max_s)
    return whole_s * (1.0 - policy.jitter * draw())


def pause_s(tries: int, *, least_s: float, most_s: float, draw: Draw) -> float:
    """Return the seconds before saying something again that failed `tries` times: doubled each time, half of it by chance."""
    return float(min(least_s * 2.0 ** min(max(tries - 1, 0), _DOUBLINGS_MAX), most_s) * (0.5 + 0.5 * draw()))
