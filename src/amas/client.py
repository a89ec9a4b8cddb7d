"""The Python client: submit tasks and goals to a running fleet, and get their results.

    async with Fleet.connect() as fleet:
        task = await fleet.submit("text.summary", {"text": "..."})
        print(await task.result())

It talks to the engine itself, so it is as fast as the engine: `submit_batch` stores hundreds of tasks in one call, and single
`submit`s made at the same time are sent together. A submission that was acknowledged is on disk; one whose acknowledgement was
lost is said again under the same ids, so nothing is done twice. Outcomes are pushed; a slow poll beside it finds what a broken
connection lost.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from amas.artifacts.store import ArtifactStore
from amas.artifacts.values import Draft, LargeValues
from amas.clock import new_ids
from amas.core.conditions import compiled
from amas.engine.coalesce import Coalescer
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.expected import Expected
from amas.engine.limits import Limits
from amas.engine.payload import INLINE_BYTES_MAX, encode_value
from amas.engine.queue import Idempotency, TaskQueue
from amas.engine.replies import Replies
from amas.engine.schedules import Schedules
from amas.engine.sealed import SealKeys
from amas.engine.workflows import Workflows
from amas.errors import (
    ArtifactError,
    EngineUnreachable,
    QueueFull,
    SubmissionError,
    TaskCancelled,
    TaskFailed,
)
from amas.model.artifact import is_reference
from amas.model.fleet import DELAYED, FleetLimits, FleetSpec, own_queue
from amas.model.flow import Flow
from amas.model.goal import Goal
from amas.model.journal import WorkflowOpening
from amas.model.limits import Amounts, Reserve, reserves_of
from amas.model.states import Priority, TaskState
from amas.model.task import DEFAULT_RETRY, Json, OnFailure, RetryPolicy, Submission, TaskOutcome, TaskSpec
from amas.observe.tracing import current
from amas.orchestration.signals import send_signal
from amas.orchestration.workflow_handle import WorkflowHandle
from amas.sealing import read_seal
from amas.settings import ArtifactSettings, EngineSettings

if TYPE_CHECKING:
    from amas.orchestration.workflow import Workflow

BATCH_MAX = 1000
"""Tasks in one call of the engine; more go out in several."""
SINGLE_CALLS = 2
"""Calls of single submissions under way at a time: one is there for the engine while it brings the other to the disk.

They have no order between them; whoever submits a task that needs another has that one's acknowledgement."""
ROOM_S = 60.0
"""Seconds for which a submission waits for room in a full queue, where nothing else is said."""
ROOM_PAUSE_MIN_S, ROOM_PAUSE_MAX_S = 0.02, 1.0
"""Seconds between tries while a queue is full: as the engine estimates, within these."""
PATIENCE_S = 30.0
"""Seconds for which a submission is said again while the engine doesn't answer: it restarts in well under two."""

_AT_FAULT = (SubmissionError, ArtifactError, TypeError, ValueError, OverflowError)
"""What a task's own fields can cause."""

Done = TypeVar("Done")


