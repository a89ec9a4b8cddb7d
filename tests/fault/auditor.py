"""Reads the journal beside a fleet under attack and holds every entry against the rules: an arrow that the table of transitions
doesn't have, an attempt that isn't the next, an outcome by an attempt that doesn't own its task, a claim before its needs,
a step journaled twice, more at once under a concurrency key than it allows.

It is written from `model/states.py` and knows nothing of keys or hosts. What it finds is kept as sentences, told at the end.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection

import msgspec

from amas.engine.connection import Engine
from amas.engine.journal import START, Journal
from amas.errors import EngineError
from amas.model.journal import EntryKind, JournalEntry, failed_attempts, task_changes
from amas.model.states import TERMINAL, TRANSITIONS, TaskState, Transition
from amas.model.task import JournaledStep, Submission, TaskSpec

_SUBMISSIONS = msgspec.msgpack.Decoder(list[Submission])
_STEPS = msgspec.msgpack.Decoder(list[JournaledStep])
_ARROWS = {(state, after) for (state, why), after in TRANSITIONS.items() if why not in {Transition.RERUN, Transition.RESET}}
"""Nothing is run again on purpose here, so an end is an end."""


class Seen:
    """A task as the journal has told it so far."""

    __slots__ = ("attempt", "ends", "spec", "state")

    def __init__(self, state: TaskState, spec: TaskSpec | None) -> None:
        self.state, self.spec = state, spec
        self.attempt = self.ends = 0


class Auditor:
    """Follows a journal, entry by entry."""

    def __init__(self) -> None:
        self.tasks: dict[str, Seen] = {}
        self.steps: dict[tuple[str, str], int] = {}
        """(task, step) -> the attempt whose result stands."""
        self._keys: dict[str, list[tuple[str, int]]] = {}
        """Task -> its concurrency keys and their limits."""
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        """Concurrency key -> the tasks that run under it."""
        self.faults: list[str] = []
        self.entries = 0

    def read(self, entry: JournalEntry) -> None:
        """Take the next entry."""
        self.entries += 1
        fence = {task_id: attempt for task_id, attempt, _ in failed_attempts(entry)}
        if entry.kind is EntryKind.SUBMIT:
            self._note_keys(entry)
        if entry.kind is EntryKind.STEP:
            self._steps(entry)
        for change in task_changes(entry):
            if change.spec is not None:
                self._submitted(entry, change.task_id, change.state, change.spec)
                continue
            task = self.tasks.get(change.task_id)
            if task is None:
                self._fault(entry, change.task_id, "changed before it was submitted")
                continue
            if entry.kind is EntryKind.CLAIM:
                self._claimed(entry, change.task_id, task, change.attempt)
            elif entry.kind is EntryKind.COMPLETE and change.attempt and change.attempt != task.attempt:
                self._fault(entry, change.task_id, f"completed by attempt {change.attempt}, which is not {task.attempt}")
            elif change.task_id in fence and fence[change.task_id] != task.attempt:
                self._fault(entry, change.task_id, f"failed by attempt {fence[change.task_id]}, which is not {task.attempt}")
            self._move(entry, change.task_id, task, change.state)

    def _submitted(self, entry: JournalEntry, task_id: str, state: TaskState, spec: TaskSpec) -> None:
        if task_id in self.tasks:
            self._fault(entry, task_id, "submitted twice")
        self.tasks[task_id] = Seen(state, spec)

    def _claimed(self, entry: JournalEntry, task_id: str, task: Seen, attempt: int) -> None:
        if attempt != task.attempt + 1:
            self._fault(entry, task_id, f"claimed as attempt {attempt} after {task.attempt}")
        task.attempt = attempt
        for need in task.spec.needs if task.spec else ():
            if self.tasks[need].state is not TaskState.SUCCEEDED:
                self._fault(entry, task_id, f"claimed while {need}, which it needs, is {self.tasks[need].state}")

    def _move(self, entry: JournalEntry, task_id: str, task: Seen, state: TaskState) -> None:
        fresh = task.state is TaskState.QUEUED and task.attempt == 0  # where a submission puts it is told as an effect
        if (task.state, state) not in _ARROWS and not (fresh and state in {TaskState.WAITING, TaskState.DELAYED}):
            self._fault(entry, task_id, f"went from {task.state} to {state}")
        task.state = state
        for key, limit in self._keys.get(task_id, ()):
            self._hold(entry, task_id, key, limit, runs=state is TaskState.RUNNING)
        if state in TERMINAL:
            task.ends += 1

    def _note_keys(self, entry: JournalEntry) -> None:
        for submission in _SUBMISSIONS.decode(entry.batch):
            reserves = submission.options.reserves if submission.options else None
            if keys := [(each.resource, each.limit) for each in reserves or () if each.resource.startswith("slots:")]:
                self._keys[submission.id] = keys

    def _hold(self, entry: JournalEntry, task_id: str, key: str, limit: int, *, runs: bool) -> None:
        holders = self._holders[key]
        if not runs:
            holders.discard(task_id)
            return
        holders.add(task_id)
        if len(holders) > limit:
            self._fault(entry, task_id, f"runs as one of {len(holders)} under {key}, which allows {limit}")

    def _steps(self, entry: JournalEntry) -> None:
        for index, step in enumerate(_STEPS.decode(entry.batch)):
            if index in entry.refused:
                continue
            task = self.tasks.get(step.id)
            if task is None or task.attempt != step.attempt or task.state is not TaskState.RUNNING:
                self._fault(entry, step.id, f"step {step.name} was journaled by attempt {step.attempt}, which doesn't own it")
            self.steps.setdefault((step.id, step.name), step.attempt)

    def _fault(self, entry: JournalEntry, task_id: str, what: str) -> None:
        self.faults.append(f"{entry.id} ({entry.kind}): task {task_id} {what}")


async def follow(url: str, cell: str, auditor: Auditor) -> None:
    """Read the journal into the auditor until cancelled, on a connection of its own that no attack but the engine's reaches."""
    position = START
    async with Engine(url, cell=cell) as engine:
        journal = Journal(engine)
        while True:
            try:
                entries = await journal.read(position, limit=200, wait_ms=500)
            except EngineError:
                await asyncio.sleep(0.1)
                continue
            for entry in entries:
                auditor.read(entry)
                position = entry.id


async def audited(auditor: Auditor, task_ids: Collection[str]) -> None:
    """Wait until the auditor has read the end of every task that it knows, and of these."""
    while any(not seen.ends for seen in auditor.tasks.values()) or not set(task_ids) <= auditor.tasks.keys():
        await asyncio.sleep(0.1)
