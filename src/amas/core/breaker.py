"""What a use of a dependency says of it, how its breaker stands, and when those come back whom an open one turned away.

The counting itself is one atomic call of the engine (`functions/57_breakers.lua`), since all hosts share a breaker; what is
decided here is what that call is told, and what its answer means. Source: M. Nygard, Release It!, "Circuit Breaker".
"""

from typing import Literal

from amas.core.retry import Draw
from amas.errors import AmasError, GiveUp, RateLimited
from amas.model.breaker import BreakerState

Outcome = Literal["ok", "error", "unknown"]

WHY_CHARS_MAX = 200
SPREAD = 0.1
"""Those turned away come back over a tenth of their wait, not all in one instant."""


def outcome_of(error: BaseException | None) -> Outcome:
    """Return what the end of a use says: an agent that gives up had its answer, and what is amas's own says nothing."""
    match error:
        case None | GiveUp() | RateLimited():
            return "ok"
        case AmasError():
            return "unknown"
        case Exception():
            return "error"
        case _:
            return "unknown"  # a cancellation or a suspension


def why_of(error: BaseException | None) -> str:
    """Return an error in a few words."""
    return f"{type(error).__name__}: {error}"[:WHY_CHARS_MAX] if error else ""


def state_of(open_until_ms: int, *, now_ms: int) -> BreakerState:
    """Return how a breaker stands; `open_until_ms` is 0 for one that is closed."""
    if not open_until_ms:
        return BreakerState.CLOSED
    return BreakerState.OPEN if now_ms < open_until_ms else BreakerState.HALF_OPEN


def come_back_s(wait_s: float, *, draw: Draw) -> float:
    """Return after how many seconds a task that was turned away is tried again, never before the wait is over."""
    return wait_s * (1.0 + SPREAD * draw())
