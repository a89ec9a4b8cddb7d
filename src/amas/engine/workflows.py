"""Workflows as a whole, and the tasks that wait for something else than an agent: signals, pauses, re-runs, dead letters.

One method each around one server-side function (`functions/*.lua`), as in `queue.py`; `now_ms` is for callers that own the
clock.
"""

from collections.abc import Sequence

import msgspec

from amas.clock import SERVER_CLOCK
from amas.engine.connection import Engine
from amas.engine.payload import Carry, encode_payload, only_small
from amas.engine.queue import RETENTION_S, encode, make_submission
from amas.errors import ResetRefused, SignalRefused, TaskUnknown, WorkflowUnknown
from amas.model.blob import unwrap
from amas.model.task import Failure, Json, OnFailure, Submission, TaskSpec

SLICE = 500
"""Tasks that one call follows up at most: some milliseconds, in which nobody else is served."""

_spec = msgspec.msgpack.Decoder(TaskSpec)
_failure = msgspec.msgpack.Decoder(Failure)


TENANT_LOOKS_MAX = 20
"""Thousands of dead letters that are looked through for one tenant's in one call."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A task that failed for good, as lists show it; `TaskQueue.task` has the whole."""

    task_id: str
    at_ms: int
    """When it failed."""
    capability: str
    key: str
    title: str
    workflow_id: str
    tenant: str
    attempt: int
    failures: int
    failure: Failure | None

    @property
    def cursor(self) -> str:
        """What `Workflows.dead_letters` goes on after."""
        return f"{self.at_ms}:{self.task_id}"


def make_signal(task_id: str, spec: TaskSpec, *, expires_s: float = 0.0, on_failure: OnFailure = "fail") -> Submission:
    """Return a task that no agent gets: it succeeds with what `Workflows.signal` sends it, under its id or its `spec.key`.

    `expires_s` counts from when its needs are satisfied, since nobody can be expected to answer before; then it fails with the
    code `expired`. 0: it waits for as long as its workflow does. A key is unique among a workflow's signals.
    """
    return make_submission(task_id, spec, kind="signal", expires_s=expires_s, on_failure=on_failure)


