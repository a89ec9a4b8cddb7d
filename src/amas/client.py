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
from pathlib import Path

import msgspec

from amas.artifacts.store import ArtifactStore
from amas.artifacts.values import Draft, LargeValues
from amas.clock import new_id
from amas.engine.bell import Bell
from amas.engine.coalesce import Coalescer
from amas.engine.connection import Engine
from amas.engine.queue import TaskQueue
from amas.engine.schedules import Schedules
from amas.errors import EngineUnreachable, QueueFull, SubmissionError, TaskCancelled, TaskFailed
from amas.model.fleet import DELAYED, FleetLimits, FleetSpec
from amas.model.goal import Goal
from amas.model.states import Priority, TaskState
from amas.model.task import DEFAULT_RETRY, Json, OnFailure, RetryPolicy, Submission, TaskOutcome, TaskSpec
from amas.settings import ArtifactSettings

BATCH_MAX = 1000
"""Tasks in one call of the engine; more go out in several."""
POLL_S = 2.0
"""Seconds between looks for outcomes whose push was lost."""
ROOM_S = 60.0
"""Seconds for which a submission waits for room in a full queue, where nothing else is said."""
ROOM_PAUSE_MIN_S, ROOM_PAUSE_MAX_S = 0.02, 1.0
"""Seconds between tries while a queue is full: as the engine estimates, within these."""
PATIENCE_S = 30.0
"""Seconds for which a submission is said again while the engine doesn't answer: it restarts in well under two."""

_outcomes = msgspec.msgpack.Decoder(list[TaskOutcome])


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
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


