"""A workflow that was started from a flow, as the program that started it (or found it again by its id) sees it."""

import asyncio
from collections.abc import Callable

import msgspec

from amas.artifacts.values import LargeValues
from amas.clock import child_id
from amas.engine.queue import TaskQueue
from amas.engine.workflows import Workflows
from amas.errors import TaskCancelled, TaskFailed, TaskUnknown, WorkflowUnknown
from amas.model.flow import RESERVED_PREFIX
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Failure, Json, TaskView

OUTCOMES_IN_A_CALL = 1000


class WorkflowProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a workflow is: tasks and sub-tasks that are known so far."""

    state: WorkflowState
    total: int
    open: int
    succeeded: int
    failed: int
    cancelled: int


class WorkflowHandle:
    """A workflow. Its tasks are named by their keys in the flow."""

    def __init__(
        self,
        workflow_id: str,
        queue: TaskQueue,
        workflows: Workflows,
        values: LargeValues,
        *,
        ended: "Callable[[str], asyncio.Future[WorkflowState]]",
    ) -> None:
        """`ended` returns what is set when the workflow of an id ends."""
        self.id = workflow_id
        self._queue, self._workflows, self._values, self._ended = queue, workflows, values, ended

    def __repr__(self) -> str:
        return f"WorkflowHandle({self.id!r})"

    def task_id(self, key: str) -> str:
        """Return the id of the task `key`."""
        return child_id(self.id, key)

    async def state(self, *, timeout_s: float | None = None) -> WorkflowState:
        """Return how the workflow ended, once it has; TimeoutError after `timeout_s` seconds, the workflow going on."""
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(self._ended(self.id))

    async def result(self, key: str = "", *, timeout_s: float | None = None) -> Json:
        """Return the result of the task `key` once the workflow has succeeded; by default the flow's output, or all by key.

        `TaskFailed` with the first failure when it failed, `TaskCancelled` when it was cancelled.
        """
        state = await self.state(timeout_s=timeout_s)
        if state is WorkflowState.CANCELLED:
            raise TaskCancelled(f"workflow {self.id} was cancelled")
        if state is WorkflowState.FAILED:
            why = await self._why()
            raise TaskFailed(self.id, why.code, why.message)
        key = key or await self._output()
        if not key:
            return await self.results()
        found = await self._queue.outcomes([self.task_id(key)])
        if self.task_id(key) not in found:
            raise TaskUnknown(f"workflow {self.id} has no task {key!r}")
        return await self._values.get(found[self.task_id(key)].result)

    async def results(self) -> dict[str, Json]:
        """Return the results so far, by key, of the tasks that have succeeded; whatever becomes of the workflow."""
        views = [view for view in await self.tasks() if view.state is TaskState.SUCCEEDED]
        found: dict[str, Json] = {}
        for start in range(0, len(views), OUTCOMES_IN_A_CALL):
            part = views[start : start + OUTCOMES_IN_A_CALL]
            held = await self._queue.outcomes([view.id for view in part])
            known = [view for view in part if view.id in held]
            outcomes = await self._values.outcomes([held[view.id] for view in known])
            found |= {view.key: outcome.result for view, outcome in zip(known, outcomes, strict=True)}
        return found

    async def failures(self) -> dict[str, Failure]:
        """Return why tasks failed, by key."""
        return {view.key: view.failure for view in await self.tasks() if view.state is TaskState.FAILED and view.failure}

    async def tasks(self) -> list[TaskView]:
        """Return the flow's own tasks as they stand, without results and without the sub-tasks that they spawned."""
        total = (await self._held())["total"]
        views = await self._queue.workflow_tasks(self.id, limit=total)
        return [view for view in views if not view.parent_id and not view.key.startswith(RESERVED_PREFIX)]

    async def progress(self) -> WorkflowProgress:
        """Return how far it is."""
        held = await self._held()
        return msgspec.convert({name: held[name] for name in WorkflowProgress.__struct_fields__}, WorkflowProgress)

    async def signal(self, key: str, value: Json = None) -> None:
        """Send the signal task `key` its value, also before it waits; `SignalRefused` when it got another before."""
        await self._workflows.signal_key(self.id, key, value)

    async def approve(self, key: str, *, by: str = "", comment: str = "") -> None:
        """Say yes to the approval `key`."""
        await self._workflows.signal_key(self.id, key, answer(approved=True, by=by, comment=comment))

    async def refuse(self, key: str, *, by: str = "", comment: str = "") -> None:
        """Say no to the approval `key`, which fails with `refused`."""
        await self._workflows.signal_key(self.id, key, answer(approved=False, by=by, comment=comment))

    async def pause(self) -> bool:
        """Let nothing new of it start; what runs finishes. Return False when it was paused or had ended."""
        return await self._workflows.pause(self.id)

    async def resume(self) -> bool:
        """Go on; return False when it wasn't paused."""
        return await self._workflows.resume(self.id)

    async def rerun(self, key: str) -> int:
        """Do the task `key` and all that came of it again; return how many tasks were reset. The workflow may have ended."""
        return await self._workflows.rerun(self.id, self.task_id(key))

    async def cancel(self) -> bool:
        """End it now; agents at work on it stop. Return False when it had ended."""
        return await self._queue.end_workflow(self.id, WorkflowState.CANCELLED)

    async def _held(self) -> dict[str, Json]:
        held = await self._queue.workflow(self.id)
        if held is None:
            raise WorkflowUnknown(f"the engine holds no workflow {self.id!r}; the records may know it")
        return held

    async def _output(self) -> str:
        opening = (await self._held())["goal"]
        return str(opening.get("output") or "") if isinstance(opening, dict) else ""

    async def _why(self) -> Failure:
        """Return the failure that the others followed from."""
        failed = await self.failures()
        for key, failure in failed.items():
            if failure.code != "dependency_failed":
                return Failure(failure.code, f"task {key!r}: {failure.message}")
        return Failure("workflow_failed", f"workflow {self.id} was ended as failed, such as for its deadline")


def answer(*, approved: bool, by: str = "", comment: str = "", score: float | None = None) -> dict[str, Json]:
    """Return what an approval is sent, which is its result."""
    said: dict[str, Json] = {"by": by or None, "comment": comment or None, "score": score}
    return {"approved": approved, **{name: value for name, value in said.items() if value is not None}}
