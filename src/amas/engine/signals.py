"""What waits for a word from outside: the approvals of open workflows whose needs have ended, and where an agent's signals go."""

from collections.abc import AsyncIterator, Callable

import msgspec

from amas.engine.connection import Engine
from amas.model.flow import APPROVAL_CAPABILITY
from amas.model.states import TaskState
from amas.model.task import Json, TaskSpec

WORKFLOWS_MAX = 10_000
"""The oldest open workflows that are looked at."""

ANSWERED_SLICE = 200
"""Open workflows whose answers are read at a time; each answer may be 64 KiB."""

_spec = msgspec.msgpack.Decoder(TaskSpec)


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A question that waits for somebody's word."""

    task_id: str
    workflow_id: str
    key: str
    question: str
    about: Json
    """What the flow's author gave with it."""
    results: tuple[str, ...]
    """Ids of the tasks that it needed, whose results it is about."""
    expires_ms: int
    """When it fails unless somebody answers; 0 for never."""


async def open_approvals(
    engine: Engine, *, workflow_id: str = "", opened: Callable[[Json], Json] = lambda said: said
) -> list[Approval]:
    """Return what people are asked, oldest workflow first; of one workflow, or of all that are open.

    `opened`: gives the inputs that are sealed.
    """
    workflows = [workflow_id]
    if not workflow_id:
        (found,) = await engine.read([("ZRANGE", engine.key("open"), 0, WORKFLOWS_MAX - 1)])
        workflows = [one.decode() for one in found]
    signals = await engine.read([("HVALS", engine.key("ws", one)) for one in workflows])
    ids = [value[1:].decode() for values in signals for value in values if value.startswith(b"=")]
    held = await engine.read([("HMGET", engine.key("t", one), "s", "b", "n", "Q", "i") for one in ids])
    expiries = await engine.read([("ZSCORE", engine.key("expiring"), one) for one in ids])
    return [
        _approval(task_id, _spec.decode(row[1]), expires, opened)
        for task_id, row, expires in zip(ids, held, expiries, strict=True)
        if row[0] == TaskState.WAITING.value.encode() and _is_asked(*row[2:]) and APPROVAL_CAPABILITY.encode() in row[1]
    ]


async def early_answers(engine: Engine) -> AsyncIterator[bytes]:
    """Yield what signals of open workflows were answered that nothing has taken yet, as msgpack, some workflows at a time."""
    (workflows,) = await engine.read([("ZRANGE", engine.key("open"), 0, -1)])
    for start in range(0, len(workflows), ANSWERED_SLICE):
        slice_of = workflows[start : start + ANSWERED_SLICE]
        signals = await engine.read([("HVALS", engine.key("ws", one.decode())) for one in slice_of])
        values = [value for held in signals for value in held]
        ids = [value[1:].decode() for value in values if value[:1] == b"="]
        submitted = await engine.read([("HGET", engine.key("t", one), "B") for one in ids])
        for answer in (*(value[1:] for value in values if value[:1] == b"!"), *filter(None, submitted)):
            yield answer


async def generation_of(engine: Engine, task_id: str) -> int:
    """Return how often a task was reset to start anew, on which the ids of its sub-tasks depend."""
    (found,) = await engine.read([("HGET", engine.key("t", task_id), "G")])
    return int(found or 0)


def _is_asked(open_needs: bytes | None, quorum: bytes | None, missing: bytes | None) -> bool:
    """Return whether the needs of a waiting signal have ended, or enough of them."""
    return not missing if quorum else int(open_needs or 0) <= 0


def _approval(task_id: str, spec: TaskSpec, expires: float | bytes | None, opened: Callable[[Json], Json]) -> Approval:
    said = opened(spec.input)
    given = said if isinstance(said, dict) else {}
    return Approval(
        task_id=task_id,
        workflow_id=spec.workflow_id,
        key=spec.key,
        question=str(given.get("question", "")),
        about=given.get("about"),
        results=spec.needs,
        expires_ms=int(float(expires or 0)),
    )
