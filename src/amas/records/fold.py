"""From entries of the journal to rows: pure, so that what the history says can be reasoned about apart from SQL.

`decode` takes entries apart; `fold` follows every task through a batch of them, starting from what the records know, and returns
one `Batch` of rows: a task submitted, claimed and finished within the batch is one insert. Entries may name tasks that exist
already (a submission said again, a parent that spawns the same sub-tasks anew): those are left as they are. Changes of tasks that
the records never saw are dropped; that happens only when a history is begun on an engine that has trimmed its journal.

Called by `store.py`. It must never read a clock or a database. Rows hold no containers, so the garbage collector, which would
walk the thousands of a batch again and again, is spared them (`gc=False`).
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from amas.model.blob import unwrap
from amas.model.goal import ROOT_CAPABILITY, Goal
from amas.model.journal import EntryKind, JournalEntry, ProgressNote, TaskChange, failed_attempts, progress_notes, task_changes
from amas.model.states import TERMINAL, TaskState, WorkflowState
from amas.model.task import Failure, JournaledStep
from amas.records.tables import entry_number
from amas.records.views import AttemptState, TaskEvent

PLAN_STEP = "plan"
"""The step in which a coordinator plans its goal."""

_encode = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.Encoder().encode
_goal = msgspec.msgpack.Decoder(Goal)
_steps = msgspec.msgpack.Decoder(list[JournaledStep])


class Known(msgspec.Struct, frozen=True, gc=False):
    """What the records hold of a task before the batch."""

    state: TaskState
    attempt: int
    workflow_id: str | None
    capability: str
    layer: str | None
    queued_ms: int | None
    started_ms: int | None


class TaskRow(msgspec.Struct, gc=False):
    """A task as it is followed; None is "unchanged" for a task that the records hold."""

    id: str
    is_new: bool
    state: TaskState
    attempt: int
    workflow_id: str | None
    capability: str
    layer: str | None
    queued_ms: int | None
    started_ms: int | None
    # with its submission only
    parent_id: str | None = None
    key: str | None = None
    title: str | None = None
    priority: int = 1
    needs: bytes | None = None
    input: bytes | None = None
    created_ms: int = 0
    # as they change
    failures: int = 0
    agent_id: str | None = None
    host_id: str | None = None
    pool: str | None = None
    progress: float | None = None
    note: str | None = None
    finished_ms: int | None = None
    result: bytes | None = None
    failure: bytes | None = None


class AttemptRow(msgspec.Struct, gc=False):
    """An attempt that began in this batch."""

    task_id: str
    attempt: int
    agent_id: str
    host_id: str
    started_ms: int
    state: AttemptState = "running"
    finished_ms: int | None = None
    failure: bytes | None = None


class AttemptEnd(msgspec.Struct, frozen=True, gc=False):
    """The end of an attempt that began before this batch."""

    task_id: str
    attempt: int
    state: AttemptState
    finished_ms: int
    failure: bytes | None


class WorkflowRow(msgspec.Struct, frozen=True):
    """A workflow that opened."""

    id: str
    root_id: str | None
    goal: Goal | None
    opening: bytes
    created_ms: int


class WorkflowEnd(msgspec.Struct, frozen=True):
    """A workflow that ended, or changed its state otherwise: `finished_ms` is None then."""

    id: str
    state: WorkflowState
    finished_ms: int | None


class EventRow(msgspec.Struct):
    """What one entry changed in one workflow ('' for none)."""

    entry: int
    workflow_id: str
    kind: str
    at_ms: int
    host_id: str | None
    workflow_state: str | None = None
    tasks: list[TaskEvent] = msgspec.field(default_factory=list)

    def encoded_tasks(self) -> bytes:
        """Return the changes as JSON."""
        return _to_json(self.tasks)


class Decoded(msgspec.Struct, frozen=True):
    """An entry, taken apart."""

    entry: JournalEntry
    changes: list[TaskChange]
    failures: list[tuple[str, int, Failure]]
    notes: list[ProgressNote]
    steps: list[JournaledStep]

    @property
    def size(self) -> int:
        """How much work it is to apply."""
        return len(self.changes) + len(self.notes) + 1

    def task_ids(self) -> Iterable[str]:
        """Yield the ids of the tasks that it concerns, some perhaps twice."""
        yield from (change.task_id for change in self.changes)
        yield from (note.task_id for note in self.notes)
        yield from (step.id for step in self.steps)


def decode(entry: JournalEntry) -> Decoded:
    """Return an entry taken apart."""
    return Decoded(
        entry,
        list(task_changes(entry)),
        list(failed_attempts(entry)),
        progress_notes(entry),
        [step for step in _steps.decode(entry.batch) if step.name == PLAN_STEP] if entry.kind is EntryKind.STEP else [],
    )


def to_look_up(entries: Sequence[Decoded], *, trusting: bool) -> set[str]:
    """Return the ids of the tasks that `fold` needs to know of; if `trusting`, those in `submit` entries count as new."""
    ids = {task_id for decoded in entries for task_id in decoded.task_ids()}
    if trusting:
        submits = (decoded for decoded in entries if decoded.entry.kind is EntryKind.SUBMIT)
        ids.difference_update([change.task_id for decoded in submits for change in decoded.changes if change.spec is not None])
    return ids


class Batch(msgspec.Struct):
    """The rows that a run of entries comes to."""

    tasks: dict[str, TaskRow] = msgspec.field(default_factory=dict)
    attempts: dict[tuple[str, int], AttemptRow] = msgspec.field(default_factory=dict)
    attempt_ends: list[AttemptEnd] = msgspec.field(default_factory=list)
    workflows: list[WorkflowRow] = msgspec.field(default_factory=list)
    workflow_ends: list[WorkflowEnd] = msgspec.field(default_factory=list)
    events: list[EventRow] = msgspec.field(default_factory=list)
    decompositions_ms: list[int] = msgspec.field(default_factory=list)
    assignments_ms: list[int] = msgspec.field(default_factory=list)


def fold(entries: Iterable[Decoded], known: Mapping[str, Known]) -> Batch:
    """Return the rows for `entries`; `known` has those of their tasks that the records hold."""
    follower = _Follower(known)
    for decoded in entries:
        follower.follow(decoded)
    return follower.batch


_ENDED_AS: dict[TaskState, AttemptState] = {
    TaskState.SUCCEEDED: "succeeded",
    TaskState.FAILED: "failed",
    TaskState.DELAYED: "failed",
    TaskState.CANCELLED: "cancelled",
    TaskState.WAITING: "suspended",
    TaskState.QUEUED: "given_back",
}
"""How a running attempt ended, by the state that its task went to; only a lost host's end otherwise."""


