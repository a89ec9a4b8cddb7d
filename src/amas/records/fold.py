"""From entries of the journal to rows: pure, so that what the history says can be reasoned about apart from SQL.

`fold` follows every task through a run of entries that were taken apart, starting from what the records know, and returns one
`Batch` of rows: a task submitted, claimed and finished within the batch is one insert. Entries may name tasks that exist already
(a submission said again, a parent that spawns the same sub-tasks anew): those are left as they are. Changes of tasks that the
records never saw are dropped; that happens only when a history is begun on an engine that has trimmed its journal.

A row holds the columns that are known or that changed, and no others, since each costs the drivers time; bytes are `bytearray`,
which sqlite3 takes as they are while it asks each `bytes` how it wants to be stored. The first attempt at a task stands in the
task's own row, as long as the two end together; `attempts` has it only where it ended otherwise.

Called by `store.py`. It must never read a clock or a database.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from amas.model.blob import unwrap
from amas.model.cost import ModelCall
from amas.model.goal import ROOT_CAPABILITY, Goal
from amas.model.journal import EntryKind, JournalEntry, ProgressNote, TaskChange
from amas.model.limits import Usage
from amas.model.states import TERMINAL, TaskState, WorkflowState
from amas.model.task import Completion, Failure, JournaledStep
from amas.records.tables import entry_number
from amas.records.taken import Begun, Brief, Submitted, Taken, brief
from amas.records.views import AttemptState, Cost

PLAN_STEP = "plan"
"""The step in which a coordinator plans its goal."""

Row = dict[str, Any]
"""Columns of one table."""

_encode = msgspec.msgpack.Encoder().encode
_goal = msgspec.msgpack.Decoder(Goal)
_HEADER = 5  # of a blob: see model/blob.py

# An enum member's `value`, and its hash, cost ten times what a plain word does.
_NAMES = {state: state.value for state in TaskState}
_TERMINAL = frozenset(state.value for state in TERMINAL)


class Known(msgspec.Struct, frozen=True, gc=False):
    """What the records hold of a task before the batch."""

    state: str
    attempt: int
    workflow_id: str | None
    capability: str
    layer: str | None
    ready_ms: int | None
    """Since when it could be claimed; for a delayed one, when it will be."""
    started_ms: int | None
    finished_ms: int | None
    agent_id: str | None
    tenant: str | None
    created_ms: int
    tried: bool
    """Attempts at it have rows of their own."""


class Followed(msgspec.Struct, gc=False):
    """A task as it is followed."""

    id: str
    row: Row
    """For a new one all that isn't the column's default; else what changed."""
    is_new: bool
    state: str
    attempt: int
    workflow_id: str
    capability: str
    layer: str | None
    ready_ms: int | None
    started_ms: int | None
    failed_attempts: int = 0
    """In this batch."""


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
    tasks: list[tuple[Any, ...]] = msgspec.field(default_factory=list)
    """The first fields of a `TaskEvent` each; those left out have its defaults."""

    def encoded_tasks(self) -> bytes:
        """Return the changes as msgpack."""
        return _encode(self.tasks)


class CallRow(NamedTuple):
    """A request to a model, made for a step that was journaled."""

    task_id: str
    attempt: int
    step: str
    number: int
    at_ms: int
    call: ModelCall


class UsageRow(NamedTuple):
    """What an attempt used in all, its requests to models included."""

    task_id: str
    attempt: int
    at_ms: int
    usage: Usage


class Batch(msgspec.Struct):
    """The rows that a run of entries comes to."""

    tasks: dict[str, Followed] = msgspec.field(default_factory=dict)
    attempts: dict[tuple[str, int], Row] = msgspec.field(default_factory=dict)
    attempt_ends: list[AttemptEnd] = msgspec.field(default_factory=list)
    kept_attempts: list[str] = msgspec.field(default_factory=list)
    """Tasks whose recorded first attempt gets a row of its own, before anything changes."""
    steps: list[tuple[str, str, bytes]] = msgspec.field(default_factory=list)
    workflows: list[WorkflowRow] = msgspec.field(default_factory=list)
    workflow_ends: list[WorkflowEnd] = msgspec.field(default_factory=list)
    events: list[EventRow] = msgspec.field(default_factory=list)
    calls: list[CallRow] = msgspec.field(default_factory=list)
    usages: list[UsageRow] = msgspec.field(default_factory=list)
    spent: Cost = Cost()
    """What the two come to, once they are written."""
    decompositions_ms: list[int] = msgspec.field(default_factory=list)
    assignments_ms: list[int] = msgspec.field(default_factory=list)


def fold(entries: Iterable[Taken], known: Mapping[str, Known]) -> Batch:
    """Return the rows for `entries`; `known` has those of their tasks that the records hold."""
    follower = _Follower(known)
    for taken in entries:
        follower.follow(taken)
    return follower.batch


_ENDED_AS: dict[str, AttemptState] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "delayed": "failed",
    "cancelled": "cancelled",
    "waiting": "suspended",
    "queued": "given_back",
}
"""How a running attempt ended, by the state that its task went to; only one that was lost ended otherwise."""

_LOSSES = frozenset({EntryKind.LOST, EntryKind.RECOVER})


def storable(text: str) -> str:
    """Return a text as any database takes it: PostgreSQL's have no NUL, and a row that is refused would hold up all history."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in text else text


