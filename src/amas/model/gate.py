"""How work is judged, as fleets, playbooks, phases and tasks declare it; what one leaves out, the next more general one says.

`GateSpec` is what people write (`gate:`), every field optional; `core.gates.resolved` makes a `Gate` of it. Nothing here decides.
"""

from typing import Literal

import msgspec

Judge = Literal["rules", "scorer", "model", "person"]
"""`scorer`: the author's own function."""

OnExpiry = Literal["accept", "reject", "escalate"]
"""What it means that nobody answered in time; `escalate`: the leads of those who did the work decide."""

RUBRIC = {
    "complete": "it does all that was asked for, and nothing is missing",
    "correct": "what it says is right and agrees with itself",
    "clear": "those who asked for it can use it as it is",
}
"""What a model judges by where nobody says anything else."""


class PersonSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a person is asked."""

    who: str = ""
    """A tenant or a role, for people to see whose turn it is."""
    expires_s: float = 3600.0
    """Seconds to answer."""
    on_expiry: OnExpiry = "escalate"


class GatePrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dollars for a million tokens of the model that judges."""

    input: float
    output: float


class GateSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A `gate:` block; None is what is left to the more general ones."""

    threshold: float | None = None
    """0 to 1: what work must be worth to pass."""
    rounds: int | None = None
    """How often work is sent back at most: first to the same agent, then to another."""
    judges: tuple[Judge, ...] | None = None
    rubric: dict[str, str] | None = None
    """What a model judges: each criterion's name and what it means."""
    model: str | None = None
    """As pydantic-ai names it; by default AMAS_MODEL."""
    model_url: str | None = None
    """Of an OpenAI-compatible server that has `model`."""
    price: GatePrice | None = None
    """By default what genai-prices says; nothing for a server of one's own."""
    tokens_max: int | None = None
    """Of one answer."""
    timeout_s: float | None = None
    """Seconds for one verdict of a model."""
    scorer: str | None = None
    """`module:function`: gets the result and the task's input, returns a score, or a score and feedback."""
    person: PersonSpec | None = None
    """Asked where `judges` says so, and about what no round mended."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A gate with nothing left open."""

    threshold: float
    rounds: int
    judges: tuple[Judge, ...]
    rubric: dict[str, str]
    model: str
    """Empty: AMAS_MODEL."""
    model_url: str
    price: GatePrice | None
    tokens_max: int
    timeout_s: float
    scorer: str
    person: PersonSpec | None
    """None: no person is asked."""
