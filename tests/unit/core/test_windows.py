"""Times of the week in words."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from amas.core.windows import holds, week, zone


def at(words: str, zone_name: str = "Europe/Berlin") -> int:
    return round(datetime.fromisoformat(words).replace(tzinfo=ZoneInfo(zone_name)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("words", "moment", "held"),
    [
        ("Mon-Fri 08:00-20:00", "2026-03-27T08:00", True),  # a Friday
        ("Mon-Fri 08:00-20:00", "2026-03-27T07:59", False),
        ("Mon-Fri 08:00-20:00", "2026-03-27T20:00", False),
        ("Mon-Fri 08:00-20:00", "2026-03-28T12:00", False),
        ("Sat,Sun", "2026-03-29T23:59", True),
        ("Sat,Sun", "2026-03-30T00:00", False),
        ("Fri-Mon 10:00-11:00", "2026-03-30T10:30", True),  # over the weekend
        ("Fri-Mon 10:00-11:00", "2026-03-31T10:30", False),
        ("Fri 22:00-06:00", "2026-03-28T05:59", True),  # Friday's night goes on on Saturday
        ("Fri 22:00-06:00", "2026-03-27T05:59", False),
        ("Mon,Wed-Thu 08:00-09:00", "2026-04-01T08:30", True),
        ("daily 00:00-24:00", "2026-04-01T23:59", True),
        ("daily 03:00-04:00", "2026-03-29T03:30", True),  # the morning on which the clocks go from 2 to 3
    ],
)
def test_a_time_of_the_week(words: str, moment: str, held: bool) -> None:
    assert holds(words, "Europe/Berlin", at(moment)) is held


def test_the_zone_s_clock_counts() -> None:
    noon = at("2026-07-01T12:30", "UTC")
    assert holds("daily 12:00-13:00", "UTC", noon)
    assert not holds("daily 12:00-13:00", "Europe/Berlin", noon)
    assert holds("daily 14:00-15:00", "Europe/Berlin", noon)


@pytest.mark.parametrize(
    "words", ["", "noon", "Mon 8-20", "Mon 08:00-08:00", "Mon 25:00-26:00", "Mon 08:60-09:00", "Montag 08:00-09:00", "Mon-"]
)
def test_words_that_mean_nothing(words: str) -> None:
    with pytest.raises(ValueError, match=r"daily|hours"):
        week(words)


def test_a_zone_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="no time zone 'Moon/Crater'; write one such as Europe/Berlin"):
        zone("Moon/Crater")
