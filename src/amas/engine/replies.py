"""Outcomes of what one client submitted: pushed by the engine as they come, and asked for now and then besides.

A push may be lost with its connection; then the next look finds what it said, at once after the connection is back. Whoever
waits gets an answer, or the error that keeps it from coming.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice

import msgspec

from amas.clock import new_id
from amas.engine.bell import Bell
from amas.engine.connection import Engine
from amas.engine.expected import Expected
from amas.engine.queue import TaskQueue
from amas.errors import EngineUnreachable, TaskUnknown, WorkflowUnknown
from amas.model.states import WorkflowState
from amas.model.task import TaskOutcome

POLL_S = 2.0
"""Seconds between looks for outcomes whose push was lost."""
LOOK_MAX = 100
"""Tasks in such a look."""
LOOK_AFTER_LOSS_MAX = 1000
"""Tasks in the look that follows a lost connection, which loses pushes."""
FLOWS_IN_A_LOOK = 100
LISTENING_S = 30.0
"""Seconds for which a new client tries to be listening."""

_outcomes = msgspec.msgpack.Decoder(list[TaskOutcome])


class Replies:
    """What one client waits for."""

    def __init__(self, engine: Engine, queue: TaskQueue) -> None:
        self.client_id = new_id()
        """What submissions name, so that the engine knows whom to tell."""
        self._queue = queue
        self._expected: dict[str, Expected] = {}
        """Those asked about next come first."""
        self._roots: dict[str, str] = {}
        """Workflow id -> its root task's id, for goals that are open."""
        self._flows: dict[str, asyncio.Future[WorkflowState]] = {}
        self._look_now = asyncio.Event()
        self._bell = Bell(engine, {f"reply:{self.client_id}": self._heard}, connected=self._look_now.set)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen and look for the body."""
        loops = [
            asyncio.create_task(self._bell.run(), name="replies"),
            asyncio.create_task(self._look_on(), name="looks for replies"),
        ]
        for loop in loops:
            loop.add_done_callback(self._loop_ended)
        try:
            async with asyncio.timeout(LISTENING_S):
                await self._bell.listening.wait()
            yield
        finally:  # no task group: it would wrap what the caller's block raises
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    def __len__(self) -> int:
        """Return how many tasks are waited for."""
        return len(self._expected)

    def expect(self, tasks: Iterable[tuple[str, Expected]]) -> None:
        """Wait for tasks, by id; said before they are submitted, so that no push comes too soon."""
        self._expected.update(tasks)

    def forget(self, task_ids: Iterable[str]) -> None:
        """Wait no more for tasks that were not submitted."""
        for task_id in task_ids:
            self._expected.pop(task_id, None)

    def of_goal(self, workflow_id: str, root_id: str) -> Expected:
        """Return a goal's outcome: looks ask for its root task, the push tells of its workflow."""
        expected = Expected(then=lambda: self._roots.pop(workflow_id, None))
        self._expected[root_id] = expected
        self._roots[workflow_id] = root_id
        return expected

    def of_flow(self, workflow_id: str) -> "asyncio.Future[WorkflowState]":
        """Return what is set when a workflow ends; asked for at once, since it may have ended already."""
        future = self._flows.get(workflow_id)
        if future is None:
            future = self._flows[workflow_id] = asyncio.get_running_loop().create_future()
            self._look_now.set()
        return future

    async def of_earlier(self, task_ids: Sequence[str], instead_of: Sequence[str]) -> list[Expected]:
        """Return the outcomes of tasks that were submitted before, in place of those that were expected instead of them."""
        expected = [
            self._expected.setdefault(task_id, self._expected.pop(other))
            for task_id, other in zip(task_ids, instead_of, strict=True)
        ]
        held = await self._queue.outcomes(task_ids)
        for task_id in task_ids:
            if task_id in held:
                if held[task_id].state.terminal:
                    self._settle(held[task_id])
            elif (lost := self._expected.pop(task_id, None)) is not None:
                lost.set_exception(TaskUnknown(f"the engine holds task {task_id} no more; the records may know it"))
        return expected

    def _heard(self, message: bytes) -> None:
        for outcome in _outcomes.decode(message):
            self._settle(outcome)

    def _settle(self, outcome: TaskOutcome) -> None:
        if self._flows and (ended := self._flows.pop(outcome.id, None)) is not None:
            if not ended.done():
                ended.set_result(WorkflowState(outcome.state))
            return
        task_id = self._roots.get(outcome.id, outcome.id) if self._roots else outcome.id
        expected = self._expected.pop(task_id, None)
        if expected is not None:
            expected.set_result(outcome)

    def _loop_ended(self, loop: "asyncio.Task[None]") -> None:
        """Tell those who wait when a loop of ours died of a mistake: nobody would answer them any more."""
        if not loop.cancelled() and (error := loop.exception()) is not None:
            for expected in self._expected.values():
                expected.set_exception(error)
            for ended in self._flows.values():
                if not ended.done():
                    ended.set_exception(error)

    async def _look_on(self) -> None:
        while True:
            limit = LOOK_AFTER_LOSS_MAX
            try:
                async with asyncio.timeout(POLL_S):
                    await self._look_now.wait()
            except TimeoutError:
                limit = LOOK_MAX
            self._look_now.clear()
            waiting = list(islice(self._expected, limit))
            try:
                await self._look_at_flows()
                outcomes = await self._queue.outcomes(waiting)
            except EngineUnreachable:
                continue
            for outcome in outcomes.values():
                if outcome.state.terminal:
                    self._settle(outcome)
            for task_id in waiting:  # those that still wait go behind the others, so that all get their look
                expected = self._expected.pop(task_id, None)
                if expected is not None:
                    self._expected[task_id] = expected

    async def _look_at_flows(self) -> None:
        for workflow_id in list(self._flows)[:FLOWS_IN_A_LOOK]:
            held = await self._queue.workflow(workflow_id)
            future = self._flows.pop(workflow_id, None)
            if future is None or future.done():
                continue
            if held is None:
                future.set_exception(WorkflowUnknown(f"the engine holds no workflow {workflow_id!r}; the records may know it"))
            elif not (state := WorkflowState(held["state"])).terminal:
                self._flows[workflow_id] = future  # behind the others, so that all get their look
            else:
                future.set_result(state)
