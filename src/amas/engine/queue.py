"""The task queue: every transition of tasks and workflows, as one method each around one server-side function.

Batches in, batches out; nothing here decides anything that the functions don't. `now_ms` is for callers that own the clock
(the simulator, tests); everyone else leaves it to the server. See `functions/*.lua` for what each keeps true.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK
from amas.engine.connection import Argument, Engine
from amas.engine.payload import encode_spec
from amas.errors import DependencyUnknown, EngineError, IdempotencyConflict, QueueFull, SubmissionError
from amas.model.fleet import own_queue
from amas.model.journal import ProgressNote, WorkflowOpening
from amas.model.limits import Reserve, Usage
from amas.model.numbers import pool_named
from amas.model.states import TaskState, WorkflowState
from amas.model.task import (
    Claimed,
    Completion,
    FailedAttempt,
    Failure,
    JournaledStep,
    Json,
    OnFailure,
    Submission,
    SubmitOptions,
    TaskKind,
    TaskOutcome,
    TaskSpec,
    TaskView,
)

RETENTION_S = 3600.0
"""Seconds for which finished work stays in the engine; the records keep it for good."""
IDEMPOTENCY_S = 24 * 3600.0
"""Seconds for which an idempotency key's first answer is remembered."""

encode = msgspec.msgpack.Encoder().encode
_claimed = msgspec.msgpack.Decoder(list[Claimed])
_outcomes = msgspec.msgpack.Decoder(list[TaskOutcome])
_spec = msgspec.msgpack.Decoder(TaskSpec)
_failure = msgspec.msgpack.Decoder(Failure)
_any = msgspec.msgpack.Decoder()
_NOTHING_CLAIMED = encode([])
_RETRIES = SubmitOptions().retries


class Idempotency(msgspec.Struct, frozen=True):
    """Makes a submission repeatable: the same key and digest get the first answer, another digest a conflict."""

    key: str
    digest: str
    answer: bytes
    """What a repetition gets back, such as the ids."""


class Slots(msgspec.Struct, frozen=True, array_like=True):
    """Free agents that serve the same queues; an agent with room for two tasks stands there twice."""

    queues: tuple[str, ...]
    agent_ids: list[str]


class Spent(NamedTuple):
    """What tasks took of agents' time: the engine learns from it what a queue's tasks cost."""

    queue: str
    tasks: int
    microseconds: int


class Held(NamedTuple):
    """What the engine holds of a task."""

    task: TaskView
    parked_on: tuple[str, ...]
    """The resources that it waits for while it is queued."""
    tenant: str
    """Whose it is, "" for nobody's: a sub-task is its workflow's, whatever was said with it."""


class Exchange(NamedTuple):
    """What a host tells and asks in one round trip."""

    completions: Sequence[Completion] = ()
    failures: Sequence[FailedAttempt] = ()
    slots: Sequence[Slots] = ()
    spent: Sequence[Spent] = ()
    """Goes with completions: where there are none, it stays for the next time."""


class Exchanged(NamedTuple):
    """What it is answered."""

    refused: list[tuple[str, str]]
    """(task id, `stale` | `cancelled` | `unknown`) of outcomes that the fence kept out."""
    claimed: list[Claimed] | None
    """None when the host holds no lease."""


def make_submission(  # noqa: PLR0913  one for each word of a submission
    task_id: str,
    spec: TaskSpec,
    *,
    priority: int = 1,
    delay_s: float = 0.0,
    pool: str = "",
    on_failure: OnFailure = "fail",
    cost_s: float = 0.0,
    quorum: int = 0,
    kind: TaskKind = "work",
    expires_s: float = 0.0,
    compensates: str = "",
    reserves: Sequence[Reserve] = (),
) -> Submission:
    """Return `spec` ready for `TaskQueue.submit`; `pool` keeps it for one pool's agents, the rest as in `SubmitOptions`.

    PayloadTooLarge when its input is too large for the engine: `LargeValues.submission` then puts it in the artifact store.
    """
    said: object = spec.needs or spec.workflow_id or spec.parent_id or spec.tenant or delay_s or cost_s or expires_s
    said = said or reserves or quorum or compensates or kind != "work" or on_failure != "fail" or spec.retry.retries != _RETRIES
    options = None
    if said:  # of most tasks there is nothing to say
        options = SubmitOptions(
            needs=list(spec.needs) or None,
            delay_ms=round(delay_s * 1000) if delay_s else 0,
            workflow_id=spec.workflow_id,
            parent_id=spec.parent_id,
            retries=spec.retry.retries,
            on_failure=on_failure,
            tenant=spec.tenant,
            cost_ms=math.ceil(cost_s * 1000) if cost_s else 0,
            reserves=list(reserves) or None,
            quorum=quorum,
            kind=kind,
            expires_ms=math.ceil(expires_s * 1000) if expires_s else 0,
            compensates=compensates,
        )
    queue = spec.key or task_id if kind == "signal" else own_queue(pool) if pool else spec.capability
    return Submission(
        task_id,
        queue,
        encode_spec(spec, f"task {spec.key or spec.capability}"),
        priority,
        options,
    )