class NewTask(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A task to submit."""

    capability: str
    input: Json = None
    needs: tuple[str, ...] = ()
    """Ids of tasks that must succeed first; their results reach the agent."""
    key: str = ""
    priority: Priority = Priority.NORMAL
    delay_s: float = 0.0
    timeout_s: float = 0.0
    retry: RetryPolicy = DEFAULT_RETRY
    on_failure: OnFailure = "fail"
    pool: str = ""
    """Only this pool's agents may take it."""
    tenant: str = ""
    """Whose work it is: tenants share every queue by weight."""
    cost_s: float = 0.0
    """What it takes of an agent's time, in seconds, for its fair share; 0: what such tasks took before."""
    deadline_s: float = 0.0
    """From now, waiting included: it fails when it hasn't ended by then; 0 for none."""
    when: str = ""
    """A JMESPath condition over `input` and `needs`; when it is false the task succeeds with null and nothing runs."""
    concurrency: dict[str, int] = msgspec.field(default_factory=dict)
    """Keys, each with how many tasks that name it may run at once: `{"customer-42": 3}`. The last said number holds."""
    provider: str = ""
    """Whose requests and tokens a minute it takes; empty takes the pool's."""
    estimate: Amounts | None = None
    """What one attempt takes; what isn't said is learned."""
    budget: Amounts | None = None
    """What it and its sub-tasks may spend; then it fails with `budget_exhausted`."""


class TaskHandle:
    """A submitted task."""

    __slots__ = ("_outcome", "_values", "id")

    def __init__(self, task_id: str, outcome: Expected, values: LargeValues) -> None:
        self._values = values
        self.stand_for(task_id, outcome)

    def stand_for(self, task_id: str, outcome: Expected) -> None:
        """Be the handle of this task."""
        self.id, self._outcome = task_id, outcome

    @property
    def done(self) -> bool:
        """Whether the task has ended, as far as is known here."""
        return self._outcome.done()

    async def outcome(self, *, timeout_s: float | None = None) -> TaskOutcome:
        """Return how the task ended, once it has; TimeoutError after `timeout_s` seconds, the task going on."""
        if not self._outcome.done():
            async with asyncio.timeout(timeout_s):
                await self._outcome.wait()
        outcome = self._outcome.get()
        return await self._values.outcome(outcome) if is_reference(outcome.result) else outcome

    async def result(self, *, timeout_s: float | None = None) -> Json:
        """Return the task's result; `TaskFailed` or `TaskCancelled` when it has none."""
        outcome = await self.outcome(timeout_s=timeout_s)
        if outcome.state is TaskState.SUCCEEDED:
            return outcome.result
        if outcome.state is TaskState.CANCELLED:
            raise TaskCancelled(f"task {self.id} was cancelled")
        failure = outcome.failure
        raise TaskFailed(self.id, failure.code if failure else "failed", failure.message if failure else "it failed")


class Fleet:
    """A running fleet, as programs see it; make one with `Fleet.connect()`."""

    def __init__(self, engine: Engine, *, declared: FleetSpec | None, values: LargeValues, wait_for_room_s: float) -> None:
        """`declared`: the fleet's file, where it is known."""
        self.engine, self._declared, self._values, self._room_s = engine, declared, values, wait_for_room_s
        self.queue = TaskQueue(engine)
        self.limits = Limits(engine)
        """What resources allow and hold, and changing it."""
        self.schedules = Schedules(engine, carry=values.carried, told=values.told, heard=values.heard)
        """What is submitted at times: `await fleet.schedules.add(Schedule(...))`."""
        self._replies = Replies(engine, self.queue)
        self._single: Coalescer[NewTask, TaskHandle | Exception] = Coalescer(
            self._submit_singles, limit=BATCH_MAX, calls=SINGLE_CALLS
        )
        self.workflows = Workflows(engine, carry=values.carried)
        """What happens to workflows as a whole, and dead letters."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        engine_url: str = "",
        *,
        home: Path | str | None = None,
        cell: str = "local",
        artifacts_url: str = "",
        wait_for_room_s: float = ROOM_S,
    ) -> AsyncIterator["Fleet"]:
        """Connect to an engine by URL, or to the fleet that runs in `home` (by default AMAS_HOME).

        `artifacts_url`: where inputs and results over 64 KiB go, by default AMAS_ARTIFACTS_URL: `s3://bucket/prefix` or a folder.
        The fleet in a home says so itself; with an engine's URL alone nobody does, and large values are refused.
        `wait_for_room_s`: how long submissions wait while a queue is full before they raise QueueFull; 0 is not at all.
        """
        asked = False
        artifacts = ArtifactSettings.read()
        artifacts_url = artifacts_url or artifacts.url
        if not engine_url:
            from amas.platforms.local.control import running_fleet

            state = running_fleet(Path(home) if home else None)
            engine_url, cell, artifacts_url, asked = state.engine_url, state.cell, state.artifacts_url, True
        payloads = read_seal()
        store = ArtifactStore(artifacts_url, seal=payloads.artifacts if payloads else None) if artifacts_url else None
        async with Engine(engine_url, cell=cell, settings=EngineSettings.read()) as engine:
            await engine.check()
            await SealKeys(engine).agree(payloads)
            declared = (await DesiredState(engine).read()).spec if asked else None
            values = LargeValues(store, bytes_max=artifacts.payload_bytes, seal=payloads)
            fleet = cls(engine, declared=declared, values=values, wait_for_room_s=wait_for_room_s)
            async with fleet._replies.listening():
                yield fleet

    @property
    def values(self) -> LargeValues:
        """Where inputs and results lie that are too large for the engine."""
        return self._values

    async def run(
        self,
        goal: str,
        *,
        input_dir: Path | str = "",
        output_dir: Path | str = "",
        preferences: dict[str, Json] | None = None,
        tenant: str = "",
        budget: Amounts | None = None,
    ) -> TaskHandle:
        """Submit a goal in plain words and return the handle of its workflow, whose result is the deliverable."""
        from amas.orchestration.submission import check_takes_goals, submit_goal

        if self._declared is not None:
            check_takes_goals(self._declared)
        limits = self._declared.limits if self._declared else FleetLimits()
        wanted = Goal(
            text=goal,
            input_dir=_absolute(input_dir),
            output_dir=_absolute(output_dir),
            preferences=preferences or {},
            tenant=tenant,
            budget=budget,
        )
        workflow_id, root_id = await submit_goal(
            self.queue, wanted, limits=limits, values=self._values, client_id=self._replies.client_id
        )
        return TaskHandle(workflow_id, self._replies.of_goal(workflow_id, root_id), self._values)

    async def start(
        self,
        flow: "Workflow | Flow",
        *,
        tenant: str = "",
        priority: Priority = Priority.NORMAL,
        deadline_s: float = 0.0,
        idempotency_key: str = "",
    ) -> WorkflowHandle:
        """Check a flow, store its tasks and return the handle of its workflow.

        `FlowInvalid` has a sentence for each mistake, and nothing was stored then. A large flow goes in by thousands; when this
        program dies half-way, starting the same flow again under the same `idempotency_key` goes on with the same workflow.
        Another flow under it is an `IdempotencyConflict`. `deadline_s`: from now; 0 takes the fleet's workflow time-out.
        """
        from amas.core.flow_check import check
        from amas.orchestration.flow_start import Starter, StartOptions, start_flow

        built = flow if isinstance(flow, Flow) else flow.built()
        check(built, capabilities=self._declared.capabilities if self._declared else None)
        options = StartOptions(tenant=tenant, priority=int(priority), deadline_s=deadline_s)
        starter = Starter(self._store_with_room, self.queue, self.workflows, self._values)
        return self.workflow(await start_flow(starter, built, options, key=idempotency_key))

    def workflow(self, workflow_id: str) -> WorkflowHandle:
        """Return the handle of a workflow that was started from a flow, by any program."""
        return WorkflowHandle(workflow_id, self.queue, self.workflows, self._values, ended=self._replies.of_flow)

    async def signal(self, task: TaskHandle | str, name: str, value: Json = None) -> None:
        """Send a task what it waits for, or will wait for, with `wait_for_signal(name)`; `SignalRefused` when it has ended."""
        await send_signal(self.engine, self.workflows, task if isinstance(task, str) else task.id, name, value)

    async def submit(
        self,
        capability: str,
        input: Json = None,  # noqa: A002  the field's name
        *,
        wait_for_room_s: float | None = None,
        idempotency_key: str = "",
        **options: object,
    ) -> TaskHandle:
        """Submit one task and return its handle once it is on disk; `options` are `NewTask`'s fields.

        While its queue is full this waits, so that a fast producer goes at the fleet's pace; QueueFull after `wait_for_room_s`.

        Under an `idempotency_key` that was used before with the same task, the handle is that of the first;
        with another task it is an `IdempotencyConflict`. Keys are remembered for a day.
        """
        task = NewTask(capability=capability, input=input, **options)  # type: ignore[arg-type]
        large = len(encode_value(task.input, f"the input of task {task.key or capability}")) > INLINE_BYTES_MAX
        if large or idempotency_key or current():  # the store's slowness is no other's, and neither are the key and the trace
            return (await self.submit_batch([task], wait_for_room_s=wait_for_room_s, idempotency_key=idempotency_key))[0]

        async def store() -> TaskHandle:
            answer = await self._single.put(task)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return await self._with_room(store, wait_for_room_s)

    async def submit_batch(
        self, tasks: Iterable[NewTask], *, wait_for_room_s: float | None = None, idempotency_key: str = ""
    ) -> list[TaskHandle]:
        """Submit many tasks and return their handles, in order, once all are on disk; up to 1000 are stored whole or not.

        Each thousand waits for room as `submit` does. QueueFull after it, or at once when a thousand is more than a queue holds:
        what came before stays submitted. `idempotency_key`: as in `submit`, for all of them together.
        """
        tasks = list(tasks)
        submissions, handles = await self._prepare(tasks)
        start = 0
        try:
            for start in range(0, len(submissions), BATCH_MAX):
                batch = submissions[start : start + BATCH_MAX]
                key = _idempotency(idempotency_key, start, tasks[start : start + BATCH_MAX], batch) if idempotency_key else None
                first = await self._with_room(partial(self._store, batch, idempotency=key), wait_for_room_s)
                if first is not None:
                    await self._stand_for(handles[start : start + BATCH_MAX], first.decode().split("\n"))
        except BaseException:
            self._replies.forget(handle.id for handle in handles[start:])
            raise
        return handles

    async def results(self, handles: Sequence[TaskHandle], *, timeout_s: float | None = None) -> list[Json]:
        """Return the results of tasks, in order; the first that has none raises."""
        async with asyncio.timeout(timeout_s):
            return [await handle.result() for handle in handles]

    async def cancel(self, *handles: TaskHandle) -> int:
        """Cancel tasks; return how many were still open."""
        return await self.queue.cancel([handle.id for handle in handles])

    async def _prepare(self, tasks: Sequence[NewTask]) -> tuple[list[Submission], list[TaskHandle]]:
        for task in tasks:
            if task.when:
                compiled(task.when)
        traceparent = current()
        submissions = await self._values.submissions(
            Draft(
                task_id,
                TaskSpec(
                    capability=task.capability,
                    input=task.input,
                    key=task.key,
                    timeout_s=task.timeout_s,
                    retry=task.retry,
                    needs=task.needs,
                    tenant=task.tenant,
                    deadline_ms=self.queue.now_ms() + round(task.deadline_s * 1000) if task.deadline_s else 0,
                    when=task.when,
                    traceparent=traceparent,
                    submitted_ms=self.queue.now_ms() if traceparent else 0,
                ),
                {
                    "priority": task.priority,
                    "delay_s": task.delay_s,
                    "pool": task.pool,
                    "on_failure": task.on_failure,
                    "cost_s": task.cost_s,
                    "expires_s": task.deadline_s,
                    "reserves": _reserves(task),
                },
            )
            for task_id, task in zip(new_ids(len(tasks)), tasks, strict=True)
        )
        handles = [TaskHandle(submission.id, Expected(), self._values) for submission in submissions]
        self._replies.expect((handle.id, handle._outcome) for handle in handles)
        return submissions, handles

    async def _with_room(self, store: Callable[[], Awaitable[Done]], room_s: float | None) -> Done:
        """Await `store()` until the queue that it fills has room, `room_s` seconds at most."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + (self._room_s if room_s is None else room_s)
        pause_s = ROOM_PAUSE_MIN_S
        while True:
            try:
                return await store()
            except QueueFull as full:
                left_s = give_up_at - loop.time()
                if full.wanted > full.bound or left_s <= 0:
                    raise
                wanted_s = pause_s if full.room_in_s is None else full.room_in_s
                wait_s = min(max(wanted_s, ROOM_PAUSE_MIN_S), ROOM_PAUSE_MAX_S) * random.uniform(0.8, 1.2)  # noqa: S311  jitter
                await asyncio.sleep(min(wait_s, left_s))
                pause_s *= 2

    async def _stand_for(self, handles: Sequence[TaskHandle], first_ids: Sequence[str]) -> None:
        """Let handles stand for the tasks that were stored when their idempotency key was first used."""
        outcomes = await self._replies.of_earlier(first_ids, instead_of=[handle.id for handle in handles])
        for handle, task_id, outcome in zip(handles, first_ids, outcomes, strict=True):
            handle.stand_for(task_id, outcome)

    async def _store_with_room(self, batch: Sequence[Submission], **options: Any) -> bytes | None:
        return await self._with_room(lambda: self._store(batch, **options), None)

    async def _store(
        self,
        batch: Sequence[Submission],
        *,
        workflow: WorkflowOpening | None = None,
        idempotency: Idempotency | None = None,
        resend: bool = False,
    ) -> bytes | None:
        """Store a batch, said again until the engine answers; return the first answer to its idempotency key, if it had one."""
        pause_s = 0.05
        async with asyncio.timeout(PATIENCE_S) as patience:
            while True:
                try:
                    return await self.queue.submit(
                        batch, workflow=workflow, idempotency=idempotency, client_id=self._replies.client_id, resend=resend
                    )
                except EngineUnreachable:
                    if asyncio.get_running_loop().time() + pause_s > (patience.when() or 0):
                        raise
                    await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
                    pause_s, resend = min(pause_s * 2, 1.0), True

    async def _submit_singles(self, batch: list[NewTask]) -> list[TaskHandle | Exception]:
        """Store what came together; where one is refused, it is refused alone."""
        try:
            return [*await self.submit_batch(batch, wait_for_room_s=0)]
        except QueueFull as full:
            return await self._submit_fitting(batch, full)
        except _AT_FAULT as error:
            if len(batch) == 1:
                return [error]
            return [(await self._submit_singles([task]))[0] for task in batch]

    async def _submit_fitting(self, batch: list[NewTask], full: QueueFull) -> list[TaskHandle | Exception]:
        """Store what a full queue has room for, and what is for others; the rest is refused, each to wait for itself."""
        room = max(full.bound - full.depth, 0)
        refused: set[int] = set()
        for index, task in enumerate(batch):
            if _counts_in(task, full.queue):
                room -= 1
                if room < 0:
                    refused.add(index)
        going = [task for index, task in enumerate(batch) if index not in refused]
        assert len(going) < len(batch), "a queue that is full has no room for all of them"
        answers = iter(await self._submit_singles(going) if going else [])
        return [_alone(full) if index in refused else next(answers) for index in range(len(batch))]


def _idempotency(key: str, start: int, tasks: Sequence[NewTask], batch: Sequence[Submission]) -> Idempotency:
    """Return what makes a batch repeatable; of several under one key, each has its own."""
    digest = sha256(msgspec.msgpack.encode(tasks, order="deterministic")).hexdigest()
    answer = "\n".join(submission.id for submission in batch).encode()
    return Idempotency(f"{key}/{start}" if start else key, digest, answer)


def _reserves(task: NewTask) -> Sequence[Reserve]:
    if not (task.concurrency or task.provider or task.estimate or task.budget):
        return ()
    try:
        return reserves_of(concurrency=task.concurrency, provider=task.provider, estimate=task.estimate, budget=task.budget)
    except ValueError as error:
        raise SubmissionError(str(error)) from error


def _alone(full: QueueFull) -> QueueFull:
    return QueueFull(full.queue, depth=full.depth, bound=full.bound, wanted=1, room_in_s=full.room_in_s)


def _counts_in(task: NewTask, queue: str) -> bool:
    if queue == DELAYED:
        return task.delay_s > 0
    return queue == (own_queue(task.pool) if task.pool else task.capability)


def _absolute(folder: Path | str) -> str:
    return str(Path(folder).absolute()) if folder else ""
