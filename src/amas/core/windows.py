"""Times of the week in words, and whether it is one of them. Pure: times come in as milliseconds since the epoch.

`Mon-Fri 08:00-20:00`, `Sat,Sun`, `Mon,Wed-Fri 22:00-06:00`, `daily 00:00-24:00`. What goes past midnight belongs to the day on
which it begins. Times are those that clocks show in the zone: an hour that summer time takes is missing, one that it gives counts
twice.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = "daily"
DAY_MINUTES = 24 * 60

_HOURS = re.compile(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)")


class Week(NamedTuple):
    """A time of the week."""

    days: frozenset[int]
    """0 is Monday."""
    begins: int
    """Minutes after midnight."""
    ends: int
    """The same; at or before `begins` it is on the next day."""


@lru_cache(maxsize=1024)
def week(words: str) -> Week:
    """Return what the words mean; ValueError says what is wrong with them."""
    days, _, hours = words.strip().partition(" ")
    named = set(range(7)) if days.lower() == EVERY_DAY else {day for part in days.split(",") for day in _days(part, words)}
    if not hours:
        return Week(frozenset(named), 0, DAY_MINUTES)
    match = _HOURS.fullmatch(hours.strip())
    begins, ends = (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])) if match else (0, 0)
    if begins == ends or begins >= DAY_MINUTES or ends > DAY_MINUTES:
        raise ValueError(f"{words!r} has no hours such as 08:00-20:00")
    return Week(frozenset(named), begins, ends)


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Return a time zone; ValueError where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; write one such as Europe/Berlin") from error


def holds(words: str, zone_name: str, at_ms: int) -> bool:
    """Return whether it is that time of the week; ValueError where the words or the zone mean nothing."""
    wanted = week(words)
    local = datetime.fromtimestamp(at_ms / 1000, tz=UTC).astimezone(zone(zone_name))
    minute, day = local.hour * 60 + local.minute, local.weekday()
    if wanted.begins < wanted.ends:
        return day in wanted.days and wanted.begins <= minute < wanted.ends
    return (day in wanted.days and minute >= wanted.begins) or ((day - 1) % 7 in wanted.days and minute < wanted.ends)


def _days(part: str, words: str) -> list[int]:
    first, dash, last = part.strip().lower().partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise ValueError(f"{words!r} doesn't begin with days: write {EVERY_DAY}, or such as Mon-Fri or Sat,Sun")
    begins = DAYS.index(first)
    return [(begins + at) % 7 for at in range((DAYS.index(last) - begins) % 7 + 1)] if dash else [begins]