def _refusals(answer: list[Any]) -> dict[int, str]:
    return {answer[i]: answer[i + 1].decode() for i in range(0, len(answer), 2)}


class TaskQueue:
    """Tasks and workflows in one cell."""

    def __init__(self, engine: Engine, *, retention_s: float = RETENTION_S) -> None:
        self._engine = engine
        self._retention_ms = round(retention_s * 1000)

    def now_ms(self) -> int:
        """Return the engine's time, by which deadlines and delays count, whatever this machine's clock says."""
        return self._engine.now_ms()

    async def submit(
        self,
        batch: Sequence[Submission],
        *,
        workflow: WorkflowOpening | None = None,
        idempotency: Idempotency | None = None,
        client_id: str = "",
        resend: bool = False,
        now_ms: int = SERVER_CLOCK,
    ) -> bytes | None:
        """Store a batch whole or not at all; return None, or the first answer when the idempotency key was used before.

        `client_id` gets the outcomes on its reply channel. `resend`: ids that are stored already are left as they are, so a
        submission whose acknowledgement was lost can be said again; without it the ids must be new (they aren't looked up).
        Raises a `SubmissionError` and stores nothing when refused.
        """
        key = idempotency
        answer = await self._engine.call(
            "submit",
            now_ms,
            self._retention_ms,
            client_id,
            "1" if resend else "0",
            key.key if key else "",
            key.digest if key else "",
            round(IDEMPOTENCY_S * 1000),
            key.answer if key else b"",
            encode(workflow) if workflow else b"",
            encode(batch),
        )
        match answer[0]:
            case b"ok":
                return None
            case b"seen":
                return bytes(answer[1])
            case b"conflict":
                raise IdempotencyConflict("this idempotency key was used before with another body")
            case b"queue_full":
                raise _queue_full(answer)
            case _:
                raise _submission_error(answer[0].decode(), answer[1].decode())

    async def claim(self, host_id: str, slots: Sequence[Slots], *, now_ms: int = SERVER_CLOCK) -> list[Claimed] | None:
        """Return tasks for free agents, each as a new attempt; None when the host holds no lease and must register anew."""
        answer = await self._engine.call("claim", now_ms, host_id, encode(slots))
        return _claims(answer)

    async def exchange(self, host_id: str, said: Exchange, *, now_ms: int = SERVER_CLOCK) -> Exchanged:
        """Record outcomes and claim in one round trip and one flush of the log; return what was refused and what was claimed.

        Safe to say again after an error, except that what a lost answer claimed must be given back.
        """
        batch: list[tuple[str, Sequence[Argument]]] = []
        if said.completions:
            lesson = (encode(said.spent),) if said.spent else ()
            batch.append(("complete", (now_ms, self._retention_ms, host_id, encode(said.completions), *lesson)))
        if said.failures:
            batch.append(("fail", (now_ms, self._retention_ms, host_id, encode(said.failures))))
        if said.slots:
            batch.append(("claim", (now_ms, host_id, encode(said.slots))))
        answers = iter(await self._engine.calls(batch))
        refused: list[tuple[str, str]] = []
        for outcomes in (said.completions, said.failures):
            if outcomes:
                refused += [(outcomes[index].id, why) for index, why in _refusals(next(answers)).items()]
        claimed = next(answers) if said.slots else _NOTHING_CLAIMED
        return Exchanged(refused, _claims(claimed))

    async def complete(
        self, host_id: str, batch: Sequence[Completion], *, spent: Sequence[Spent] = (), now_ms: int = SERVER_CLOCK
    ) -> dict[int, str]:
        """Record results, and what tasks took; return what the fence kept out, as index -> `stale`, `cancelled` or `unknown`."""
        lesson = (encode(spent),) if spent else ()
        return _refusals(await self._engine.call("complete", now_ms, self._retention_ms, host_id, encode(batch), *lesson))

    async def fail(self, host_id: str, batch: Sequence[FailedAttempt], *, now_ms: int = SERVER_CLOCK) -> dict[int, str]:
        """Record failed attempts; return what the fence kept out."""
        return _refusals(await self._engine.call("fail", now_ms, self._retention_ms, host_id, encode(batch)))

    async def give_back(
        self, host_id: str, batch: Sequence[tuple[str, int] | tuple[str, int, Usage]], *, now_ms: int = SERVER_CLOCK
    ) -> dict[int, str]:
        """Put (task id, attempt) back into their queues without blame; return what the fence kept out.

        Without the `Usage` of an attempt all that it had reserved counts as spent.
        """
        return _refusals(await self._engine.call("give_back", now_ms, host_id, encode(batch)))

    async def journal_steps(self, batch: Sequence[JournaledStep], *, now_ms: int = SERVER_CLOCK) -> dict[int, str]:
        """Keep the results of steps; return what the fence kept out."""
        return _refusals(await self._engine.call("step", now_ms, encode(batch)))

    async def suspend(  # noqa: PLR0913  one for each word of the call
        self,
        host_id: str,
        task_id: str,
        attempt: int,
        *,
        wait_for: Sequence[str],
        children: Sequence[Submission],
        usage: Usage | None = None,
        now_ms: int = SERVER_CLOCK,
    ) -> str:
        """Store sub-tasks and let the attempt wait for them; return "" or the fence's refusal."""
        answer = await self._engine.call(
            "suspend",
            now_ms,
            self._retention_ms,
            host_id,
            "",
            task_id,
            attempt,
            encode(wait_for),
            encode(children),
            encode(usage or Usage()),
        )
        if not answer:
            return ""
        refusal, at_fault = answer[0].decode(), answer[1].decode()
        if refusal in {"stale", "cancelled", "unknown"}:
            return str(refusal)
        raise _submission_error(refusal, at_fault)

    async def cancel(self, task_ids: Sequence[str], *, now_ms: int = SERVER_CLOCK) -> int:
        """Cancel tasks; return how many were open."""
        return int(await self._engine.call("cancel", now_ms, self._retention_ms, encode(task_ids)))

    async def end_workflow(self, workflow_id: str, state: WorkflowState, *, now_ms: int = SERVER_CLOCK) -> bool:
        """End a workflow now and cancel what is open in it; return False when it had ended or is unknown."""
        return bool(await self._engine.call("end_workflow", now_ms, self._retention_ms, workflow_id, state.value))

    async def promote(self, *, limit: int = 1000, now_ms: int = SERVER_CLOCK) -> tuple[int, int]:
        """Queue delayed tasks whose time has come; return how many, and when the next is due in ms (0: none)."""
        count, due_ms = await self._engine.call("promote", now_ms, limit, self._retention_ms)
        return int(count), int(due_ms)

    async def forget(self, *, workflows: int = 1000, tasks: int = 1000, now_ms: int = SERVER_CLOCK) -> int:
        """Remove ended workflows with their tasks, and ended tasks outside any, whose retention is over; return how many.

        At most so many workflows, and about so many tasks: those outside any that one call ended go together. Fewer than
        `tasks` were removed when no more are due.
        """
        return int(await self._engine.call("forget", now_ms, workflows, tasks))

    async def weigh(self, weights: Mapping[str, float]) -> None:
        """Set all tenants' weights: how many times a tenant of weight 1 each gets. Queued tasks keep their places."""
        await self._engine.call("weigh", encode({tenant: str(weight) for tenant, weight in weights.items()}))

    async def note_progress(self, notes: Sequence[ProgressNote], *, now_ms: int = SERVER_CLOCK) -> None:
        """Put agents' progress into the journal."""
        await self._engine.call("append", now_ms, "progress", encode(notes))

    async def steps(self, task_id: str) -> dict[str, bytes]:
        """Return the journaled steps of a task: name -> msgpack."""
        (found,) = await self._engine.read([("HGETALL", self._engine.key("s", task_id))])
        return {name.decode(): result for name, result in found.items()}

    async def ended(self, task_ids: Sequence[str]) -> list[TaskOutcome]:
        """Return the outcomes of those tasks that have ended, in order; a thousand cost little more than one."""
        outcomes: list[TaskOutcome] = _outcomes.decode(await self._engine.call("outcomes", encode(task_ids)))
        return outcomes

    async def outcomes(self, task_ids: Sequence[str]) -> dict[str, TaskOutcome]:
        """Return the state, result and failure of those tasks that the engine knows, in any state."""
        answers = await self._engine.read([("HMGET", self._engine.key("t", task_id), "s", "r", "e") for task_id in task_ids])
        return {
            task_id: TaskOutcome(
                task_id,
                TaskState(state.decode()),
                _any.decode(result) if result else None,
                _failure.decode(failure) if failure else None,
            )
            for task_id, (state, result, failure) in zip(task_ids, answers, strict=True)
            if state
        }

    async def known(self, task_ids: Sequence[str]) -> list[bool]:
        """Return of each task whether the engine holds it, in any state."""
        return [bool(there) for there in await self._engine.read([("EXISTS", self._engine.key("t", each)) for each in task_ids])]

    async def agents_of(self, task_ids: Sequence[str]) -> dict[str, str]:
        """Return who claimed each task last, of those that the engine knows and somebody claimed."""
        found = await self._engine.read([("HGET", self._engine.key("t", task_id), "c") for task_id in task_ids])
        return {task_id: claim.decode().split("\n")[2] for task_id, claim in zip(task_ids, found, strict=True) if claim}

    async def score(self, gate_id: str, number: int, score: float, agent_ids: Iterable[str]) -> None:
        """Count what a gate thought in round `number` of these agents' work, where a pool of theirs is part of a roll-out."""
        pools = sorted({pool_named(agent_id) for agent_id in agent_ids})
        await self._engine.call("score", gate_id, number, f"{score:.6f}", *pools)

    async def task(self, task_id: str) -> TaskView | None:
        """Return what the engine holds of a task; None when it has forgotten it or never knew."""
        (found,) = await self.look([task_id])
        return found.task if found else None

    async def look(self, task_ids: Sequence[str]) -> list[Held | None]:
        """Return what the engine holds of each task, in order and in one round trip; None for what it doesn't know."""
        answers = await self._engine.read([self._holding(task_id) for task_id in task_ids])
        return [_held(task_id, found) for task_id, found in zip(task_ids, answers, strict=True)]

    async def glance(self, task_id: str) -> Held | None:
        """Return the same of one, over the connection that all who look share; LineBroken where only `look` may find it out."""
        return _held(task_id, await self._engine.line.ask(self._holding(task_id)))

    def _holding(self, task_id: str) -> tuple[str, ...]:
        return "HMGET", self._engine.key("t", task_id), *_HELD_FIELDS

    async def workflow(self, workflow_id: str) -> dict[str, Json] | None:
        """Return a workflow's id, state, root_id, goal, times, and its tasks: total, open, succeeded, failed, cancelled.

        `failure`: why the engine ended it, such as `budget_exhausted`; None when its tasks decided that.
        """
        (found,) = await self._engine.read([("HMGET", self._engine.key("w", workflow_id), *_FLOW_FIELDS)])
        return _flow(workflow_id, found) if found[0] else None

    async def workflow_tasks(self, workflow_id: str, *, limit: int) -> list[TaskView]:
        """Return the first `limit` tasks of a workflow in the order of their submission, without results."""
        (ids,) = await self._engine.read([("LRANGE", self._engine.key("wt", workflow_id), 0, limit - 1)])
        return _listed(ids, await self._engine.read(self._listing(ids)))

    async def workflow_in_full(
        self, workflow_id: str, *, limit: int
    ) -> tuple[dict[str, Json], list[TaskView], TaskView | None] | None:
        """Return what `workflow` and `workflow_tasks` do, and the root task, in two round trips; None when it is unknown."""
        flow, ids = await self._engine.read(
            [
                ("HMGET", self._engine.key("w", workflow_id), *_FLOW_FIELDS),
                ("LRANGE", self._engine.key("wt", workflow_id), 0, limit - 1),
            ]
        )
        if not flow[0]:
            return None
        held = _flow(workflow_id, flow)
        root_id = held["root_id"]
        commands = self._listing(ids) + ([("HMGET", self._engine.key("t", root_id), *_VIEW_FIELDS)] if root_id else [])
        answers = await self._engine.read(commands)
        root = dict(zip(_VIEW_FIELDS, answers.pop(), strict=True)) if root_id else {}
        return held, _listed(ids, answers), _view(root_id, root) if root.get("s") else None

    def _listing(self, ids: Sequence[bytes]) -> list[Sequence[str]]:
        return [("HMGET", self._engine.key("t", task_id.decode()), *_LISTED_FIELDS) for task_id in ids]

    async def workflows_of(self, task_ids: Sequence[str]) -> dict[str, str]:
        """Return the workflow of each task that the engine knows, "" for none."""
        answers = await self._engine.read([("HMGET", self._engine.key("t", task_id), "s", "w") for task_id in task_ids])
        return {
            task_id: (workflow or b"").decode() for task_id, (state, workflow) in zip(task_ids, answers, strict=True) if state
        }

    async def tenants_of(self, task_ids: Sequence[str]) -> dict[str, str]:
        """Return the tenant of each task that the engine knows, "" for none."""
        answers = await self._engine.read([("HMGET", self._engine.key("t", task_id), "s", "T") for task_id in task_ids])
        return {task_id: (tenant or b"").decode() for task_id, (state, tenant) in zip(task_ids, answers, strict=True) if state}

    async def open_workflows(self, *, limit: int) -> dict[str, int]:
        """Return the workflows that have run for longest: id -> when it was opened, for the last time, in ms."""
        (found,) = await self._engine.read([("ZRANGE", self._engine.key("open"), 0, limit - 1, "WITHSCORES")])
        return {found[i].decode(): int(float(found[i + 1])) for i in range(0, len(found), 2)}

    async def depths(self) -> dict[str, int]:
        """Return how many tasks are queued, by queue, for every queue ever used."""
        (names,) = await self._engine.read([("SMEMBERS", self._engine.key("queues"))])
        queues = sorted(name.decode() for name in names)
        sizes = await self._engine.read([("ZCARD", self._engine.key("q", queue)) for queue in queues])
        return dict(zip(queues, map(int, sizes), strict=True))

    async def heads(self, queues: Sequence[str]) -> dict[str, str]:
        """Return the task that each of these queues gives out next; empty queues are left out."""
        found = await self._engine.read([("ZRANGE", self._engine.key("q", queue), 0, 0) for queue in queues])
        return {queue: head[0].decode() for queue, head in zip(queues, found, strict=True) if head}

    async def totals(self) -> dict[str, int]:
        """Return the counters kept since the engine began, and what there is now.

        `open_workflows`, of which `waiting_workflows` wait for their turn, `delayed` tasks and `dead_letters`.
        """
        found, workflows, waiting, delayed, dead = await self._engine.read(
            [
                ("HGETALL", self._engine.key("totals")),
                ("ZCARD", self._engine.key("open")),
                ("ZCARD", self._engine.key("lobby")),
                ("ZCARD", self._engine.key("delayed")),
                ("ZCARD", self._engine.key("dead")),
            ]
        )
        counted = {name.decode(): int(value) for name, value in found.items()}
        return {
            **counted,
            "open_workflows": int(workflows),
            "waiting_workflows": int(waiting),
            "delayed": int(delayed),
            "dead_letters": int(dead),
        }