class _Follower:
    def __init__(self, known: Mapping[str, Known]) -> None:
        self._known = known
        self.batch = Batch()
        self._entry: JournalEntry
        self._events: dict[str, EventRow] = {}
        self._reasons: dict[str, Failure] = {}

    def follow(self, decoded: Decoded) -> None:
        entry = self._entry = decoded.entry
        self._events = {}
        self._reasons = {task_id: failure for task_id, _, failure in decoded.failures}
        if entry.opened is not None:
            self._open_workflow(entry)
        for change in decoded.changes:
            if change.spec is not None:
                self._submit(change)
            elif (row := self._row(change.task_id)) is not None:
                self._change(row, change)
        for note in decoded.notes:
            self._note(note)
        for step in decoded.steps:
            self._plan(step)
        for end in entry.workflows:
            ended_ms = entry.at_ms if end.state.terminal else None
            self.batch.workflow_ends.append(WorkflowEnd(end.workflow_id, end.state, ended_ms))
            self._event(end.workflow_id).workflow_state = end.state.value
        self.batch.events.extend(self._events.values())

    def _row(self, task_id: str) -> TaskRow | None:
        row = self.batch.tasks.get(task_id)
        if row is None and (known := self._known.get(task_id)) is not None:
            row = self.batch.tasks[task_id] = TaskRow(
                task_id,
                False,
                known.state,
                known.attempt,
                known.workflow_id,
                known.capability,
                known.layer,
                known.queued_ms,
                known.started_ms,
            )
        return row

    def _event(self, workflow_id: str | None) -> EventRow:
        event = self._events.get(workflow_id or "")
        if event is None:
            entry = self._entry
            event = self._events[workflow_id or ""] = EventRow(
                entry_number(entry.id), workflow_id or "", entry.kind.value, entry.at_ms, entry.host_id or None
            )
        return event

    def _open_workflow(self, entry: JournalEntry) -> None:
        assert entry.opened is not None
        blob = unwrap(entry.opened.goal)
        try:
            goal = _goal.decode(blob)
        except msgspec.ValidationError:
            goal = None
        self.batch.workflows.append(WorkflowRow(entry.opened.id, entry.opened.root_id or None, goal, blob, entry.at_ms))
        self._event(entry.opened.id).workflow_state = WorkflowState.RUNNING.value

    def _submit(self, change: TaskChange) -> None:
        spec = change.spec
        if spec is None or change.task_id in self.batch.tasks or change.task_id in self._known:
            return
        at_ms = self._entry.at_ms
        self.batch.tasks[change.task_id] = TaskRow(
            change.task_id,
            True,
            change.state,
            0,
            spec.workflow_id or None,
            spec.capability,
            spec.layer or None,
            at_ms,  # until an effect says that it waits
            None,
            parent_id=spec.parent_id or None,
            key=spec.key or None,
            title=spec.title or None,
            priority=change.priority,
            needs=_encode(spec.needs) if spec.needs else None,
            input=_encode(spec.input),
            created_ms=at_ms,
        )
        self._event(spec.workflow_id).tasks.append(
            TaskEvent(
                change.task_id,
                change.state,
                capability=spec.capability,
                key=spec.key,
                title=spec.title,
                layer=spec.layer,
                parent_id=spec.parent_id,
            )
        )

    def _change(self, row: TaskRow, change: TaskChange) -> None:
        at_ms, state = self._entry.at_ms, change.state
        failure = change.failure or self._reasons.get(row.id)
        if row.state is TaskState.RUNNING and state is not TaskState.RUNNING:
            self._end_attempt(row, state, failure)
        if row.state in TERMINAL and state not in TERMINAL:
            # It runs again. Not None, which would leave the columns as they are.
            row.finished_ms, row.progress, row.result, row.failure = 0, 0.0, b"", b""
        row.state = state
        if state is TaskState.RUNNING:
            self._claim(row, change)
        elif state is TaskState.QUEUED:
            row.queued_ms = at_ms
        elif state in TERMINAL:
            row.finished_ms = at_ms
            if state is TaskState.SUCCEEDED:
                row.result, row.progress = change.result, 1.0
        if failure is not None:
            row.failure = _encode(failure)
        self._event(row.workflow_id).tasks.append(
            TaskEvent(row.id, state, row.attempt, change.agent_id, error=failure.message if failure else "")
        )

    def _claim(self, row: TaskRow, change: TaskChange) -> None:
        at_ms = self._entry.at_ms
        if row.layer and row.attempt == 0 and row.queued_ms is not None:
            self.batch.assignments_ms.append(at_ms - row.queued_ms)
        row.attempt = change.attempt
        if row.started_ms is None:
            row.started_ms = at_ms
        row.agent_id, row.host_id = change.agent_id, change.host_id
        row.pool = change.agent_id.rpartition("-")[0] or change.agent_id  # agents are `pool-1`, `pool-2`, ...
        self.batch.attempts[row.id, change.attempt] = AttemptRow(row.id, change.attempt, change.agent_id, change.host_id, at_ms)

    def _end_attempt(self, row: TaskRow, went_to: TaskState, failure: Failure | None) -> None:
        state = "lost" if self._entry.kind is EntryKind.LOST and went_to is not TaskState.CANCELLED else _ENDED_AS[went_to]
        blob = _encode(failure) if failure is not None and state in {"failed", "lost"} else None
        if row.id in self._reasons:
            row.failures += 1
        begun = self.batch.attempts.get((row.id, row.attempt))
        if begun is None:
            self.batch.attempt_ends.append(AttemptEnd(row.id, row.attempt, state, self._entry.at_ms, blob))
        else:
            begun.state, begun.finished_ms, begun.failure = state, self._entry.at_ms, blob

    def _note(self, note: ProgressNote) -> None:
        row = self._row(note.task_id)
        if row is None or row.state is not TaskState.RUNNING or row.attempt != note.attempt:
            return  # a late word of an attempt that is over
        row.progress, row.note = note.fraction, note.note
        self._event(row.workflow_id).tasks.append(
            TaskEvent(row.id, row.state, row.attempt, progress=note.fraction, note=note.note)
        )

    def _plan(self, step: JournaledStep) -> None:
        row = self._row(step.id)
        if row is None or row.capability != ROOT_CAPABILITY or row.attempt != step.attempt or row.started_ms is None:
            return
        self.batch.decompositions_ms.append(self._entry.at_ms - row.started_ms)