class Workflows:
    """What happens to workflows as a whole in one cell."""

    def __init__(self, engine: Engine, *, retention_s: float = RETENTION_S, carry: Carry = only_small) -> None:
        """`carry`: what becomes of signals that are too large for the engine."""
        self._engine, self._carry = engine, carry
        self._retention_ms = round(retention_s * 1000)

    async def signal(self, task_id: str, payload: Json = None, *, now_ms: int = SERVER_CLOCK) -> None:
        """Answer the signal task `task_id`: it succeeds with `payload`, or fails with `refused` if that says `approved: false`.

        Kept until its needs are satisfied when it comes sooner. The same payload again is accepted silently. Raises
        `TaskUnknown`, and `SignalRefused` when it was answered with another payload, has ended otherwise or is no signal task.
        """
        await self._send(task_id, "", payload, now_ms)

    async def signal_key(self, workflow_id: str, key: str, payload: Json = None, *, now_ms: int = SERVER_CLOCK) -> None:
        """Answer the signal task `key` of a workflow, as `signal` does.

        Kept until the task is submitted when it comes sooner than that. Raises `WorkflowUnknown` also when the workflow has
        ended before such a task was submitted.
        """
        await self._send(workflow_id, key, payload, now_ms)

    async def _send(self, target: str, key: str, payload: Json, now_ms: int) -> None:
        refused = isinstance(payload, dict) and payload.get("approved") is False
        what = "the signal's payload"
        blob = encode_payload(await self._carry(payload, what), what)
        why = _refusal(payload) if refused else b""
        answer = await self._engine.call("signal", now_ms, self._retention_ms, target, key, unwrap(blob), why)
        named = f"the signal {key!r} of workflow {target}" if key else f"task {target}"
        match answer.decode():
            case "unknown" if key:
                raise WorkflowUnknown(f"no open workflow {target!r} takes the signal {key!r}")
            case "unknown":
                raise TaskUnknown(f"the engine holds no task {target!r}")
            case "ended":
                raise SignalRefused(f"{named} has ended without an answer; it takes none any more")
            case "answered":
                raise SignalRefused(f"{named} was answered before, with another payload; the first stands")
            case "no_signal":
                raise SignalRefused(f"{named} waits for no signal: it is work or a timer")

    async def pause(self, workflow_id: str, *, now_ms: int = SERVER_CLOCK) -> bool:
        """Let nothing new of a workflow be claimed; what runs finishes. Return False when it was paused before or isn't open."""
        return bool(await self._engine.call("pause", now_ms, workflow_id))

    async def resume(self, workflow_id: str, *, now_ms: int = SERVER_CLOCK) -> bool:
        """Go on in the old order; return False when the workflow wasn't paused."""
        return bool(await self._engine.call("resume", now_ms, workflow_id))

    async def rerun(self, workflow_id: str, task_id: str, *, now_ms: int = SERVER_CLOCK) -> int:
        """Do a task of a workflow and all that came of it again; return how many tasks were reset.

        The task and those downstream of it start anew: without their steps, with sub-tasks of their own under new ids. Results
        upstream stay. A task that waits for a sub-task among them (its parent) goes through its code again, with its steps and
        its other sub-tasks as they were. A workflow that had ended is opened again, and what its end cancelled goes on.
        A task that hasn't begun is left as it is. Raises `WorkflowUnknown`, `TaskUnknown` (also for a task of another workflow,
        and a compensation), and `ResetRefused` when the workflow has more than 5,000 tasks, or compensates what it did.
        """
        answer = await self._engine.call("rerun", now_ms, self._retention_ms, workflow_id, task_id)
        return _count_of_reset(answer, workflow_id, task_id)

    async def dead_letters(
        self, *, limit: int = 100, cursor: str = "", workflow_id: str = "", tenant: str = ""
    ) -> list[DeadLetter]:
        """Return tasks that failed for good, newest first; go on after one by its `cursor`.

        With `workflow_id` only that workflow's, of those among the `limit` looked at: a page may be short though more follow.
        With `tenant` that tenant's, a whole page of them, of the next `TENANT_LOOKS_MAX` thousand letters.
        """
        if not tenant:
            return await self._dead_letters(limit, cursor, workflow_id)
        found: list[DeadLetter] = []
        for _ in range(TENANT_LOOKS_MAX):
            page = await self._dead_letters(1000, cursor, "")
            found += [each for each in page if each.tenant == tenant and workflow_id in ("", each.workflow_id)]
            if len(found) >= limit or not page:
                break
            cursor = page[-1].cursor
        return found[:limit]

    async def _dead_letters(self, limit: int, cursor: str, workflow_id: str) -> list[DeadLetter]:
        rank = 0
        if cursor:
            rank = await self._rank_after(cursor)
        (found,) = await self._engine.read([("ZREVRANGE", self._engine.key("dead"), rank, rank + limit - 1, "WITHSCORES")])
        ids = [found[i].decode() for i in range(0, len(found), 2)]
        times = [int(float(found[i + 1])) for i in range(0, len(found), 2)]
        held = await self._engine.read([("HMGET", self._engine.key("t", one), "b", "w", "c", "f", "e") for one in ids])
        letters = [_letter(one, at_ms, row) for one, at_ms, row in zip(ids, times, held, strict=True) if row[0]]
        return [letter for letter in letters if not workflow_id or letter.workflow_id == workflow_id]

    async def _rank_after(self, cursor: str) -> int:
        at_ms, _, task_id = cursor.partition(":")
        name = self._engine.key("dead")
        (rank, newer) = await self._engine.read([("ZREVRANK", name, task_id), ("ZCOUNT", name, f"({at_ms}", "+inf")])
        return int(newer) if rank is None else int(rank) + 1  # put back or discarded meanwhile: those of its time come again

    async def put_back(self, task_ids: Sequence[str], *, now_ms: int = SERVER_CLOCK) -> dict[str, str]:
        """Queue dead letters again with all their retries, and un-fail what failed because of them; return what couldn't be.

        Their workflows are opened again if they had ended. The answer has, by task id, why some stay: `unknown` (no dead
        letter), `compensation` (what it should have undone stays done; run it as a task of its own), `compensating` (its
        workflow does so now) or `too_large` (its workflow has more than 5,000 tasks).
        """
        answer = await self._engine.call("put_back", now_ms, self._retention_ms, encode(task_ids))
        return {answer[i].decode(): answer[i + 1].decode() for i in range(0, len(answer), 2)}

    async def discard(self, task_ids: Sequence[str]) -> int:
        """Take dead letters off the list; the tasks stay failed. Return how many were on it."""
        return int(await self._engine.call("discard", SERVER_CLOCK, encode(task_ids)))

    async def expire(self, *, limit: int = SLICE, now_ms: int = SERVER_CLOCK) -> tuple[int, int]:
        """Fail tasks whose `expires_ms` is over; return how many were looked at, and when the next is due in ms (0: none)."""
        count, due_ms = await self._engine.call("expire", now_ms, self._retention_ms, limit)
        return int(count), int(due_ms)

    async def tend(self, *, limit: int = SLICE, now_ms: int = SERVER_CLOCK) -> bool:
        """Do the next `limit` tasks' worth of what earlier calls left to do; return whether there is more."""
        return bool(await self._engine.call("tend", now_ms, limit))


def _refusal(payload: dict[str, Json]) -> bytes:
    by, comment = payload.get("by"), payload.get("comment")
    message = f"{by} refused" if by else "it was refused"
    return bytes(encode(Failure("refused", f"{message}: {comment}" if comment else message)))


def _count_of_reset(answer: int | bytes, workflow_id: str, task_id: str) -> int:
    match answer:
        case b"no_workflow":
            raise WorkflowUnknown(f"the engine holds no workflow {workflow_id!r}; what it has forgotten can't run again")
        case b"unknown":
            raise TaskUnknown(f"workflow {workflow_id!r} has no task {task_id!r}")
        case b"too_large":
            raise ResetRefused(f"workflow {workflow_id!r} has too many tasks for a re-run; submit what is missing as a new one")
        case b"compensating":
            raise ResetRefused(f"workflow {workflow_id!r} compensates what it did; re-run it when it has ended")
        case _:
            return int(answer)


def _letter(task_id: str, at_ms: int, row: Sequence[bytes | None]) -> DeadLetter:
    blob, workflow, claim, failures, why = row
    spec = _spec.decode(blob or b"")
    return DeadLetter(
        task_id=task_id,
        at_ms=at_ms,
        capability=spec.capability,
        key=spec.key,
        title=spec.title,
        workflow_id=(workflow or b"").decode(),
        tenant=spec.tenant,
        attempt=int((claim or b"0").partition(b"\n")[0]),
        failures=int(failures or 0),
        failure=_failure.decode(why) if why else None,
    )