_VIEW_FIELDS = ("s", "b", "p", "c", "f", "w", "u", "z", "r", "e")
_HELD_FIELDS = (*_VIEW_FIELDS, "T", "V")
_LISTED_FIELDS = tuple(name for name in _VIEW_FIELDS if name != "r")
_FLOW_FIELDS = ("s", "root", "total", "open", "succeeded", "failed", "cancelled", "c", "z", "b", "paused", "e", "admission")


def _listed(ids: Sequence[bytes], answers: Sequence[Sequence[bytes | None]]) -> list[TaskView]:
    return [
        _view(task_id.decode(), {**dict(zip(_LISTED_FIELDS, held, strict=True)), "r": None})
        for task_id, held in zip(ids, answers, strict=True)
        if held[0]
    ]


def _flow(workflow_id: str, found: Sequence[bytes | None]) -> dict[str, Json]:
    state, root_id = found[0] or b"", found[1] or b""
    numbers = [int(value or 0) for value in found[2:9]]
    shown = ("total", "open", "succeeded", "failed", "cancelled", "created_ms", "finished_ms")
    return {
        "id": workflow_id,
        "state": _workflow_state(state.decode(), paused=found[10], admission=found[12]),
        "root_id": root_id.decode(),
        **dict(zip(shown, numbers, strict=True)),
        "goal": _any.decode(found[9]) if found[9] else None,
        "failure": _failure.decode(found[11]) if found[11] else None,
    }