class TaskHandle:
    """A submitted task."""

    __slots__ = ("_outcome", "_values", "id")

    def __init__(self, task_id: str, outcome: "asyncio.Future[TaskOutcome]", values: LargeValues) -> None:
        self.id, self._outcome, self._values = task_id, outcome, values

    @property
    def done(self) -> bool:
        """Whether the task has ended, as far as is known here."""
        return self._outcome.done()

    async def outcome(self, *, timeout_s: float | None = None) -> TaskOutcome:
        """Return how the task ended, once it has; TimeoutError after `timeout_s` seconds, the task going on."""
        async with asyncio.timeout(timeout_s):
            return await self._values.outcome(await asyncio.shield(self._outcome))

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
        self.schedules = Schedules(engine)
        """What is submitted at times: `await fleet.schedules.add(Schedule(...))`."""
        self._client_id = new_id()
        self._pending: dict[str, asyncio.Future[TaskOutcome]] = {}
        self._roots: dict[str, str] = {}
        """Workflow id -> its root task's id, for goals that are open."""
        self._single: Coalescer[Submission, SubmissionError | None] = Coalescer(self._submit_singles, limit=BATCH_MAX)
        self._lost_touch = asyncio.Event()
        self._bell = Bell(engine, {f"reply:{self._client_id}": self._heard}, connected=self._lost_touch.set)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        engine_url: str = "",
        *,
        home: Path | None = None,
        cell: str = "local",
        artifacts_url: str = "",
        wait_for_room_s: float = ROOM_S,
    ) -> AsyncIterator["Fleet"]:
        """Connect to an engine by URL, or to the fleet that runs in `home` (by default AMAS_HOME).

        `artifacts_url`: where inputs and results over 64 KiB go, by default AMAS_ARTIFACTS_URL: `s3://bucket/prefix` or a folder.
        The fleet in a home says so itself; with an engine's URL alone nobody does, and large values are refused.
        `wait_for_room_s`: how long submissions wait while a queue is full before they raise QueueFull; 0 is not at all.
        """
        declared = None
        artifacts = ArtifactSettings.read()
        artifacts_url = artifacts_url or artifacts.url
        if not engine_url:
            from amas.fleet.load import load_fleet
            from amas.platforms.local.control import running_fleet

            state = running_fleet(home)
            engine_url, cell, declared = state.engine_url, state.cell, load_fleet(state.fleet_file)
            artifacts_url = state.artifacts_url
        store = ArtifactStore(artifacts_url) if artifacts_url else None
        async with Engine(engine_url, cell=cell) as engine:
            await engine.check()
            values = LargeValues(store, bytes_max=artifacts.payload_bytes)
            fleet = cls(engine, declared=declared, values=values, wait_for_room_s=wait_for_room_s)
            loops = [
                asyncio.create_task(fleet._bell.run(), name="replies"),
                asyncio.create_task(fleet._poll(), name="reply poll"),
            ]
            for loop in loops:
                loop.add_done_callback(fleet._loop_ended)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await fleet._bell.listening.wait()
                yield fleet
            finally:  # no task group: it would wrap what the caller's block raises
                for loop in loops:
                    loop.cancel()
                await asyncio.gather(*loops, return_exceptions=True)

    async def run(
        self,
        goal: str,
        *,
        input_dir: Path | str = "",
        output_dir: Path | str = "",
        preferences: dict[str, Json] | None = None,
        tenant: str = "",
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
        )
        workflow_id, root_id = await submit_goal(
            self.queue, wanted, limits=limits, values=self._values, client_id=self._client_id
        )
        future: asyncio.Future[TaskOutcome] = asyncio.get_running_loop().create_future()
        self._pending[root_id] = future  # the poll asks for the root; the push tells of the workflow
        self._roots[workflow_id] = root_id
        future.add_done_callback(lambda _: self._roots.pop(workflow_id, None))
        return TaskHandle(workflow_id, future, self._values)

    async def submit(self, capability: str, input: Json = None, **options: object) -> TaskHandle:  # noqa: A002  the field's name
        """Submit one task and return its handle once it is on disk; `options` are `NewTask`'s fields, and `wait_for_room_s`.

        While its queue is full this waits, so that a fast producer goes at the fleet's pace; QueueFull after `wait_for_room_s`.
        """
        room_s = options.pop("wait_for_room_s", None)
        task = NewTask(capability=capability, input=input, **options)  # type: ignore[arg-type]
        (submission,), (handle,) = await self._prepare([task])

        async def store() -> None:
            refused = await self._single.put(submission)
            if refused is not None:
                raise refused

        try:
            await self._with_room(store, room_s)  # type: ignore[arg-type]
        except BaseException:
            self._pending.pop(handle.id, None)
            raise
        return handle

    async def submit_batch(self, tasks: Iterable[NewTask], *, wait_for_room_s: float | None = None) -> list[TaskHandle]:
        """Submit many tasks and return their handles, in order, once all are on disk; up to 1000 are stored whole or not.

        Each thousand waits for room as `submit` does. QueueFull after it, or at once when a thousand is more than a queue holds:
        what came before stays submitted.
        """
        submissions, handles = await self._prepare(tasks)
        start = 0
        try:
            for start in range(0, len(submissions), BATCH_MAX):
                batch = submissions[start : start + BATCH_MAX]
                await self._with_room(lambda batch=batch: self._store(batch), wait_for_room_s)  # type: ignore[misc]
        except BaseException:
            for handle in handles[start:]:
                self._pending.pop(handle.id, None)
            raise
        return handles

    async def results(self, handles: Sequence[TaskHandle], *, timeout_s: float | None = None) -> list[Json]:
        """Return the results of tasks, in order; the first that has none raises."""
        async with asyncio.timeout(timeout_s):
            return [await handle.result() for handle in handles]

    async def cancel(self, *handles: TaskHandle) -> int:
        """Cancel tasks; return how many were still open."""
        return await self.queue.cancel([handle.id for handle in handles])

    async def _prepare(self, tasks: Iterable[NewTask]) -> tuple[list[Submission], list[TaskHandle]]:
        loop = asyncio.get_running_loop()
        drafts, handles = [], []
        futures: dict[str, asyncio.Future[TaskOutcome]] = {}
        for task in tasks:
            spec = TaskSpec(
                capability=task.capability,
                input=task.input,
                key=task.key,
                timeout_s=task.timeout_s,
                retry=task.retry,
                needs=task.needs,
                tenant=task.tenant,
            )
            task_id = new_id()
            options = {
                "priority": task.priority,
                "delay_s": task.delay_s,
                "pool": task.pool,
                "on_failure": task.on_failure,
                "cost_s": task.cost_s,
            }
            drafts.append(Draft(task_id, spec, options))
            futures[task_id] = loop.create_future()
            handles.append(TaskHandle(task_id, futures[task_id], self._values))
        submissions = await self._values.submissions(drafts)
        self._pending.update(futures)
        return submissions, handles

    async def _with_room(self, store: Callable[[], Awaitable[None]], room_s: float | None) -> None:
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

    async def _store(self, batch: Sequence[Submission]) -> None:
        pause_s, resend = 0.05, False
        async with asyncio.timeout(PATIENCE_S) as patience:
            while True:
                try:
                    await self.queue.submit(batch, client_id=self._client_id, resend=resend)
                except EngineUnreachable:
                    if asyncio.get_running_loop().time() + pause_s > (patience.when() or 0):
                        raise
                    await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
                    pause_s, resend = min(pause_s * 2, 1.0), True
                else:
                    return

    async def _submit_singles(self, batch: list[Submission]) -> list[SubmissionError | None]:
        """Store what came together; where one is refused, it is refused alone."""
        try:
            await self._store(batch)
        except QueueFull as full:
            return await self._submit_fitting(batch, full)
        except SubmissionError as error:
            if len(batch) == 1:
                return [error]
            return [(await self._submit_singles([submission]))[0] for submission in batch]
        return [None] * len(batch)

    async def _submit_fitting(self, batch: list[Submission], full: QueueFull) -> list[SubmissionError | None]:
        """Store what a full queue has room for, and what is for others; the rest is refused, each to wait for itself."""
        room = max(full.bound - full.depth, 0)
        refused: set[str] = set()
        for submission in batch:
            if _counts_in(submission, full.queue):
                room -= 1
                if room < 0:
                    refused.add(submission.id)
        if not refused:  # room came between: the engine's word was about a moment that is over
            refused.add(batch[-1].id)
        going = [submission for submission in batch if submission.id not in refused]
        answers = iter(await self._submit_singles(going) if going else [])
        return [_alone(full) if submission.id in refused else next(answers) for submission in batch]

    def _heard(self, message: bytes) -> None:
        for outcome in _outcomes.decode(message):
            self._settle(outcome)

    def _loop_ended(self, loop: "asyncio.Task[None]") -> None:
        """Tell those who wait when a loop of ours died of a mistake: nobody would answer them any more."""
        if not loop.cancelled() and (error := loop.exception()) is not None:
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(error)

    def _settle(self, outcome: TaskOutcome) -> None:
        future = self._pending.pop(self._roots.get(outcome.id, outcome.id), None)
        if future is not None and not future.done():
            future.set_result(outcome)

    async def _poll(self) -> None:
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    await self._lost_touch.wait()
            except TimeoutError:
                pass
            self._lost_touch.clear()
            waiting = list(self._pending)[:BATCH_MAX]
            try:
                outcomes = await self.queue.outcomes(waiting)
            except EngineUnreachable:
                continue
            for outcome in outcomes.values():
                if outcome.state.terminal:
                    self._settle(outcome)
            for task_id in waiting:  # those that still wait go behind the others, so that all get their look
                future = self._pending.pop(task_id, None)
                if future is not None:
                    self._pending[task_id] = future


def _alone(full: QueueFull) -> QueueFull:
    return QueueFull(full.queue, depth=full.depth, bound=full.bound, wanted=1, room_in_s=full.room_in_s)


def _counts_in(submission: Submission, queue: str) -> bool:
    if queue == DELAYED:
        return submission.options is not None and submission.options.delay_ms > 0
    return submission.queue == queue


def _absolute(folder: Path | str) -> str:
    return str(Path(folder).absolute()) if folder else ""
