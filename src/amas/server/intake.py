"""Requests on their way in: bodies read in their media type, tasks checked against the fleet and made ready for the engine.

One decoding by msgspec checks and converts a whole batch; nothing here looks at a task twice.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import msgspec
from fastapi import Request

from amas.artifacts.values import Draft, LargeValues
from amas.clock import new_ids, now_ms
from amas.core.conditions import compiled
from amas.engine.queue import Idempotency
from amas.errors import CapabilityUnknown
from amas.model.fleet import VARIANT, FleetSpec
from amas.model.limits import Reserve, reserves_of
from amas.model.task import RetryPolicy, Submission, TaskSpec
from amas.observe.tracing import current
from amas.server import once
from amas.server.access_shapes import NewKey, NewRotation, NewSignIn, NewTokens
from amas.server.alert_shapes import NewRun, NewSilence, RunAnswer
from amas.server.backup_shapes import NewBackup
from amas.server.bodiless import BODILESS
from amas.server.desired_shapes import NewAgent, NewFleet, NewScale, Wished, Word
from amas.server.healing_shapes import BreakerName, NewKill, NewQuarantine
from amas.server.hook_shapes import NewWebhook
from amas.server.identity import as_caller, caller_of
from amas.server.media import ALIASES, JSON, MSGPACK, NDJSON
from amas.server.message_shapes import NewMessage, NewQuestion
from amas.server.policy_shapes import NewPolicies, NewPolicyTest
from amas.server.problems import Fault, Refusal, fault_of
from amas.server.remote_shapes import (
    NewBeat,
    NewClaim,
    NewFailure,
    NewProgress,
    NewReceipt,
    NewReceive,
    NewRemoteMessage,
    NewRemoteQuestion,
    NewResult,
    NewSession,
    NewStep,
    NewTokenWish,
)
from amas.server.rollout_shapes import NewRollout
from amas.server.shapes import (
    NewAnswer,
    NewBudget,
    NewGoal,
    NewLimit,
    NewRerun,
    NewRetry,
    NewSchedule,
    NewSignal,
    NewTask,
    NewWorkflow,
    TaskIds,
    TaskSignal,
)

BATCH_MAX = 1000
"""Tasks in one request: they are stored whole or not at all, in one call of the engine, which serves nobody else meanwhile."""

Shape = TypeVar(
    "Shape",
    NewSession, NewClaim, NewBeat, NewResult, NewFailure, NewProgress, NewStep, NewRemoteMessage, NewRemoteQuestion, NewReceive,
    NewReceipt, NewTokenWish,
    NewTask, NewGoal, NewSchedule, NewLimit, NewBudget, NewWorkflow, NewSignal, TaskSignal, NewRerun, NewAnswer, TaskIds,
    NewMessage, NewQuestion, NewRollout, Word, NewQuarantine, BreakerName, NewSilence, NewRun, RunAnswer,
    Wished, NewFleet, NewScale, NewAgent, NewBackup,
    NewKey, NewSignIn, NewTokens, NewKill, NewRotation, NewPolicies, NewPolicyTest, NewWebhook,
)  # fmt: skip


def _no_extension(code: int, _: memoryview) -> object:
    """Refuse what JSON can't say; ours are references to the artifact store, which nobody but us may make."""
    raise msgspec.ValidationError(f"a msgpack extension (of type {code}) is no JSON value")


_json_batch = msgspec.json.Decoder(list[NewTask])
_msgpack_batch = msgspec.msgpack.Decoder(list[NewTask], ext_hook=_no_extension)
_line = msgspec.json.Decoder(NewTask)


def media_type(request: Request, known: Sequence[str]) -> str:
    """Return the body's media type; Refusal (415) when it isn't one of `known`."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kind = ALIASES.get(given, given)
    if kind not in known:
        raise Refusal(
            Fault(detail=f"send {' or '.join(known)}, not {given or 'a body without a content type'}", parameter="content-type"),
            status=415,
            code="media_type_unknown",
        )
    return kind


def _malformed(error: msgspec.MsgspecError | UnicodeDecodeError, shape: Any = None, *, within: str = "") -> Refusal:
    if isinstance(error, msgspec.ValidationError):
        return Refusal(fault_of(error, shape, within=within))
    return Refusal(Fault(detail=f"the body can't be read: {error}", pointer=f"#{within}"), status=400, code="body_malformed")


async def read_one(request: Request, shape: type[Shape], *, known: Sequence[str] = (JSON,)) -> Shape:
    """Return the body, JSON or another of `known`, as `shape`; Refusal says where it isn't one."""
    left_out = shape in BODILESS and "content-type" not in request.headers and not await request.body()
    kind = JSON if left_out else media_type(request, known)
    body = b"{}" if left_out else await request.body()
    try:
        if kind == MSGPACK:
            found = msgspec.msgpack.decode(body, type=shape, ext_hook=_no_extension)
        else:
            found = msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _malformed(error, shape) from error
    return as_caller(caller_of(request), found)


