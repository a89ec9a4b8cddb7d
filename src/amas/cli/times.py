"""Times as people give them to commands: an age, such as `10m` or `7d`, or a date, such as `2026-11-21` or `2026-11-21T08:30`."""

from datetime import UTC, datetime, timedelta

import typer

from amas.clock import now_ms
from amas.fleet.declared import seconds

EPOCH = datetime.fromtimestamp(0, UTC)
"""Nothing that a fleet tells of is older."""


def moment_of(said: str, option: str) -> datetime:
    """Return the time that is meant, in UTC: an age counts back from now, a date is in UTC unless it names its zone.

    BadParameter for what is neither.
    """
    try:
        ago_s = seconds(said)
    except ValueError:
        return _date(said, option)
    try:
        return max(datetime.fromtimestamp(now_ms() / 1000, UTC) - timedelta(seconds=ago_s), EPOCH)
    except OverflowError:  # before there were dates
        return EPOCH


def _date(said: str, option: str) -> datetime:
    try:
        found = datetime.fromisoformat(said)
        return max(found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC), EPOCH)
    except (ValueError, OverflowError):
        message = f"{said!r} is neither an age, such as 10m, 24h or 7d, nor a date, such as 2026-11-21"
        raise typer.BadParameter(message, param_hint=option) from None
