"""Large values, transparently: into the artifact store on their way to the engine, out of it on their way to whoever wants them.

A value is stored before anything refers to it. All waiting is done in threads, so event loops go on. Small values never come
here: `encode_payload` and `encode_spec` refuse what is too large for the engine, and only then is `put` called.

Called by the client, the API, and hosts on behalf of their agents.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from amas.artifacts.store import ArtifactStore
from amas.engine.graph import Owner, submission_of
from amas.engine.payload import encode_payload, encode_value, too_large_for_engine
from amas.engine.queue import make_submission
from amas.errors import ArtifactDamaged, ArtifactStoreUnknown, PayloadTooLarge
from amas.model.artifact import Extension, Reference, is_reference, to_extension, to_reference
from amas.model.blob import Blob, to_blob
from amas.model.goal import SubTask
from amas.model.task import Json, Submission, TaskOutcome, TaskSpec

BYTES_MAX = 64 << 20
"""The largest value where no setting says otherwise; see AMAS_PAYLOAD_MB."""


class Draft(NamedTuple):
    """A task that is about to become a submission."""

    task_id: str
    spec: TaskSpec
    options: Mapping[str, Any]
    """`make_submission`'s."""


_TO_COME = Submission("", "", to_blob(None))


class LargeValues:
    """What stores and fetches values for one process."""

    def __init__(self, store: ArtifactStore | None, *, bytes_max: int = BYTES_MAX) -> None:
        """`store`: None where nobody said where it is; then a large value is refused with the way out."""
        self._store, self._bytes_max = store, bytes_max

    async def put(self, value: Json, what: str) -> Extension:
        """Store a value and return the reference that travels instead; PayloadTooLarge names `what` when it is too large."""
        return await asyncio.to_thread(self._put, value, what)

    async def get(self, value: Json) -> Json:
        """Return `value`, or what it refers to; an ArtifactError says why that can't be had."""
        return await asyncio.to_thread(self._get, to_reference(value)) if is_reference(value) else value

    async def carried(self, value: Json, what: str) -> Json:
        """Return `value`, or when it is too large the reference that travels instead."""
        try:
            encode_payload(value, what)
        except PayloadTooLarge:
            return await self.put(value, what)
        return value

    async def payload(self, value: Json, what: str) -> Blob:
        """Return a result ready to be carried, however large."""
        try:
            return encode_payload(value, what)
        except PayloadTooLarge:
            return to_blob(await self.put(value, what))

    async def submissions(self, drafts: Iterable[Draft]) -> list[Submission]:
        """Return tasks ready for the engine, in order; large inputs are stored several at a time."""
        made: list[Submission] = []
        large: dict[int, Draft] = {}
        for draft in drafts:
            try:
                made.append(make_submission(draft.task_id, draft.spec, **draft.options))
            except PayloadTooLarge:
                large[len(made)] = draft
                made.append(_TO_COME)
        if large:
            stored = await asyncio.gather(*(self.submission(*draft) for draft in large.values()))
            for index, submission in zip(large, stored, strict=True):
                made[index] = submission
        return made

    async def submission(self, task_id: str, spec: TaskSpec, options: Mapping[str, Any]) -> Submission:
        """Return what `make_submission` refused for its input's size, with the input in the store."""
        reference = await self.put(spec.input, f"the input of task {spec.key or spec.capability}")
        return make_submission(task_id, msgspec.structs.replace(spec, input=reference), **options)

    async def sub_tasks(self, tasks: Iterable[SubTask], owner: Owner) -> list[Submission]:
        """Return the tasks of a graph ready for the engine, in order, with large inputs in the store."""
        made = []
        for task in tasks:
            try:
                made.append(submission_of(task, owner))
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
