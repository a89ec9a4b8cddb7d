"""What the API shows of healing: quarantines, the kill switch, recoveries, breakers."""

from typing import Annotated

import msgspec
from msgspec import Meta

from amas.model.breaker import BreakerView
from amas.model.healing import Cause


class QuarantineShape(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that gets no tasks."""

    agent_id: str
    pool: str
    by: str
    """A person, or the host where it kept crashing."""
    why: str
    at_ms: int
    until_ms: int
    """0: until somebody lifts it."""
    version: str
    """Of its pool; with another one it is let go."""


class QuarantinePage(msgspec.Struct, frozen=True, kw_only=True):
    """Every quarantine, by agent."""

    items: list[QuarantineShape]
    pools_down: list[str]
    """Pools all of whose agents are quarantined: their tasks wait."""


class NewQuarantine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an agent is to get no tasks."""

    why: str
    by: str = "operator"
    for_s: float = 0.0
    """Seconds; 0: until somebody lifts it."""


class NewKill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to kill, or whose kill to lift: an agent, a pool, or the whole fleet."""

    agent: Annotated[str, Meta(max_length=200)] = ""
    pool: Annotated[str, Meta(max_length=200)] = ""
    fleet: bool = False
    lift: bool = False
    """Let it work again; without a name, all that is killed."""
    why: Annotated[str, Meta(max_length=1000)] = ""
    by: Annotated[str, Meta(max_length=200)] = "operator"


class KillShape(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was killed and does nothing until it is lifted."""

    target: str
    """An agent's or a pool's name, or `*` for the fleet."""
    by: str
    why: str
    at_ms: int


class KillPage(msgspec.Struct, frozen=True, kw_only=True):
    """All that is killed, by name."""

    items: list[KillShape]


class RecoveryShape(msgspec.Struct, frozen=True, kw_only=True):
    """Something failed, and the work went on."""

    at_ms: int
    cause: Cause
    subject: str
    """What failed: a host, an agent, the engine, a control plane."""
    duration_s: float
    """From the last sign of life until the work went on."""
    tasks: int
    """That were held up."""


class RecoveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """The newest recoveries, newest first."""

    items: list[RecoveryShape]
    under_way: int
    """Failures that haven't been made good yet."""


class BreakerPage(msgspec.Struct, frozen=True, kw_only=True):
    """Every breaker, by name."""

    items: list[BreakerView]


class BreakerName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which breaker is meant."""

    name: str
