"""What an agent sees of its task: input, results it depends on, journaled steps, sub-tasks, and where it may work.

`Context` is the promise to agent authors; a host makes it (`task_context.py`), an isolated child its own (`child.py`).
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from amas.artifacts.store import ArtifactStore
from amas.model.goal import SubTask
from amas.model.task import Failure, Json, TaskOutcome, TaskSpec
from amas.observe.logging import Log


class Suspended(BaseException):
    """Leaves the agent's code while its sub-tasks run; the host catches it and a later attempt goes on. Never catch it."""


class Context(ABC):
    """One attempt at one task, handed to `process_task`."""

    __slots__ = ()

    id: str
    """The task's id."""
    attempt: int
    """1 for the first; an attempt that resumes after sub-tasks counts too."""
    agent_id: str
    spec: TaskSpec
    input: Json
    results: dict[str, Json]
    """The results of the tasks that this one needs, by key; one that failed under `on_failure: skip` is missing."""
    failures: dict[str, Failure]
    """Why those that are missing failed, by key."""
    artifacts: ArtifactStore
    options: dict[str, Json]
    """The pool's `options` from the fleet file."""
    deadline_ms: int
    """When this attempt is stopped, in milliseconds since the epoch; 0 for never."""

    @property
    @abstractmethod
    def workspace(self) -> Path:
        """A private folder that stays between attempts, made when it is first asked for."""

    @property
    @abstractmethod
    def log(self) -> Log:
        """A log whose lines carry the task, workflow and agent."""

    @property
    @abstractmethod
    def cancelled(self) -> bool:
        """Whether somebody wants this attempt to stop; blocking code should look now and then."""

    @abstractmethod
    def progress(self, fraction: float, note: str = "") -> None:
        """Tell watchers how far the work is: 0 to 1 and one line. Cheap; sent at most a few times a second."""

    @abstractmethod
    async def spend(self, *, usd: float = 0.0, tokens: int = 0, calls: int = 0) -> None:
        """Say before it happens that this attempt is about to use so much more; BudgetExhausted when no budget has room for it.

        It is counted as used from then on. Where a call turns out to cost something else, `usage` corrects it.
        """

    @abstractmethod
    def report_usage(self, *, usd: float = 0.0, tokens: int = 0, calls: int = 0) -> None:
        """Say what this attempt used besides: added up, and settled with the task's budgets and its provider when it ends.

        Less than 0 corrects what `spend` announced and didn't happen.
        """

    async def step(self, name: str, work: Callable[[], Awaitable[Json] | Json]) -> Json:
        """Run `work` once in this task's life and return its result, from the journal when an earlier attempt got that far.

        `name` is unique within the task. A plain function runs in a thread. The result is a JSON value.
        """
        known, result = await self.recall(name)
        if known:
            return result
        made = work() if inspect.iscoroutinefunction(work) else await self.in_thread(work)
        return await self.keep(name, await made if inspect.isawaitable(made) else made)

    @abstractmethod
    async def spawn(self, tasks: Sequence[SubTask]) -> dict[str, TaskOutcome]:
        """Have sub-tasks done and return their outcomes by key, failed ones included.

        The attempt lets go of its agent meanwhile and the agent's code runs again from its start when all have ended:
        steps and spawns that were done return at once, so whatever costs anything belongs into a `step`.
        The same `key` in a task is the same sub-task on every attempt.
        """

    @abstractmethod
    async def recall(self, name: str) -> tuple[bool, Json]:
        """Return whether the step `name` was done, and its result."""

    @abstractmethod
    async def keep(self, name: str, result: Json) -> Json:
        """Journal the result of the step `name` and return it as the next attempt would get it."""

    @abstractmethod
    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Run `work` in a thread and return its result."""


class SyncContext:
    """A `Context` for agents written as plain functions: they run in a thread and these calls block it."""

    def __init__(self, context: Context, call: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        """`call` runs a coroutine on the event loop and waits for it."""
        self._context, self._call = context, call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def step(self, name: str, work: Callable[[], Json]) -> Json:
        """Run `work` here and now, once in this task's life, and return its result; see `Context.step`."""
        known, result = self._call(self._context.recall(name))
        return result if known else self._call(self._context.keep(name, work()))

    def spend(self, *, usd: float = 0.0, tokens: int = 0, calls: int = 0) -> None:
        """Say what is about to be used; see `Context.spend`."""
        self._call(self._context.spend(usd=usd, tokens=tokens, calls=calls))

    def spawn(self, tasks: Sequence[SubTask]) -> dict[str, TaskOutcome]:
        """Have sub-tasks done; see `Context.spawn`."""
        outcomes: dict[str, TaskOutcome] = self._call(self._context.spawn(tasks))
        return outcomes
