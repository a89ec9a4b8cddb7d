"""The journal's entries as events: per workflow, the same shape as the records keep, so a resumed stream can't tell them apart.

Pure: an entry and where its tasks belong go in, `EventRecord`s and server-sent bytes come out.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import Iterable, Mapping

import msgspec

from amas.model.journal import JournalEntry, TaskChange, failed_attempts, progress_notes, task_changes
from amas.model.states import TERMINAL, WorkflowState
from amas.records.views import EventRecord, TaskEvent

_to_json = msgspec.json.Encoder().encode

HEARTBEAT = b": still here\n\n"
END = b"event: end\ndata: {}\n\n"
"""The workflow has ended and nothing follows."""


class Frame(msgspec.Struct, frozen=True):
    """What one entry comes to for one audience."""

    id: str
    data: bytes
    ends: bool = False
    """It says that the workflow ended."""


def changes_of(entry: JournalEntry) -> tuple[list[TaskChange], list[TaskEvent]]:
    """Return the changes that an entry stands for, and its notes on progress."""
    notes = [
        TaskEvent(note.task_id, "running", note.attempt, progress=note.fraction, note=note.note)  # type: ignore[arg-type]
        for note in progress_notes(entry)
    ]
    return list(task_changes(entry)), notes


def events_of(
    entry: JournalEntry, changes: Iterable[TaskChange], notes: Iterable[TaskEvent], where: Mapping[str, str]
) -> list[EventRecord]:
    """Return one event for each workflow that an entry touched; `where`: task id -> workflow, "" for none."""
    found: dict[str, list[TaskEvent]] = {}
    states: dict[str, str] = {end.workflow_id: end.state.value for end in entry.workflows}
    if entry.opened is not None:
        states.setdefault(entry.opened.id, WorkflowState.RUNNING.value)
    reasons = {task_id: failure.message for task_id, _, failure in failed_attempts(entry)}
    for change in changes:
        found.setdefault(where.get(change.task_id, ""), []).append(_task_event(change, reasons))
    for note in notes:
        found.setdefault(where.get(note.id, ""), []).append(note)
    return [
        EventRecord(
            id=entry.id,
            kind=entry.kind.value,
            at_ms=entry.at_ms,
            workflow_id=workflow_id,
            workflow_state=states.get(workflow_id, ""),
            host_id=entry.host_id,
            tasks=found.get(workflow_id, []),
        )
        for workflow_id in sorted({*found, *states})
    ]


def _task_event(change: TaskChange, reasons: Mapping[str, str]) -> TaskEvent:
    error = change.failure.message if change.failure else reasons.get(change.task_id, "")
    spec = change.spec
    if spec is None:
        return TaskEvent(change.task_id, change.state, change.attempt, change.agent_id, error=error)
    return TaskEvent(
        change.task_id,
        change.state,
        capability=spec.capability,
        key=spec.key,
        title=spec.title,
        layer=spec.layer,
        parent_id=spec.parent_id,
    )


def encode(event: EventRecord) -> bytes:
    """Return an event as server-sent bytes, but for its id and the empty line that ends it."""
    return b"event: change\ndata: " + _to_json(event) + b"\n"


def for_workflow(event: EventRecord, body: bytes) -> Frame:
    """Return what the listeners of the event's workflow get."""
    ends = event.workflow_state in TERMINAL
    return Frame(event.id, body + b"id: " + event.id.encode() + b"\n\n", ends)


def for_all(entry_id: str, bodies: Iterable[bytes]) -> Frame:
    """Return what those who listen to everything get: the id comes with the last, so a resumed stream misses nothing."""
    return Frame(entry_id, b"\n".join(bodies) + b"id: " + entry_id.encode() + b"\n\n")


def dropped(last_id: str) -> bytes:
    """Return the last event of a stream that this server ends: the reader should come again and resume after `last_id`."""
    return (
        b"event: dropped\ndata: "
        + _to_json({"detail": "this stream is over, but not what it is about: resume", "last_event_id": last_id})
        + b"\n\n"
    )
