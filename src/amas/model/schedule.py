"""Schedules: what is submitted again and again at times that a cron expression names."""

from typing import Literal

import msgspec

from amas.model.goal import Goal
from amas.model.states import Priority
from amas.model.task import DEFAULT_RETRY, Json, RetryPolicy

Missed = Literal["once", "all", "skip"]
"""What times mean that passed while nothing could be submitted: one submission for all of them, one each, or none."""

Overlap = Literal["allow", "skip"]
"""Whether a time is passed over while what the last one submitted is still open."""


class ScheduledTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a schedule submits."""

    capability: str
    input: Json = None
    title: str = ""
    pool: str = ""
    """Only this pool's agents may take it."""
    tenant: str = ""
    priority: int = int(Priority.NORMAL)
    timeout_s: float = 0.0
    """For one attempt; 0 takes the pool's."""
    retry: RetryPolicy = DEFAULT_RETRY
    cost_s: float = 0.0


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule; it has a task or a goal."""

    name: str
    cron: str
    """Five fields as in crontab(5), or six with seconds before them: `0 6 * * MON-FRI`."""
    timezone: str = "UTC"
    """A name of the IANA database, such as `Europe/Berlin`: times follow its clock, summer time included."""
    task: ScheduledTask | None = None
    goal: Goal | None = None
    missed: Missed = "once"
    overlap: Overlap = "allow"
    paused: bool = False


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule and what became of it."""

    schedule: Schedule
    next_ms: int
    """When it is due next; 0 while it is paused, or when its last time has passed."""
    fired: int = 0
    """How many times it submitted something."""
    passed_over: int = 0
    """How many times it didn't, because the last submission was still open."""
    last_ms: int = 0
    """The time of the last submission, as the expression named it."""
    last_id: str = ""
    """The task's or the workflow's id."""
