"""Webhooks: which hook hears of what, and when a failed post is tried again. Pure."""

from collections.abc import Iterable

from amas.model.hooks import Hook, Occurrence

BACKOFF_MIN_S, BACKOFF_MAX_S = 1.0, 900.0
"""Twice the pause after each failure: a restarted receiver is told at once, a dead one isn't bothered."""
ATTEMPTS_NAMED_MAX = 20
"""Doublings beyond which the pause doesn't grow anyway."""


def asks_for(patterns: Iterable[str], kind: str) -> bool:
    """Return whether a kind of event is among those that are asked for."""
    group = kind.partition(".")[0] + ".*"
    return any(pattern in ("*", group, kind) for pattern in patterns)


def hears(hook: Hook, what: Occurrence) -> bool:
    """Return whether a hook is to be told."""
    return (
        asks_for(hook.events, what.kind)
        and hook.tenant in ("", what.tenant)
        and hook.workflow_id in ("", what.workflow_id)
        and hook.capability in ("", what.capability)
    )


def pause_s(tries: int, chance: float) -> float:
    """Return the seconds until the next try after so many failures; `chance`: 0 to 1, so that not all come at one time."""
    whole = min(BACKOFF_MIN_S * 2.0 ** min(tries - 1, ATTEMPTS_NAMED_MAX), BACKOFF_MAX_S)
    return whole * (0.5 + chance / 2)
