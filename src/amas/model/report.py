"""What `amas report` says of a window of time: how a fleet did, from what is really kept of it.

Worked out by `core/report.py`, answered by `GET /api/report`. Times are milliseconds by the engine's clock, shares are 0 to 1;
None is "nothing to tell it from".
"""

import msgspec

from amas.model.healing import Cause

AVAILABILITY = (
    "Availability is the share of the seconds with work to do in which work was done. A second is answered when an attempt that "
    "its host saw through ran in it; it is down when none did although tasks waited, or hung on a host that was lost, for all of "
    "it, or when the engine was away for all of it, so that nothing was accepted either. Seconds without work count for neither."
)
"""Said in the report and in docs/report.md, so that nobody has to guess."""


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A run of seconds that were down."""

    from_ms: int
    to_ms: int
    engine_away: bool
    """Whether the engine was away in some of it; else tasks waited and none was begun."""


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """In which share of the seconds with work to do work was done."""

    share: float | None
    answered_s: float
    down_s: float
    idle_s: float
    slot_s: float
    """How long a "second" is here: one, and more in windows of over a day."""
    outages: tuple[Outage, ...]
    """The longest first, twenty at most."""


class TaskCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of tasks."""

    accepted: int
    """In the window."""
    succeeded: int
    """Ended in the window, whenever they were accepted; so are the next two."""
    failed: int
    cancelled: int
    success_rate: float | None
    """Of those that succeeded or failed."""
    open: dict[str, int]
    """By state, now."""
    checked: int
    """Open tasks that the engine was asked for, the oldest first."""
    lost: tuple[str, ...]
    """Ids of those that it doesn't hold and that have no end in the records either: there must be none."""


class ResponseTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from when a task could first be claimed to its end, of those that succeeded; to within one per cent."""

    p50_s: float | None
    p99_s: float | None
    max_s: float | None


class RecoveryTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Recoveries from one cause."""

    cause: Cause
    count: int
    p50_s: float
    max_s: float
    tasks: int
    """That were held up."""


class FamilyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the pools of one family did; a pool without a family is one of its own."""

    family: str
    pools: tuple[str, ...]
    agents: int
    """On live hosts, now."""
    succeeded: int
    failed: int
    cancelled: int
    success_rate: float | None
    p99_s: float | None
    """Of responses."""
    agent_s: float
    """Seconds of attempts of tasks that ended in the window, or are open."""
    utilisation: float | None
    """Of the time of as many agents as there are now."""
    usd: float
    tokens: int


class RolloutLine(msgspec.Struct, frozen=True, kw_only=True):
    """A roll-out that began or changed in the window."""

    pool: str
    was: str
    version: str
    phase: str
    started_ms: int
    at_ms: int
    """Of its last change."""
    tasks: int
    """That the new version ended."""
    why: str


class BackupLine(msgspec.Struct, frozen=True, kw_only=True):
    """A back-up that was made in the window."""

    id: str
    at_ms: int
    kind: str
    size: int
    stored: int
    tasks: int


class AlertLine(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that fired in the window."""

    rule: str
    severity: str
    status: str
    labels: dict[str, str]
    times: int
    at_ms: int
    """When it fired last."""
    reason: str


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the audit: what a run of a run-book did."""

    at_ms: int
    runbook: str
    what: str
    by: str
    step: str
    outcome: str


class HostLine(msgspec.Struct, frozen=True, kw_only=True):
    """A live host."""

    id: str
    agents: int
    rss_bytes: int
    cpu_s: float
    """Since it started."""
    since_ms: int


class ReportPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the window."""

    at_ms: int
    """Its beginning."""
    succeeded: int
    failed: int
    waiting: float
    """Tasks that waited, on the average."""
    down_s: float


class FleetReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a fleet did in a window of time."""

    fleet: str
    from_ms: int
    to_ms: int
    observed_s: float
    """Of the window, since the fleet first accepted a task."""
    recorder_lag_s: float | None
    """How far the records are behind; None: unknown."""
    definition: str
    availability: Availability
    tasks: TaskCounts
    response: ResponseTimes
    utilisation: float | None
    """Of the time of as many agents as there are now."""
    usd: float
    tokens: int
    families: tuple[FamilyFigures, ...]
    recoveries: tuple[RecoveryTimes, ...]
    rollouts: tuple[RolloutLine, ...]
    backups: tuple[BackupLine, ...]
    alerts: tuple[AlertLine, ...]
    runs: tuple[RunLine, ...]
    hosts: tuple[HostLine, ...]
    timeline: tuple[ReportPoint, ...]
