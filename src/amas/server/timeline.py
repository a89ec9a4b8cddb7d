"""A task's story: what its time went into, as stretches of time in one order, and what was logged about it.

The stretches are made of the records alone, so they are there for every task that ever ended and need no trace to be kept. Pure.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from amas.model.task import TaskView
from amas.records.views import AttemptRecord, ModelCallRecord

SpanKind = Literal["waited", "attempt", "request", "task"]


class TimelineSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of a task's time."""

    kind: SpanKind
    """`waited` in a queue; an `attempt`; a `request` to a model; another `task` that it spawned."""
    name: str
    """The agent of an attempt, the model of a request, the sub-task's title or capability."""
    state: str
    """How it ended; `running`, or a task's state, while it hasn't."""
    started_ms: int
    finished_ms: int = 0
    """0 while it goes on."""
    id: str = ""
    """The sub-task's."""
    attempt: int = 0
    """Of an attempt, and of the one that a request belongs to."""
    note: str = ""
    """The host of an attempt, the step of a request, why something failed."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """What a task's time went into."""

    task_id: str
    trace_id: str
    """Of the W3C trace that it belongs to; empty for none."""
    spans: list[TimelineSpan]
    """In the order in which they began."""
    more_sub_tasks: bool
    """Whether there are more than one answer shows."""


class TaskLog(msgspec.Struct, frozen=True, kw_only=True):
    """The newest lines of log that name a task, oldest of them first."""

    task_id: str
    lines: list[dict[str, Any]]
    truncated: bool
    """Whether older lines may have been left out."""


def spans_of(
    task: TaskView, attempts: Sequence[AttemptRecord], requests: Sequence[ModelCallRecord], sub_tasks: Sequence[TaskView]
) -> list[TimelineSpan]:
    """Return the stretches in the order in which they began; what began together, the longer one first."""
    found = [*_waits(task, attempts), *map(_attempt, attempts), *map(_request, requests), *map(_sub_task, sub_tasks)]
    return sorted(found, key=lambda span: (span.started_ms, -(span.finished_ms or 1 << 62)))


def _waits(task: TaskView, attempts: Sequence[AttemptRecord]) -> Iterator[TimelineSpan]:
    """Yield the time before each attempt: what lies between two of them may be a retry's delay or sub-tasks' work."""
    since_ms = task.created_ms
    for one in attempts:
        if since_ms and one.started_ms > since_ms:
            yield TimelineSpan(kind="waited", name="", state="ended", started_ms=since_ms, finished_ms=one.started_ms)
        since_ms = one.finished_ms
    if since_ms and not task.state.terminal and (not attempts or attempts[-1].finished_ms):
        yield TimelineSpan(kind="waited", name="", state=task.state, started_ms=since_ms)


def _attempt(found: AttemptRecord) -> TimelineSpan:
    note = f"{found.host_id}: {found.failure.message}" if found.failure else found.host_id
    return TimelineSpan(
        kind="attempt",
        name=found.agent_id,
        state=found.state,
        started_ms=found.started_ms,
        finished_ms=found.finished_ms,
        attempt=found.attempt,
        note=note,
    )


def _request(found: ModelCallRecord) -> TimelineSpan:
    return TimelineSpan(
        kind="request",
        name=found.model,
        state="ended",
        started_ms=found.at_ms - round(found.seconds * 1000),
        finished_ms=found.at_ms,
        attempt=found.attempt,
        note=found.step,
    )


def _sub_task(found: TaskView) -> TimelineSpan:
    return TimelineSpan(
        kind="task",
        name=found.title or found.key or found.capability,
        state=found.state,
        started_ms=found.created_ms,
        finished_ms=found.finished_ms,
        id=found.id,
        note=found.failure.message if found.failure else "",
    )
