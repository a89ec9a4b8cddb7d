"""What an agent is: `BaseAgent` for classes, `@agent` for plain functions, and how a fleet file's `module:attribute` becomes one.

The host makes one object per agent, so an agent may keep state of its own; nothing that must survive may live only there.
"""

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, cast

from amas.agents.context import Context, SyncContext
from amas.agents.mail import MessageContext
from amas.errors import FleetError
from amas.model.fleet import PoolSpec
from amas.model.message import Message
from amas.model.states import AgentStatus
from amas.model.task import Json

AsyncFunction = Callable[[Context], Awaitable[Json]]
BlockingFunction = Callable[[SyncContext], Json]
AgentFunction = AsyncFunction | BlockingFunction


class BaseAgent(ABC):
    """An addressable worker with an identity, a status and capabilities."""

    __slots__ = ("agent_id", "agent_type", "busy_s", "capabilities", "options", "status", "tasks_failed", "tasks_succeeded")

    def __init__(self, agent_id: str, pool: PoolSpec) -> None:
        self.agent_id = agent_id
        self.agent_type = pool.name
        self.capabilities = pool.capabilities
        self.options = pool.options
        self.status = AgentStatus.IDLE
        self.tasks_succeeded = 0
        self.tasks_failed = 0
        self.busy_s = 0.0

    @classmethod
    def check(cls, pool: PoolSpec) -> None:
        """Raise FleetError when a pool's options can't be worked with; called when its fleet is checked, before it starts."""
        return

    @abstractmethod
    async def process_task(self, task: Context) -> Json:
        """Do the task and return its result, a JSON value. Raise `RetryLater` or `GiveUp` to say how a failure is to be taken."""

    async def on_escalation(self, task: Context) -> Json:
        """Return the answer to a question of those who report to this pool, or None to pass it on upwards.

        `task.input`: `{"question", "about", "from": the pool that asks, "task_id"}`.
        """
        return None

    async def on_message(self, ctx: MessageContext, message: Message) -> None:
        """Take a message while this agent is idle; returning is the receipt, and after an exception it comes again, a few times.

        Only agents that define this are handed their mail; others get it with `receive`. At least once: the same message may come
        twice, `message.deliveries` says so. Not for `isolation: process`.
        """
        return

    @property
    def reads_messages(self) -> bool:
        """Whether it has an `on_message` of its own."""
        return type(self).on_message is not BaseAgent.on_message

    async def health_check(self) -> bool:
        """Return whether this agent can work, within five seconds.

        The host asks before the first task, after a failure, and every ORCHESTRATION_HEARTBEAT_INTERVAL. Not for
        `isolation: process`.
        """
        return True

    def report_metrics(self) -> dict[str, float]:
        """Return this agent's own figures, by name: twenty at most.

        One that an agent defines is asked every two seconds, in its host's loop; the sums over its pool are `metrics` of
        `GET /api/pools` and `amas_agents_told` on the metrics page. Not for `isolation: process`.
        """
        return {
            "tasks_succeeded": self.tasks_succeeded,
            "tasks_failed": self.tasks_failed,
            "busy_seconds": self.busy_s,
        }


class FunctionAgent(BaseAgent):
    """An agent made from a function: an async one is its `work`, a blocking one is called in a thread by the host."""

    __slots__ = ("_escalation", "_reader", "blocking", "work")

    def __init__(self, agent_id: str, pool: PoolSpec, definition: "AgentDefinition") -> None:
        super().__init__(agent_id, pool)
        self.work, self.blocking = definition.work, definition.blocking
        self._escalation, self._reader = definition.escalation, definition.reader

    async def process_task(self, task: Context) -> Json:
        """Call the function; a blocking one never comes here."""
        assert self.work is not None
        return await self.work(task)

    async def on_escalation(self, task: Context) -> Json:
        """Call the function that was defined for it, if there is one."""
        return await self._escalation(task) if self._escalation else None

    async def on_message(self, ctx: MessageContext, message: Message) -> None:
        """Call the function that was defined for it."""
        if self._reader:
            await self._reader(ctx, message)

    @property
    def reads_messages(self) -> bool:
        """Whether there is such a function."""
        return self._reader is not None


class AgentDefinition:
    """What `@agent` leaves in a module: the function and what it can do. Calling it calls the function, so it stays testable."""

    def __init__(self, function: AgentFunction, capabilities: tuple[str, ...]) -> None:
        self.function, self.capabilities = function, capabilities
        is_async = inspect.iscoroutinefunction(function)
        self.work = cast(AsyncFunction, function) if is_async else None
        self.blocking = None if is_async else cast(BlockingFunction, function)
        self.escalation: Callable[[Context], Awaitable[Json]] | None = None
        self.reader: Callable[[MessageContext, Message], Awaitable[None]] | None = None
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", "agent")

    def on_escalation(self, function: Callable[[Context], Awaitable[Json]]) -> Callable[[Context], Awaitable[Json]]:
        """Let this async function answer what the pool's team escalates; see `BaseAgent.on_escalation`."""
        self.escalation = function
        return function

    def on_message(
        self, function: Callable[[MessageContext, Message], Awaitable[None]]
    ) -> Callable[[MessageContext, Message], Awaitable[None]]:
        """Let this async function take the agent's messages; see `BaseAgent.on_message`."""
        self.reader = function
        return function

    def __call__(self, task: Any) -> Any:
        """Run the function itself, outside any host."""
        return self.function(task)


def agent(*capabilities: str) -> Callable[[AgentFunction], AgentDefinition]:
    """Make a function, async or not, an agent that can do `capabilities`."""
    if not capabilities:
        raise FleetError("@agent needs at least one capability, such as @agent('text.summary')")

    def define(function: AgentFunction) -> AgentDefinition:
        return AgentDefinition(function, capabilities)

    return define


def combined(*definitions: AgentDefinition) -> AgentDefinition:
    """Return one agent that does each of its capabilities with the function that was defined for it; all must be async."""
    by_capability = {capability: each.work for each in definitions for capability in each.capabilities}

    async def do(task: Context) -> Json:
        work = by_capability[task.spec.capability]
        assert work is not None
        return await work(task)

    return AgentDefinition(do, tuple(by_capability))


def load_agent(path: str) -> AgentDefinition | type[BaseAgent]:
    """Import what a fleet file's `agent: module:attribute` names; FleetError says what is wrong with it."""
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise FleetError(f"agent {path!r} is not of the form module:attribute")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise FleetError(f"agent {path!r}: the module can't be imported: {error}") from error
    found = getattr(module, attribute, None)
    if isinstance(found, AgentDefinition) or (isinstance(found, type) and issubclass(found, BaseAgent)):
        return found
    raise FleetError(f"agent {path!r}: {attribute!r} is neither a BaseAgent subclass nor an @agent function of {module_name}")


def takes_mail(found: AgentDefinition | type[BaseAgent]) -> bool:
    """Return whether agents made of this have an `on_message`."""
    return found.reader is not None if isinstance(found, AgentDefinition) else found.on_message is not BaseAgent.on_message


def make_agent(definition: AgentDefinition | type[BaseAgent], agent_id: str, pool: PoolSpec) -> BaseAgent:
    """Return a new agent of a pool."""
    if isinstance(definition, AgentDefinition):
        return FunctionAgent(agent_id, pool, definition)
    return definition(agent_id, pool)
