"""Entries of the journal, and the changes to single tasks and workflows that they stand for.

One entry is one call of the engine and may change thousands of tasks. `decode` reads it as the engine wrote it (see
`engine/functions/00_base.lua`); `task_changes` takes it apart for those who follow tasks: the recorder and the live events.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from amas.model.blob import Blob, unwrap
from amas.model.limits import Usage
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Completion, FailedAttempt, Failure, Submission, TaskSpec

Position = tuple[int, int]
"""An entry's id in parts, milliseconds and a number, which sort as the journal does."""


def position_of(entry_id: str) -> Position:
    """Return the position of an entry's id, `<ms>-<n>`."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


class EntryKind(StrEnum):
    """Which call an entry stands for."""

    SUBMIT = "submit"
    CLAIM = "claim"
    COMPLETE = "complete"
    FAIL = "fail"
    GIVE_BACK = "give_back"
    STEP = "step"
    SUSPEND = "suspend"
    CANCEL = "cancel"
    END = "end"
    PROMOTE = "promote"
    SIGNAL = "signal"
    EXPIRE = "expire"
    PAUSE = "pause"
    """A workflow was paused, or goes on."""
    RESET = "reset"
    """Tasks are to run again: a re-run, or dead letters put back."""
    TEND = "tend"
    """The next slice of what an earlier call was too large for."""
    HOST = "host"
    LOST = "lost"
    LEFT = "left"
    LIMIT = "limit"
    """Somebody changed what a resource allows."""
    REFILL = "refill"
    """Resources had room again, or budgets none."""
    RECOVER = "recover"
    """A lost engine's work was put into this one: see `engine/recovery.py`."""
    PROGRESS = "progress"
    """An agent said how far it is: a batch of `ProgressNote`."""


class ProgressNote(msgspec.Struct, frozen=True, array_like=True):
    """How far an attempt is, as its agent says."""

    task_id: str
    attempt: int
    fraction: float
    note: str = ""


class WorkflowOpening(msgspec.Struct, frozen=True, array_like=True):
    """The workflow that a submission opens."""

    id: str
    goal: Blob
    """A `Goal`, where a goal was submitted; else any value."""
    root_id: str = ""
    """The task whose end decides the workflow's; empty when all of them do."""
    budget: tuple[int | None, int | None, int | None, int | None] | None = None
    """What all of its tasks may spend, as `Amounts.units` gives it."""
    at_a_time: int | None = None
    """How many workflows with such a number may be open at a time; one beyond that waits for its turn."""


