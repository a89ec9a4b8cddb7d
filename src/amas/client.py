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
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path

import msgspec

from amas.clock import new_id, new_ids
from amas.engine.bell import Bell
from amas.engine.coalesce import Coalescer
from amas.engine.connection import Engine
from amas.engine.expected import Expected
from amas.engine.limits import Limits
from amas.engine.queue import TaskQueue, make_submission
from amas.engine.schedules import Schedules
from amas.errors import EngineUnreachable, SubmissionError, TaskCancelled, TaskFailed
from amas.model.fleet import FleetLimits, FleetSpec
from amas.model.goal import Goal
from amas.model.limits import Amounts, Concurrency, Reserve, reserves_of
from amas.model.states import Priority, TaskState
from amas.model.task import DEFAULT_RETRY, Json, OnFailure, RetryPolicy, Submission, TaskOutcome, TaskSpec
from amas.settings import EngineSettings

BATCH_MAX = 1000
"""Tasks in one call of the engine; more go out in several."""
POLL_S = 2.0
"""Seconds between looks for outcomes whose push was lost."""
LOOK_MAX = 100
"""Tasks in such a look; in the one that follows a lost connection, which loses pushes, `BATCH_MAX`."""
PATIENCE_S = 30.0
"""Seconds for which a submission is said again while the engine doesn't answer: it restarts in well under two."""

_AT_FAULT = (SubmissionError, TypeError, ValueError, OverflowError)
"""What a task's own fields can cause."""

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
    concurrency: Concurrency | Sequence[Concurrency] = ()
    """Keys, each with how many tasks that name it may run at once: `("customer-42", 3)`. The last said number holds."""
    provider: str = ""
    """Whose requests and tokens a minute it takes; empty takes the pool's."""
    estimate: Amounts | None = None
    """What one attempt takes; what isn't said is learned."""
    budget: Amounts | None = None
    """What it and its sub-tasks may spend; then it fails with `budget_exhausted`."""


