"""How a fleet's stop ended, as its control plane says it last and `amas down` shows it."""

import msgspec


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """What a control plane found at the end of a stop."""

    caught_up: bool
    """Whether the records hold all that the engine said."""
    lacks_s: float = 0.0
    """Seconds of the journal, up to its last entry, that they lack."""
    took_s: float = 0.0
    limit_s: float = 0.0
    """What it was given."""
    why: str = ""
    """They haven't caught up."""
