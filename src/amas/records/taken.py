"""Entries of the journal, taken apart for the history: no more of each is decoded than a row or an event needs.

Inputs, results and options are handed on as the bytes that they came as. Each entry costs one decoding, and each submission one
more for its specification. Called by `store.py`; `fold.py` follows what comes out.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from amas.model.blob import Blob
from amas.model.journal import (
    AttemptUsage,
    EntryKind,
    JournalEntry,
    ProgressNote,
    TaskChange,
    effects,
    failed_attempts,
    progress_notes,
    usages,
)
from amas.model.task import Completion, Failure, JournaledStep


class Submitted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A `Submission` whose options stay as they are."""

    id: str
    queue: str
    spec: Blob
    priority: int = 1
    options: msgspec.Raw = msgspec.Raw(b"")


class Brief(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first fields of a `TaskSpec`, of which some aren't looked at; a test compares the two."""

    capability: str
    input: msgspec.Raw = msgspec.Raw(b"")
    key: str = ""
    title: str = ""
    layer: str = ""
    timeout_s: msgspec.Raw = msgspec.Raw(b"")
    retry: msgspec.Raw = msgspec.Raw(b"")
    needs: tuple[str, ...] = ()
    need_keys: msgspec.Raw = msgspec.Raw(b"")
    workflow_id: str = ""
    parent_id: str = ""


class Begun(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An attempt that a host claimed."""

    id: str
    attempt: int
    agent_id: str


class Taken(msgspec.Struct, frozen=True):
    """An entry, taken apart; what changed nothing is left out."""

    entry: JournalEntry
    submitted: Sequence[Submitted] = ()
    begun: Sequence[Begun] = ()
    completed: Sequence[Completion] = ()
    effects: Sequence[TaskChange] = ()
    failures: Sequence[tuple[str, int, Failure]] = ()
    notes: Sequence[ProgressNote] = ()
    steps: Sequence[JournaledStep] = ()
    usages: Sequence[AttemptUsage] = ()
    """Of attempts that failed or suspended themselves."""

    @property
    def size(self) -> int:
        """How much work it is to apply."""
        return 1 + sum(map(len, (self.submitted, self.begun, self.completed, self.effects, self.notes, self.steps)))

    def changed_ids(self) -> Iterable[str]:
        """Yield the ids of the tasks that it concerns besides those it submits, some perhaps twice."""
        for items in (self.begun, self.completed, self.steps):
            yield from [item.id for item in items]
        yield from [effect.task_id for effect in self.effects]
        yield from [note.task_id for note in self.notes]


_submissions = msgspec.msgpack.Decoder(list[Submitted])
_claims = msgspec.msgpack.Decoder(list[Begun])
_completions = msgspec.msgpack.Decoder(list[Completion])
_steps = msgspec.msgpack.Decoder(list[JournaledStep])
brief = msgspec.msgpack.Decoder(Brief).decode
_DECODERS: dict[EntryKind, tuple[str, msgspec.msgpack.Decoder[Any]]] = {
    EntryKind.SUBMIT: ("submitted", _submissions),
    EntryKind.SUSPEND: ("submitted", _submissions),
    EntryKind.CLAIM: ("begun", _claims),
    EntryKind.COMPLETE: ("completed", _completions),
    EntryKind.STEP: ("steps", _steps),
}


def take_apart(entry: JournalEntry) -> Taken:
    """Return an entry taken apart."""
    items: dict[str, Sequence[Any]] = {}
    if (found := _DECODERS.get(entry.kind)) is not None:
        name, decoder = found
        batch: Sequence[Any] = decoder.decode(entry.batch)
        refused = entry.refused
        items[name] = [item for index, item in enumerate(batch) if index not in refused] if refused else batch
    return Taken(
        entry,
        effects=list(effects(entry)),
        failures=list(failed_attempts(entry)),
        notes=progress_notes(entry),
        usages=usages(entry),
        **items,
    )


def to_look_up(entries: Sequence[Taken], *, trusting: bool) -> set[str]:
    """Return the ids of the tasks that `fold` needs to know of; if `trusting`, those in `submit` entries count as new."""
    ids = {task_id for taken in entries for task_id in taken.changed_ids()}
    for taken in entries:
        said = [submission.id for submission in taken.submitted]
        if trusting and taken.entry.kind is EntryKind.SUBMIT:
            ids.difference_update(said)
        else:
            ids.update(said)
    return ids
