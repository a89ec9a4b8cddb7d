"""When schedules are due, missed and never."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from amas.core import cron
from amas.errors import ScheduleInvalid
from amas.model.goal import Goal
from amas.model.schedule import Missed, Schedule, ScheduledTask

MINUTE_MS = 60_000
TASK = ScheduledTask(capability="text.write")


def every(expression: str, *, zone: str = "UTC", missed: Missed = "once") -> Schedule:
    return Schedule(name="s", cron=expression, timezone=zone, missed=missed, task=TASK)


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def test_times_follow_the_zones_clock_through_summer_time() -> None:
    daily = every("30 6 * * *", zone="Europe/Berlin")
    before = ms("2026-03-28T06:30", "Europe/Berlin")
    after = cron.next_ms(daily, before)
    assert after == ms("2026-03-29T06:30", "Europe/Berlin")
    assert after - before == 23 * 60 * MINUTE_MS  # the clocks leapt


def test_a_time_that_the_clocks_leap_over_still_comes_and_a_double_one_comes_once() -> None:
    in_the_gap = every("30 2 * * *", zone="Europe/Berlin")
    assert cron.next_ms(in_the_gap, ms("2026-03-28T12:00", "Europe/Berlin")) == ms("2026-03-29T03:00", "Europe/Berlin")
    first = cron.next_ms(in_the_gap, ms("2026-10-25T00:00", "Europe/Berlin"))
    assert cron.next_ms(in_the_gap, first) == ms("2026-10-26T02:30", "Europe/Berlin")


def test_seconds_are_possible() -> None:
    assert cron.next_ms(every("*/10 * * * * *"), ms("2026-01-01T00:00:05")) == ms("2026-01-01T00:00:10")


@pytest.mark.parametrize(
    ("missed", "at", "following"),
    [("once", "12:30", "12:40"), ("all", "12:00", "12:10"), ("skip", "", "12:40")],
)
def test_what_was_missed(missed: Missed, at: str, following: str) -> None:
    """Every ten minutes; due at 12:00, and somebody is there to act again at 12:35."""
    schedule = every("*/10 * * * *", missed=missed)
    turn = cron.turn(schedule, ms("2026-01-01T12:00"), ms("2026-01-01T12:35"))
    assert turn == (ms(f"2026-01-01T{at}") if at else 0, ms(f"2026-01-01T{following}"))


@pytest.mark.parametrize("missed", ["once", "all", "skip"])
@pytest.mark.parametrize("late_ms", [0, 1, 700])
def test_what_is_on_time_is_acted_on_whatever_is_missed_otherwise(missed: Missed, late_ms: int) -> None:
    due = ms("2026-01-01T12:00")
    assert cron.turn(every("*/10 * * * *", missed=missed), due, due + late_ms) == (due, due + 10 * MINUTE_MS)


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (every("61 * * * *"), "'61 * * * *' is no cron expression (bad minute): write minute, hour"),
        (every("nightly"), "'nightly' is no cron expression"),
        (every("0 0 30 2 *"), "'0 0 30 2 *' is no cron expression (bad day-of-month)"),
        (every("0 0 * * *", zone="Berlin"), "there is no time zone 'Berlin'; write one such as Europe/Berlin"),
        (every("0 0 * * *", zone="../etc/passwd"), "there is no time zone '../etc/passwd'"),
        (Schedule(name="s", cron="0 0 * * *"), "must have either a task or a goal"),
        (Schedule(name="s", cron="0 0 * * *", task=TASK, goal=Goal(text="do")), "must have either a task or a goal"),
    ],
)
def test_what_can_never_be_due_is_refused(schedule: Schedule, sentence: str) -> None:
    with pytest.raises(ScheduleInvalid) as raised:
        cron.first_ms(schedule, ms("2026-01-01T00:00"))
    assert sentence in str(raised.value)
