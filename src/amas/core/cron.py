"""When schedules are due. Pure: times come in and go out as milliseconds since the epoch.

Expressions and summer time are cronsim's business: a time that the clocks leap over comes when they have leapt, and one that they
show twice comes once, as in Debian's cron.
"""

from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from amas.errors import ScheduleInvalid
from amas.model.schedule import Schedule

LATE_MS = 60_000
"""A time that is acted on later than this was missed: nothing could be submitted then."""


class Turn(NamedTuple):
    """What is to be done about a schedule that is due."""

    at_ms: int
    """The time to submit for; 0 to submit nothing."""
    next_ms: int
    """When it is due next; 0 for never again."""


def first_ms(schedule: Schedule, now_ms: int) -> int:
    """Return when the schedule is due first; `ScheduleInvalid` where that can't be told, or it hasn't one thing to submit."""
    if (schedule.task is None) == (schedule.goal is None):
        raise ScheduleInvalid(f"schedule {schedule.name!r} must have either a task or a goal")
    return next_ms(schedule, now_ms)


def next_ms(schedule: Schedule, after_ms: int) -> int:
    """Return the first time after `after_ms` at which the schedule is due; 0 when there is none."""
    return _found(_times(schedule, after_ms, reverse=False))


def turn(schedule: Schedule, due_ms: int, now_ms: int) -> Turn:
    """Return what to do about a schedule that was due at `due_ms`."""
    if schedule.missed == "all":
        return Turn(due_ms, next_ms(schedule, due_ms))
    if schedule.missed == "skip":
        return Turn(due_ms if now_ms - due_ms <= LATE_MS else 0, next_ms(schedule, max(due_ms, now_ms)))
    last_ms = _found(_times(schedule, now_ms + 1, reverse=True))
    return Turn(max(due_ms, last_ms), next_ms(schedule, max(due_ms, now_ms)))


def _times(schedule: Schedule, from_ms: int, *, reverse: bool) -> CronSim:
    try:
        zone = ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleInvalid(
            f"schedule {schedule.name!r}: there is no time zone {schedule.timezone!r}; write one such as Europe/Berlin"
        ) from error
    start = datetime.fromtimestamp(from_ms / 1000, tz=UTC).astimezone(zone)
    try:
        return CronSim(schedule.cron, start, reverse=reverse)
    except CronSimError as error:
        raise ScheduleInvalid(
            f"schedule {schedule.name!r}: {schedule.cron!r} is no cron expression ({str(error).lower()}): "
            "write minute, hour, day of month, month and day of week, such as '0 6 * * MON-FRI'"
        ) from error


def _found(times: CronSim) -> int:
    try:
        return round(next(times).timestamp() * 1000)
    except StopIteration:
        return 0