class TaskHandle:
    """A submitted task."""

    __slots__ = ("_outcome", "id")

    def __init__(self, task_id: str, outcome: Expected) -> None:
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
        return self._outcome.get()

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

    def __init__(self, engine: Engine, *, declared: FleetSpec | None) -> None:
        """`declared`: the fleet's file, where it is known."""
        self.engine, self._declared = engine, declared
        self.queue = TaskQueue(engine)
        self.limits = Limits(engine)
        """What resources allow and hold, and changing it."""
        self.schedules = Schedules(engine)
        """What is submitted at times: `await fleet.schedules.add(Schedule(...))`."""
        self._client_id = new_id()
        self._pending: dict[str, Expected] = {}
        self._roots: dict[str, str] = {}
        """Workflow id -> its root task's id, for goals that are open."""
        self._single: Coalescer[NewTask, TaskHandle | Exception] = Coalescer(self._submit_singles, limit=BATCH_MAX)
        self._lost_touch = asyncio.Event()
        self._bell = Bell(engine, {f"reply:{self._client_id}": self._heard}, connected=self._lost_touch.set)

    @classmethod
    @asynccontextmanager
    async def connect(cls, engine_url: str = "", *, home: Path | None = None, cell: str = "local") -> AsyncIterator["Fleet"]:
        """Connect to an engine by URL, or to the fleet that runs in `home` (by default AMAS_HOME)."""
        declared = None
        if not engine_url:
            from amas.fleet.load import load_fleet
            from amas.platforms.local.control import running_fleet

            state = running_fleet(home)
            engine_url, cell, declared = state.engine_url, state.cell, load_fleet(state.fleet_file)
        async with Engine(engine_url, cell=cell, settings=EngineSettings.read()) as engine:
            await engine.check()
            fleet = cls(engine, declared=declared)
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
        workflow_id, root_id = await submit_goal(self.queue, wanted, limits=limits, client_id=self._client_id)
        expected = Expected(then=lambda: self._roots.pop(workflow_id, None))
        self._pending[root_id] = expected  # the poll asks for the root; the push tells of the workflow
        self._roots[workflow_id] = root_id
        return TaskHandle(workflow_id, expected)

    async def submit(self, capability: str, input: Json = None, **options: object) -> TaskHandle:  # noqa: A002  the field's name
        """Submit one task and return its handle once it is on disk; `options` are `NewTask`'s fields."""
        task = NewTask(capability=capability, input=input, **options)  # type: ignore[arg-type]
        answer = await self._single.put(task)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def submit_batch(self, tasks: Iterable[NewTask]) -> list[TaskHandle]:
        """Submit many tasks and return their handles, in order, once all are on disk; up to 1000 are stored whole or not."""
        submissions, handles = self._prepare(list(tasks))
        try:
            for start in range(0, len(submissions), BATCH_MAX):
                await self._store(submissions[start : start + BATCH_MAX])
        except SubmissionError:
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

    def _prepare(self, tasks: Sequence[NewTask]) -> tuple[list[Submission], list[TaskHandle]]:
        submissions = [
            make_submission(
                task_id,
                TaskSpec(
                    capability=task.capability,
                    input=task.input,
                    key=task.key,
                    timeout_s=task.timeout_s,
                    retry=task.retry,
                    needs=task.needs,
                    tenant=task.tenant,
                ),
                priority=task.priority,
                delay_s=task.delay_s,
                pool=task.pool,
                on_failure=task.on_failure,
                cost_s=task.cost_s,
                reserves=_reserves(task),
            )
            for task_id, task in zip(new_ids(len(tasks)), tasks, strict=True)
        ]
        handles = [TaskHandle(submission.id, Expected()) for submission in submissions]
        self._pending.update((handle.id, handle._outcome) for handle in handles)
        return submissions, handles

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

    async def _submit_singles(self, batch: list[NewTask]) -> list[TaskHandle | Exception]:
        """Store what came together; where one is refused, it is refused alone."""
        try:
            return [*await self.submit_batch(batch)]
        except _AT_FAULT as error:
            if len(batch) == 1:
                return [error]
            return [(await self._submit_singles([task]))[0] for task in batch]

    def _heard(self, message: bytes) -> None:
        for outcome in _outcomes.decode(message):
            self._settle(outcome)

    def _loop_ended(self, loop: "asyncio.Task[None]") -> None:
        """Tell those who wait when a loop of ours died of a mistake: nobody would answer them any more."""
        if not loop.cancelled() and (error := loop.exception()) is not None:
            for expected in self._pending.values():
                expected.set_exception(error)

    def _settle(self, outcome: TaskOutcome) -> None:
        task_id = self._roots.get(outcome.id, outcome.id) if self._roots else outcome.id
        expected = self._pending.pop(task_id, None)
        if expected is not None:
            expected.set_result(outcome)

    async def _poll(self) -> None:
        while True:
            limit = BATCH_MAX
            try:
                async with asyncio.timeout(POLL_S):
                    await self._lost_touch.wait()
            except TimeoutError:
                limit = LOOK_MAX
            self._lost_touch.clear()
            waiting = list(islice(self._pending, limit))
            try:
                outcomes = await self.queue.outcomes(waiting)
            except EngineUnreachable:
                continue
            for outcome in outcomes.values():
                if outcome.state.terminal:
                    self._settle(outcome)
            for task_id in waiting:  # those that still wait go behind the others, so that all get their look
                expected = self._pending.pop(task_id, None)
                if expected is not None:
                    self._pending[task_id] = expected


def _reserves(task: NewTask) -> Sequence[Reserve]:
    if not (task.concurrency or task.provider or task.estimate or task.budget):
        return ()
    try:
        return reserves_of(concurrency=task.concurrency, provider=task.provider, estimate=task.estimate, budget=task.budget)
    except ValueError as error:
        raise SubmissionError(str(error)) from error


def _absolute(folder: Path | str) -> str:
    return str(Path(folder).absolute()) if folder else ""
