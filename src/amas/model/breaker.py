"""Circuit breakers: one for each dependency that agents name, shared by the whole fleet."""

from enum import StrEnum

import msgspec


class BreakerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """When a breaker opens, and for how long."""

    errors: int = 5
    """Errors in a row."""
    open_s: float = 30.0
    """Seconds until one attempt may try whether the dependency is back."""


class BreakerState(StrEnum):
    """How a breaker stands."""

    CLOSED = "closed"
    """Everybody may use the dependency."""
    OPEN = "open"
    """Nobody may."""
    HALF_OPEN = "half_open"
    """One attempt may, the probe; what it says decides."""


class BreakerView(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker as people see it."""

    name: str
    state: BreakerState
    errors: int
    """In a row, while it is closed."""
    errors_max: int
    open_s: float
    open_until_ms: int = 0
    """When the probe may go; 0 while it is closed."""
    probing: bool = False
    """Whether a probe is under way."""
    opened: int = 0
    """How often it has opened since the engine began."""
    opened_at_ms: int = 0
    """When it last did; 0: never."""
    why: str = ""
    """The error that opened it last."""
