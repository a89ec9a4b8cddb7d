"""Large values, transparently: into the artifact store on their way to the engine, out of it on their way to whoever wants them.

A value is stored before anything refers to it. All waiting is done in threads, so event loops go on. Small values never come
here: `encode_payload` and `encode_spec` refuse what is too large for the engine, and only then is `put` called.

With a seal (`amas.sealing`) every value goes this way: a small one is sealed here, a large one by the store, and both are opened
here for whoever reads them. Without one nothing is looked at but whether there is one.

Called by the client, the API, and hosts on behalf of their agents.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from amas.artifacts.store import ArtifactStore
from amas.engine.graph import Owner, submission_of
from amas.engine.payload import INLINE_BYTES_MAX, encode_payload, encode_value, too_large_for_engine
from amas.engine.queue import make_submission
from amas.errors import ArtifactDamaged, ArtifactStoreUnknown, PayloadTooLarge, SealKeyMissing
from amas.model.artifact import Extension, Reference, is_reference, shown, to_extension, to_reference
from amas.model.blob import Blob, blob_bytes, to_blob, unwrap
from amas.model.goal import Goal, SubTask
from amas.model.task import Json, Submission, TaskOutcome, TaskSpec
from amas.sealing import OVERHEAD_BYTES, Seal, is_sealed, key_id_of

BYTES_MAX = 64 << 20
"""The largest value where no setting says otherwise; see AMAS_PAYLOAD_MB."""


class Draft(NamedTuple):
    """A task that is about to become a submission."""

    task_id: str
    spec: TaskSpec
    options: Mapping[str, Any]
    """`make_submission`'s."""


SEALED_MORE_BYTES = OVERHEAD_BYTES + 8
"""What a sealed value takes more of the engine, its extension's header included."""
SEALED_GOAL = "sealed"
"""The preference under which a sealed goal travels; what people prefer is never an extension."""

Submittable = TypeVar("Submittable", TaskSpec, SubTask)
_TO_COME = Submission("", "", to_blob(None))