async def read_batch(request: Request) -> list[NewTask]:
    """Return the tasks of a batch, from 1 to `BATCH_MAX`; Refusal says where it is wrong."""
    kind = media_type(request, [JSON, NDJSON, MSGPACK])
    body = await request.body()
    if kind == NDJSON:
        tasks = _lines(body)
    else:
        try:
            tasks = (_json_batch if kind == JSON else _msgpack_batch).decode(body)
        except msgspec.ValidationError as error:
            raise _at_fault(body, kind) or _malformed(error) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _malformed(error) from error
    if not 1 <= len(tasks) <= BATCH_MAX:
        raise Refusal(Fault(detail=f"a batch has 1 to {BATCH_MAX} tasks, not {len(tasks)}", pointer="#"))
    caller = caller_of(request)
    return [as_caller(caller, task) for task in tasks] if caller.tenant else tasks


def _at_fault(body: bytes, kind: str) -> Refusal | None:
    """Return the refusal that names the first wrong task of a batch; None when the batch is no array at all."""
    module = msgspec.json if kind == JSON else msgspec.msgpack
    try:
        parts = module.decode(body, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        return None
    for number, part in enumerate(parts):
        try:
            module.decode(part, type=NewTask)
        except msgspec.ValidationError as error:
            return _malformed(error, NewTask, within=f"/{number}")
    return None


def _lines(body: bytes) -> list[NewTask]:
    tasks = []
    for number, line in enumerate(filter(bytes.strip, body.split(b"\n"))):
        try:
            tasks.append(_line.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _malformed(error, within=f"/{number}") from error
    return tasks


@lru_cache(maxsize=256)
def _policy(retry: NewRetry) -> RetryPolicy:
    return RetryPolicy(retry.retries, retry.backoff_s, retry.backoff_max_s, retry.jitter)


async def submissions(tasks: Sequence[NewTask], fleet: FleetSpec, values: LargeValues) -> list[Submission]:
    """Return tasks ready for the engine, each with a new id; CapabilityUnknown when no agent of the fleet could ever take one."""
    check_capabilities(tasks, fleet)
    keys: dict[str, str] = {}
    drafts = []
    traceparent = current()
    submitted_ms = now_ms() if traceparent else 0
    for task_id, task in zip(new_ids(len(tasks)), tasks, strict=True):
        spec = TaskSpec(
            capability=task.capability,
            input=task.input,
            key=task.key,
            title=task.title,
            timeout_s=task.timeout_s,
            retry=_policy(task.retry),
            needs=tuple([keys.get(need, need) for need in task.needs]),
            tenant=task.tenant,
            deadline_ms=now_ms() + round(task.deadline_s * 1000) if task.deadline_s else 0,
            when=task.when,
            traceparent=traceparent,
            submitted_ms=submitted_ms,
        )
        if task.when:
            compiled(task.when)
        options = {
            "expires_s": task.deadline_s,
            "priority": task.priority,
            "delay_s": task.delay_s,
            "pool": task.pool,
            "on_failure": task.on_failure,
            "cost_s": task.cost_s,
            "reserves": _reserves(task),
        }
        drafts.append(Draft(task_id, spec, options))
        if task.key:
            keys[task.key] = task_id
    return await values.submissions(drafts)


def _reserves(task: NewTask) -> Sequence[Reserve]:
    if not (task.concurrency or task.provider or task.estimate or task.budget):
        return ()
    try:
        return reserves_of(concurrency=task.concurrency, provider=task.provider, estimate=task.estimate, budget=task.budget)
    except ValueError as error:
        raise Refusal(Fault(detail=str(error), pointer="#")) from error


class Capable(Protocol):
    """What names a capability, and a pool that is to do it."""

    @property
    def capability(self) -> str:
        """Dotted."""
        ...

    @property
    def pool(self) -> str:
        """Empty for any."""
        ...


def check_capabilities(tasks: Sequence[Capable], fleet: FleetSpec) -> None:
    """Raise `CapabilityUnknown` when no agent of the fleet could ever take one of the tasks."""
    pools = {pool.name: pool for pool in fleet.pools}
    for named, capability in {(task.pool, task.capability): None for task in tasks}:  # each once, in the order of the tasks
        pool = named.partition(VARIANT)[0]  # a version that is rolled out can do what its pool can
        if pool and pool not in pools:
            raise CapabilityUnknown(f"the fleet has no pool {pool!r}; it has {_some(pools)}")
        able = pools[pool].capabilities if pool else fleet.capabilities
        if capability not in able:
            who, can = (f"the pool {pool!r}", "can't do") if pool else ("no agent of this fleet", "can do")
            raise CapabilityUnknown(f"{who} {can} {capability!r}; what can be done: {_some(able)}")


def _some(names: object) -> str:
    assert isinstance(names, (frozenset, tuple, dict))
    shown = sorted(names)
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def idempotency(request: Request, body: object, answer: bytes) -> Idempotency | None:
    """Return what makes this submission repeatable, None without an `Idempotency-Key`."""
    key = once.given(request.headers)
    if not key:
        return None
    digest = sha256(msgspec.msgpack.encode(body, order="deterministic")).hexdigest()
    return Idempotency(once.scoped(key, caller_of(request), request.url.path), digest, answer)