class Effect(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A change that doesn't follow from the batch itself."""

    task_id: str
    state: TaskState
    extra: msgspec.Raw = msgspec.Raw(b"\xc0")
    """A `Failure`, the time in ms at which a delayed task is due, the result that a signal or timer brought, or nil."""


class WorkflowChange(msgspec.Struct, frozen=True, array_like=True):
    """A workflow ended, paused, goes on, compensates, or was opened again."""

    workflow_id: str
    state: WorkflowState


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the engine."""

    id: str
    """`<ms>-<n>`, ordered; the same for every reader."""
    kind: EntryKind
    at_ms: int
    host_id: str = ""
    batch: bytes = b""
    refused: frozenset[int] = frozenset()
    """Indices of `batch` that changed nothing: the fence kept them out, or they were said before."""
    effects: tuple[Effect, ...] = ()
    workflows: tuple[WorkflowChange, ...] = ()
    opened: WorkflowOpening | None = None
    used: bytes = b""
    """What an attempt that suspended itself had used: see `usages`."""


class TaskChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One task's new state; what isn't known from the entry is left empty."""

    task_id: str
    state: TaskState
    attempt: int = 0
    agent_id: str = ""
    host_id: str = ""
    spec: TaskSpec | None = None
    """With its submission only."""
    priority: int = 1
    result: bytes | None = None
    """msgpack."""
    failure: Failure | None = None
    due_ms: int = 0


class AttemptUsage(NamedTuple):
    """What an attempt used, as its agent said when it ended."""

    task_id: str
    attempt: int
    usage: Usage


class _Used(msgspec.Struct, array_like=True):
    """The fields of a `FailedAttempt` up to its usage."""

    id: str
    attempt: int
    failure: msgspec.Raw
    retry_delay_ms: msgspec.Raw
    final: bool = False
    usage: Usage | None = None


class _Claim(msgspec.Struct, array_like=True):
    id: str
    attempt: int
    agent_id: str


_effects = msgspec.msgpack.Decoder(tuple[Effect, ...])
_workflows = msgspec.msgpack.Decoder(tuple[WorkflowChange, ...])
_refused = msgspec.msgpack.Decoder(frozenset[int])
_opening = msgspec.msgpack.Decoder(WorkflowOpening)
_submissions = msgspec.msgpack.Decoder(list[Submission])
_claims = msgspec.msgpack.Decoder(list[_Claim])
_completions = msgspec.msgpack.Decoder(list[Completion])
_spec = msgspec.msgpack.Decoder(TaskSpec)
_failure = msgspec.msgpack.Decoder(Failure)
_time = msgspec.msgpack.Decoder(int)
_failed_attempts = msgspec.msgpack.Decoder(list[FailedAttempt])
_used = msgspec.msgpack.Decoder(list[_Used])
_suspended_usage = msgspec.msgpack.Decoder(AttemptUsage)
_notes = msgspec.msgpack.Decoder(list[ProgressNote])


def decode(entry_id: bytes, fields: Mapping[bytes, bytes]) -> JournalEntry:
    """Return an entry of the stream as a value."""
    return JournalEntry(
        id=entry_id.decode(),
        kind=EntryKind(fields[b"k"].decode()),
        at_ms=int(fields[b"t"]),
        host_id=fields.get(b"h", b"").decode(),
        batch=fields.get(b"b", b""),
        refused=_refused.decode(fields[b"x"]) if b"x" in fields else frozenset(),
        effects=_effects.decode(fields[b"fx"]) if b"fx" in fields else (),
        workflows=_workflows.decode(fields[b"wf"]) if b"wf" in fields else (),
        opened=_opening.decode(fields[b"w"]) if b"w" in fields else None,
        used=fields.get(b"u", b""),
    )


def task_changes(entry: JournalEntry) -> Iterator[TaskChange]:
    """Yield the changes to tasks that an entry stands for, in an order in which they can be applied."""
    match entry.kind:
        case EntryKind.SUBMIT | EntryKind.SUSPEND:
            for index, submission in enumerate(_submissions.decode(entry.batch)):
                if index in entry.refused:
                    continue
                yield TaskChange(
                    task_id=submission.id,
                    state=TaskState.QUEUED,
                    spec=_spec.decode(unwrap(submission.spec)),
                    priority=submission.priority,
                )
        case EntryKind.CLAIM:
            for claim in _claims.decode(entry.batch):
                yield TaskChange(
                    task_id=claim.id,
                    state=TaskState.RUNNING,
                    attempt=claim.attempt,
                    agent_id=claim.agent_id,
                    host_id=entry.host_id,
                )
        case EntryKind.COMPLETE:
            for index, done in enumerate(_completions.decode(entry.batch)):
                if index not in entry.refused:
                    yield TaskChange(task_id=done.id, state=TaskState.SUCCEEDED, attempt=done.attempt, result=unwrap(done.result))
        case _:
            pass
    yield from effects(entry)


def effects(entry: JournalEntry) -> Iterator[TaskChange]:
    """Yield the changes that don't follow from an entry's batch itself."""
    return map(_change_of, entry.effects)


def _change_of(effect: Effect) -> TaskChange:
    match effect.state:
        case TaskState.FAILED:
            return TaskChange(task_id=effect.task_id, state=effect.state, failure=_failure.decode(effect.extra))
        case TaskState.DELAYED:
            return TaskChange(task_id=effect.task_id, state=effect.state, due_ms=_time.decode(effect.extra))
        case TaskState.SUCCEEDED:
            return TaskChange(task_id=effect.task_id, state=effect.state, result=bytes(effect.extra))
        case _:
            return TaskChange(task_id=effect.task_id, state=effect.state)


def failed_attempts(entry: JournalEntry) -> Iterator[tuple[str, int, Failure]]:
    """Yield (task id, attempt, why) for the attempts that a `fail` entry ended."""
    if entry.kind is EntryKind.FAIL:
        for index, item in enumerate(_failed_attempts.decode(entry.batch)):
            if index not in entry.refused:
                yield item.id, item.attempt, _failure.decode(unwrap(item.failure))


def usages(entry: JournalEntry) -> list[AttemptUsage]:
    """Return what attempts that failed or suspended themselves had used; a `complete` entry's completions say it themselves."""
    if entry.used:
        return [_suspended_usage.decode(entry.used)]
    if entry.kind is not EntryKind.FAIL:
        return []
    return [
        AttemptUsage(item.id, item.attempt, item.usage)
        for index, item in enumerate(_used.decode(entry.batch))
        if item.usage is not None and index not in entry.refused
    ]


def progress_notes(entry: JournalEntry) -> list[ProgressNote]:
    """Return the notes of a `progress` entry; none for another."""
    return _notes.decode(entry.batch) if entry.kind is EntryKind.PROGRESS else []
