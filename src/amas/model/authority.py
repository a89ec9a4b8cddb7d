"""What a layer of the hierarchy may do; a fleet file may say otherwise for a layer or a pool, and spawning holds to it."""

from enum import StrEnum

import msgspec

from amas.model.states import Layer


class Right(StrEnum):
    """One thing that somebody may do."""

    PLAN = "plan"
    """Have a plan of sub-tasks carried out."""
    SPLIT = "split"
    """Have a part of its own task done by others."""
    SPAWN = "spawn"
    """Make further agents."""
    APPROVE = "approve"
    """Sign a delivery, or answer an approval."""
    ESCALATE = "escalate"
    """Hand a question to its lead."""
    MESSAGE = "message"
    """Write to agents beyond its own team and lead."""
    SPEND = "spend"
    """Use money."""


R = Right

AUTHORITY: dict[Layer, frozenset[Right]] = {
    Layer.EXECUTIVE: frozenset(Right),
    Layer.MANAGEMENT: frozenset({R.PLAN, R.SPLIT, R.SPAWN, R.ESCALATE, R.MESSAGE, R.SPEND}),
    Layer.SPECIALIST: frozenset({R.SPLIT, R.ESCALATE, R.SPEND}),
    Layer.EXECUTION: frozenset({R.ESCALATE, R.SPEND}),
}
"""What each layer may do where a fleet file says nothing."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's place in the hierarchy: a pool, or one agent of it."""

    pool: str
    layer: Layer
    lead: str = ""
    """The pool that it reports to."""
    rights: frozenset[Right] = frozenset()
    capabilities: tuple[str, ...] = ()