def _claims(answer: bytes) -> list[Claimed] | None:
    return None if answer == b"lost" else [each.in_time() for each in _claimed.decode(answer)]


def _held(task_id: str, answer: Sequence[bytes | None]) -> Held | None:
    found = dict(zip(_HELD_FIELDS, answer, strict=True))
    if not found["s"]:
        return None
    return Held(_view(task_id, found), parked_on(found["s"], found["V"]), (found["T"] or b"").decode())


def _view(task_id: str, held: Mapping[str, bytes | None]) -> TaskView:
    def text(name: str) -> str:
        return (held[name] or b"").decode()

    def number(name: str, default: int = 0) -> int:
        return int(held[name] or default)

    spec = _spec.decode(held["b"] or b"")
    attempt, host_id, agent_id, started_ms = (text("c") or "0\n\n\n0").split("\n")
    return TaskView(
        id=task_id,
        state=TaskState(text("s")),
        capability=spec.capability,
        key=spec.key,
        title=spec.title,
        layer=spec.layer,
        workflow_id=text("w"),
        parent_id=text("u"),
        tenant=spec.tenant,
        needs=spec.needs,
        attempt=int(attempt),
        failures=number("f"),
        agent_id=agent_id,
        host_id=host_id,
        priority=number("p", 1),
        started_ms=int(started_ms),
        finished_ms=number("z"),
        traceparent=spec.traceparent,
        input=spec.input,
        result=_any.decode(held["r"]) if held["r"] else None,
        failure=_failure.decode(held["e"]) if held["e"] else None,
    )