def _has_extras(task: Submitted, spec: Brief) -> bool:
    named = spec.key or spec.title or spec.layer or spec.workflow_id or spec.parent_id or spec.needs
    return bool(named) or len(task.options) > 1 or task.priority != 1 or task.queue != spec.capability


def _add_extras(row: Row, task: Submitted, spec: Brief) -> None:
    """Add the columns that plain tasks leave empty."""
    for column in ("workflow_id", "parent_id", "layer", "key", "title"):
        if value := getattr(spec, column):
            row[column] = storable(value)
    if spec.needs:
        row["needs"] = bytearray(_encode(spec.needs))
    if task.priority != 1:
        row["priority"] = task.priority
    if task.queue != spec.capability:
        row["queue"] = storable(task.queue)
    if len(task.options) > 1:  # neither nil nor an empty map
        row["options"] = options = bytearray(task.options)
        if _TENANT in options and (tenant := _tenancy(options).t):
            row["tenant"] = storable(tenant)


_TENANT = b"\xa1t"
"""How msgpack writes the name of the option."""


class _Tenancy(msgspec.Struct):
    """Of `SubmitOptions`, whose work it is."""

    t: str = ""


_tenancy = msgspec.msgpack.Decoder(_Tenancy).decode


class _Follower:
    def __init__(self, known: Mapping[str, Known]) -> None:
        self._known = known
        self.batch = Batch()
        self._tasks = self.batch.tasks
        self._entry: JournalEntry
        self._events: dict[str, EventRow] = {}
        self._reasons: dict[str, Failure] = {}

    def follow(self, taken: Taken) -> None:
        entry = self._entry = taken.entry
        self._events = {}
        self._reasons = {task_id: failure for task_id, _, failure in taken.failures}
        if entry.opened is not None:
            self._open_workflow(entry)
        self._submit(taken.submitted)
        self._begin(taken.begun)
        self._succeed(taken.completed)
        for change in taken.effects:
            if (task := self._task(change.task_id)) is not None:
                self._change(task, change)
        for note in taken.notes:
            self._note(note)
        for step in taken.steps:
            self._step(step)
        for used in taken.usages:
            self.batch.usages.append(UsageRow(used.task_id, used.attempt, entry.at_ms, used.usage))
        for end in entry.workflows:
            ended_ms = entry.at_ms if end.state.terminal else None
            self.batch.workflow_ends.append(WorkflowEnd(end.workflow_id, end.state, ended_ms))
            self._event(end.workflow_id).workflow_state = end.state.value
        self.batch.events.extend(self._events.values())

    def _task(self, task_id: str) -> Followed | None:
        task = self._tasks.get(task_id)
        if task is None and (known := self._known.get(task_id)) is not None:
            task = self._tasks[task_id] = Followed(
                task_id,
                {},
                False,
                known.state,
                known.attempt,
                known.workflow_id or "",
                known.capability,
                known.layer,
                known.ready_ms,
                known.started_ms,
            )
        return task

    def _event(self, workflow_id: str) -> EventRow:
        event = self._events.get(workflow_id)
        if event is None:
            entry = self._entry
            event = self._events[workflow_id] = EventRow(
                entry_number(entry.id), workflow_id, entry.kind.value, entry.at_ms, entry.host_id or None
            )
        return event

    def _tell(self, workflow_id: str, change: tuple[Any, ...]) -> None:
        (self._events.get(workflow_id) or self._event(workflow_id)).tasks.append(change)

    def _open_workflow(self, entry: JournalEntry) -> None:
        assert entry.opened is not None
        blob = unwrap(entry.opened.goal)
        try:
            goal = _goal.decode(blob)
        except msgspec.ValidationError:
            goal = None
        self.batch.workflows.append(WorkflowRow(entry.opened.id, entry.opened.root_id or None, goal, blob, entry.at_ms))
        self._event(entry.opened.id).workflow_state = WorkflowState.RUNNING.value

    def _submit(self, submitted: Iterable[Submitted]) -> None:
        at_ms, tasks, known = self._entry.at_ms, self._tasks, self._known
        for task in submitted:
            task_id = task.id
            if task_id in tasks or task_id in known:
                continue
            bare = memoryview(task.spec)[_HEADER:]
            spec = brief(bare)
            capability = spec.capability
            row: Row = {"id": task_id, "state": "queued", "capability": capability, "created_ms": at_ms, "spec": bytearray(bare)}
            told: tuple[Any, ...] = (task_id, "queued", 0, "", capability)
            if _has_extras(task, spec):
                _add_extras(row, task, spec)
                told = (*told, spec.key, spec.title, spec.layer, spec.parent_id)
            tasks[task_id] = Followed(
                task_id, row, True, "queued", 0, spec.workflow_id, capability, spec.layer or None, at_ms, None
            )
            self._tell(spec.workflow_id, told)

    def _begin(self, begun: Iterable[Begun]) -> None:
        at_ms, host_id, tasks = self._entry.at_ms, self._entry.host_id, self._tasks
        for each in begun:
            task = tasks.get(each.id) or self._task(each.id)
            if task is None:
                continue
            row, attempt, agent_id = task.row, each.attempt, each.agent_id
            if task.layer and task.attempt == 0 and task.ready_ms is not None:
                self.batch.assignments_ms.append(at_ms - task.ready_ms)
            if task.state != "queued":
                self._leave(task, "queued", None)  # what put it there was lost with an engine's last words
            task.state = row["state"] = "running"
            task.attempt = row["attempt"] = attempt
            row["agent_id"] = agent_id
            row["host_id"] = host_id
            if task.started_ms is None:
                task.started_ms = row["started_ms"] = at_ms
            if attempt > 1:
                self._add_attempt(task)
            self._tell(task.workflow_id, (each.id, "running", attempt, agent_id))

    def _add_attempt(self, task: Followed) -> None:
        row = task.row
        self.batch.attempts[task.id, task.attempt] = {
            "task_id": task.id,
            "attempt": task.attempt,
            "agent_id": row["agent_id"],
            "host_id": row["host_id"],
            "state": "running",
            "started_ms": self._entry.at_ms,
        }

    def _succeed(self, completed: Iterable[Completion]) -> None:
        at_ms, tasks = self._entry.at_ms, self._tasks
        for done in completed:
            task = tasks.get(done.id) or self._task(done.id)
            if task is None:
                continue
            if task.attempt > 1 or task.state != "running":
                self._leave(task, "succeeded", None)
            if done.usage is not None:
                self.batch.usages.append(UsageRow(done.id, done.attempt, at_ms, done.usage))
            row = task.row
            task.state = row["state"] = "succeeded"
            row["finished_ms"] = at_ms
            row["result"] = result = bytearray(done.result)
            del result[:_HEADER]  # moves nothing
            self._tell(task.workflow_id, (done.id, "succeeded", task.attempt))

    def _change(self, task: Followed, change: TaskChange) -> None:
        at_ms, state, row = self._entry.at_ms, _NAMES[change.state], task.row
        failure = change.failure or self._reasons.get(task.id)
        self._leave(task, state, failure)
        task.state = row["state"] = state
        if state in _TERMINAL:
            row["finished_ms"] = at_ms
            if change.result is not None:
                row["result"] = bytearray(change.result)
        elif state == "queued":
            task.ready_ms = row["queued_ms"] = at_ms
        elif state == "delayed":
            task.ready_ms = row["queued_ms"] = change.due_ms
        if failure is not None:
            row["failure"] = bytearray(_encode(failure))
        told: tuple[Any, ...] = (task.id, state, task.attempt)
        if failure is not None:
            told = (*told, "", "", "", "", "", "", None, "", failure.message)
        self._tell(task.workflow_id, told)

    def _leave(self, task: Followed, state: str, failure: Failure | None) -> None:
        """Close what the task's state is about before it goes to another."""
        if task.state == "running":
            self._end_attempt(task, state, failure)
        elif task.state in _TERMINAL and state not in _TERMINAL:
            self._put_back(task)

    def _put_back(self, task: Followed) -> None:
        """Keep how a task had ended that goes on, as its first attempt's end."""
        row = task.row
        if task.attempt == 1:
            self._keep_first(task)
            if "agent_id" not in row and "finished_ms" in row:
                end = AttemptEnd(task.id, 1, _ENDED_AS[task.state], row["finished_ms"], row.get("failure"))
                self.batch.attempt_ends.append(end)
        row.update(finished_ms=None, result=None, failure=None)

    def _end_attempt(self, task: Followed, went_to: str, failure: Failure | None) -> None:
        state = "lost" if self._entry.kind in _LOSSES and went_to != "cancelled" else _ENDED_AS[went_to]
        if task.id in self._reasons:
            task.failed_attempts += 1
        if task.attempt == 1:
            if state == went_to:
                return  # it ends with its task
            self._keep_first(task)
        at_ms = self._entry.at_ms
        blob = _encode(failure) if failure is not None and state in {"failed", "lost"} else None
        begun = self.batch.attempts.get((task.id, task.attempt))
        if begun is None:
            self.batch.attempt_ends.append(AttemptEnd(task.id, task.attempt, state, at_ms, blob))
            return
        begun["state"], begun["finished_ms"] = state, at_ms
        if blob is not None:
            begun["failure"] = bytearray(blob)

    def _keep_first(self, task: Followed) -> None:
        """Give the first attempt a row, as it stands."""
        row = task.row
        if (task.id, 1) in self.batch.attempts:
            return
        if "agent_id" not in row:
            self.batch.kept_attempts.append(task.id)
            return
        names = ("agent_id", "host_id", "state", "finished_ms", "failure")
        kept = {"task_id": task.id, "attempt": 1, "started_ms": task.started_ms}  # recorded again, it isn't in the row
        kept |= {name: row[name] for name in names if row.get(name) is not None}
        self.batch.attempts[task.id, 1] = kept

    def _note(self, note: ProgressNote) -> None:
        task = self._task(note.task_id)
        if task is None or task.state != "running" or task.attempt != note.attempt:
            return  # a late word of an attempt that is over
        task.row["progress"], task.row["note"] = note.fraction, storable(note.note)
        told = (task.id, "running", task.attempt, "", "", "", "", "", "", note.fraction, note.note)
        self._tell(task.workflow_id, told)

    def _step(self, step: JournaledStep) -> None:
        for number, call in enumerate(step.calls):
            self.batch.calls.append(CallRow(step.id, step.attempt, step.name, number, self._entry.at_ms, call))
        task = self._task(step.id)
        if task is None or task.state in _TERMINAL:
            return
        self.batch.steps.append((step.id, storable(step.name), unwrap(step.result)))
        planned = step.name == PLAN_STEP and task.capability == ROOT_CAPABILITY and task.attempt == step.attempt
        if planned and task.started_ms is not None:
            self.batch.decompositions_ms.append(self._entry.at_ms - task.started_ms)