class LargeValues:
    """What stores and fetches values for one process."""

    def __init__(self, store: ArtifactStore | None, *, bytes_max: int = BYTES_MAX, seal: Seal | None = None) -> None:
        """`store`: None where nobody said where it is; then a large value is refused with the way out.

        `seal`: small values are sealed with it on their way in; large ones by the store.
        """
        self._store, self._bytes_max, self._seal = store, bytes_max, seal

    @property
    def bytes_max(self) -> int:
        """The largest value that is taken."""
        return self._bytes_max

    async def put(self, value: Json, what: str) -> Extension:
        """Store a value and return the reference that travels instead; PayloadTooLarge names `what` when it is too large."""
        return await asyncio.to_thread(self._put, value, what)

    async def get(self, value: Json) -> Json:
        """Return `value`, or what it refers to; an ArtifactError says why that can't be had."""
        if not is_reference(value):
            return value
        if is_sealed(value):
            return self.opened(value)
        return await asyncio.to_thread(self._get, to_reference(value))

    def opened(self, value: Json) -> Json:
        """Return what a sealed value stands for, and anything else, a reference too, as it is; SealKeyMissing without its key."""
        if not is_sealed(value):
            return value
        if self._seal is None:
            raise SealKeyMissing(key_id_of(value))
        return self._seal.opened(value)

    def shown(self, value: Json) -> Json:
        """Return a value as lists and details show it: one that lies in the artifact store as an object that says where."""
        return shown(self.opened(value))

    async def carried(self, value: Json, what: str) -> Json:
        """Return `value`, or when it is too large the reference that travels instead."""
        try:
            blob = self._small(value, what)
        except PayloadTooLarge:
            return await self.put(value, what)
        return value if self._seal is None or is_reference(value) else self._seal.value(unwrap(blob))

    async def payload(self, value: Json, what: str) -> Blob:
        """Return a result ready to be carried, however large."""
        try:
            blob = self._small(value, what)
        except PayloadTooLarge:
            return to_blob(await self.put(value, what))
        return blob if self._seal is None else to_blob(self._seal.value(unwrap(blob)))

    def told(self, goal: Goal) -> Goal:
        """Return a goal as engine and history keep it: where payloads are sealed, with no more in the open than its bounds."""
        if self._seal is None:
            return goal
        sealed = self._seal.value(encode_value(goal, "the goal"))
        return msgspec.structs.replace(goal, text="", input_dir="", output_dir="", preferences={SEALED_GOAL: sealed})

    def goal(self, said: Json | Goal) -> Json | Goal:
        """Return a goal, or its fields, as they were before `told`; anything else as it is."""
        held = said.preferences if isinstance(said, Goal) else said.get("preferences") if isinstance(said, dict) else None
        sealed = held.get(SEALED_GOAL) if isinstance(held, dict) else None
        return self.opened(sealed) if is_sealed(sealed) else said

    def heard(self, goal: Goal) -> Goal:
        """Return a goal as it was before `told`; SealKeyMissing without its key."""
        found = self.goal(goal)
        return goal if found is goal else msgspec.convert(found, Goal)

    def sealed(self, task: Submittable) -> Submittable:
        """Return a task with its input sealed, where payloads are; PayloadTooLarge when that must go to the store."""
        if self._seal is None or task.input is None or is_reference(task.input):
            return task
        blob = self._small(task.input, f"the input of task {task.key or task.capability}")
        return msgspec.structs.replace(task, input=self._seal.value(unwrap(blob)))

    def _small(self, value: Json, what: str) -> Blob:
        """Return a value that fits into the engine, also when it is sealed; PayloadTooLarge when it doesn't."""
        blob = encode_payload(value, what)
        if self._seal is not None and blob_bytes(blob) > INLINE_BYTES_MAX - SEALED_MORE_BYTES:
            raise too_large_for_engine(what, blob_bytes(blob))
        return blob

    async def submissions(self, drafts: Iterable[Draft]) -> list[Submission]:
        """Return tasks ready for the engine, in order; large inputs are stored several at a time."""
        made: list[Submission] = []
        large: dict[int, Draft] = {}
        for draft in drafts:
            try:
                made.append(make_submission(draft.task_id, self.sealed(draft.spec), **draft.options))
            except PayloadTooLarge:
                large[len(made)] = draft
                made.append(_TO_COME)
        if large:
            stored = await asyncio.gather(*(self.submission(*draft) for draft in large.values()))
            for index, submission in zip(large, stored, strict=True):
                made[index] = submission
        return made

    async def submission(self, task_id: str, spec: TaskSpec, options: Mapping[str, Any]) -> Submission:
        """Return one task ready for the engine, with its input sealed, or in the store where it is too large."""
        reference = await self.carried(spec.input, f"the input of task {spec.key or spec.capability}")
        return make_submission(task_id, msgspec.structs.replace(spec, input=reference), **options)

    async def sub_tasks(self, tasks: Iterable[SubTask], owner: Owner) -> list[Submission]:
        """Return the tasks of a graph ready for the engine, in order, with large inputs in the store."""
        made = []
        for task in tasks:
            try:
                made.append(submission_of(self.sealed(task), owner))
            except PayloadTooLarge:
                reference = await self.put(task.input, f"the input of task {task.key or task.capability}")
                made.append(submission_of(msgspec.structs.replace(task, input=reference), owner))
        return made

    async def outcomes(self, outcomes: Sequence[TaskOutcome]) -> Sequence[TaskOutcome]:
        """Return outcomes with their real results, fetched several at a time."""
        if not any(is_reference(outcome.result) for outcome in outcomes):
            return outcomes
        return await asyncio.gather(*map(self.outcome, outcomes))

    async def outcome(self, outcome: TaskOutcome) -> TaskOutcome:
        """Return an outcome with its real result."""
        if not is_reference(outcome.result):
            return outcome
        return msgspec.structs.replace(outcome, result=await self.get(outcome.result))

    def _put(self, value: Json, what: str) -> Extension:
        encoded = encode_value(value, what)
        if len(encoded) > self._bytes_max:
            raise PayloadTooLarge(
                f"{what} is {len(encoded)} bytes; at most {self._bytes_max} are carried (AMAS_PAYLOAD_MB): "
                "keep it in a file or a database of your own and pass its address"
            )
        if self._store is None:
            raise too_large_for_engine(what, len(encoded))
        return to_extension(Reference(self._store.put_value(encoded), len(encoded)))

    def _get(self, reference: Reference) -> Json:
        if self._store is None:
            raise ArtifactStoreUnknown(
                f"a value of {reference.size} bytes lies in the fleet's artifact store as {reference.artifact}, and this process "
                "doesn't know where that is: set AMAS_ARTIFACTS_URL to the fleet's, or connect with artifacts_url="
            )
        try:
            return msgspec.msgpack.decode(self._store.get(reference.artifact))
        except msgspec.MsgspecError as error:
            raise ArtifactDamaged(f"the artifact {reference.artifact} is no value of a task: {error}") from error