def parked_on(state: bytes | None, place: bytes | None) -> tuple[str, ...]:
    """Return the resources that a task in this state waits for, from its field `V`; see `functions/05_resources.lua`."""
    if state != b"queued" or not place:
        return ()
    kind, *rest = _any.decode(place)
    return tuple(rest[2]) if kind == "parked" else ()


def _workflow_state(state: str, *, paused: bytes | None, admission: bytes | None) -> str:
    if state == "running" and paused:
        return "paused"
    return "waiting" if state == "running" and admission not in {None, b"in"} else state


def _queue_full(answer: Sequence[Any]) -> QueueFull:
    _, queue, depth, bound, wanted, room_in_ms = answer
    room_in_s = room_in_ms / 1000 if room_in_ms else None
    return QueueFull(queue.decode(), depth=depth, bound=bound, wanted=wanted, room_in_s=room_in_s)


def _submission_error(refusal: str, at_fault: str) -> Exception:
    match refusal:
        case "dependency_unknown":
            return DependencyUnknown(f"a task needs {at_fault!r}, which is neither in the batch nor in the engine")
        case "duplicate":
            return SubmissionError(f"the id {at_fault!r} stands twice in one batch")
        case "compensation_unfit":
            return SubmissionError(f"{at_fault!r} must compensate one task of its own workflow that nothing else compensates")
        case "workflow_closed":
            return SubmissionError(f"the workflow {at_fault!r} has ended or doesn't exist; it takes no further tasks")
        case _:
            return EngineError(f"the engine refused a submission: {refusal} ({at_fault})")
