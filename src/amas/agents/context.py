"""What an agent sees of its task: input, results it depends on, journaled steps, sub-tasks, and where it may work.

`Context` is the promise to agent authors; a host makes it (`task_context.py`), an isolated child its own (`child.py`).
"""

import inspect
from abc import abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from amas.agents.dependency import Dependency, SyncDependency
from amas.agents.grounds import home_of, own_path
from amas.agents.mail import Correspondent, MailCall, SyncCorrespondent, Waits, sent
from amas.artifacts.store import ArtifactStore
from amas.core.authority import lacks
from amas.core.breaker import Outcome
from amas.errors import GiveUp, NotAllowed, SignalExpired, SubmissionError, ToolMisused
from amas.model.authority import Member, Right
from amas.model.cost import ModelCall
from amas.model.flow import (
    APPROVAL_CAPABILITY,
    ESCALATION_CAPABILITY,
    RESERVED_PREFIX,
    SIGNAL_CAPABILITY,
    TIMER_CAPABILITY,
    Wait,
)
from amas.model.goal import SubTask
from amas.model.limits import Amounts
from amas.model.message import SENT_STEP, sent_of
from amas.model.policy import Decision
from amas.model.states import TaskState
from amas.model.task import Failure, Json, RetryPolicy, TaskOutcome, TaskSpec
from amas.model.tools import ToolCard
from amas.observe.logging import Log
from amas.policy.deliveries import Delivered

TITLE_CHARS_MAX = 120
"""Of a question, as people see it in a list."""
PERSON = "a person"
"""Who answered, where they didn't say."""


class Suspended(BaseException):
    """Leaves the agent's code while its sub-tasks run; the host catches it and a later attempt goes on. Never catch it."""


class Answer(NamedTuple):
    """What came of a question that went up."""

    answer: Json
    """What the lead's `on_escalation` returned; a person's: `{"approved", "by", "comment"}`."""
    by: str
    """The pool that answered, or the person's name."""


def signal_key(name: str) -> str:
    """Return the key of the sub-task by which a task waits for a signal."""
    return f"{RESERVED_PREFIX}signal/{name}"


class Context(Correspondent):
    """One attempt at one task, handed to `process_task`."""

    __slots__ = ("_escalations", "_said", "_sleeps", "_used")

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
    member: Member
    """The agent's place in the hierarchy, and what it may do."""

    @property
    def traceparent(self) -> str:
        """Where this attempt stands in its trace (W3C), for a service that it calls; empty where there is no trace."""
        return self.spec.traceparent

    @property
    @abstractmethod
    def leads(self) -> tuple[str, ...]:
        """The pools above this agent's, its own lead first."""

    def leads_of(self, pool: str) -> tuple[str, ...]:
        """Return the pools above another pool, its own lead first; empty where this agent's host doesn't know it."""
        return self.leads if pool == self.member.pool else ()

    async def who_did(self, task_ids: Sequence[str]) -> dict[str, str]:
        """Return which agent had each of these tasks last, as far as that is known."""
        return {}

    async def scored(self, number: int, score: float, agent_ids: Sequence[str]) -> None:
        """Tell what this task, a gate, thought of these agents' work in round `number`: roll-outs go by it."""

    @property
    @abstractmethod
    def workspace(self) -> Path:
        """A private folder that stays between attempts, made when it is first asked for."""

    def own(self, named: str | Path) -> Path:
        """Return a file or folder that the task's input names, where this task may use it; GiveUp (`folder_refused`) otherwise.

        Work of a tenant may use what is the tenant's: files that came with its goals, and what its tasks made. The path is
        absolute then, its links followed. For other work the host's user decides, and the path comes back as it was named.
        """
        return own_path(named, tenant=self.spec.tenant, home=home_of(self.workspace)) if self.spec.tenant else Path(named)

    @property
    @abstractmethod
    def log(self) -> Log:
        """A log whose lines carry the task, workflow and agent."""

    @property
    @abstractmethod
    def cancelled(self) -> bool:
        """Whether somebody wants this attempt to stop; blocking code should look now and then."""

    @property
    def abandoned(self) -> bool:
        """Whether nobody takes the task up again after this attempt was stopped: what it began elsewhere may be called off."""
        return False

    @abstractmethod
    def progress(self, fraction: float, note: str = "") -> None:
        """Tell watchers how far the work is: 0 to 1 and one line. Cheap; sent at most a few times a second."""

    @abstractmethod
    async def spend(self, *, usd: float = 0.0, tokens: int = 0, calls: int = 0) -> None:
        """Say before it happens that this attempt is about to use so much more; BudgetExhausted when no budget has room for it.

        It is counted as used from then on. Where a call turns out to cost something else, `usage` corrects it.
        """

    def dependency(self, name: str) -> Dependency:
        """Return what to use a dependency in: `async with task.dependency("payments-api"):`.

        Errors within it, 5 in a row in the whole fleet unless declared otherwise, open its breaker for 30 s: entering then raises
        `DependencyDown`, and the task is tried again later, which costs it no retry.
        """
        return Dependency(self, name)

    @abstractmethod
    async def enter_dependency(self, name: str) -> tuple[str, float]:
        """Ask the breaker of `name`; return what this use is called, and in how many seconds to ask again: 0 for go."""

    @abstractmethod
    async def leave_dependency(self, name: str, token: str, outcome: Outcome, why: str) -> None:
        """Tell the breaker how it went."""

    async def token(self, audience: str = "") -> str:
        """Return a JWT by which this agent shows a service who it is: for `audience`, by default the fleet's own API.

        It counts for 24 hours, is kept by the host, and is another one well before it expires: ask each time that you need it.
        `NotAllowed` for an agent that is killed or in quarantine, `RetryLater` where no control plane answers.
        """
        raise NotAllowed(f"{self.agent_id} gets no tokens here")

    @abstractmethod
    async def budget_left(self) -> Amounts | None:
        """Return what the task's workflow may still spend, what is reserved taken off; None where it has no budget.

        Different on each attempt: use it within a `step`.
        """

    def seal(self, delivered: Delivered) -> str:
        """Return this agent's signature of a delivery that names it; empty where its host has no secret, and in a child."""
        return ""

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

    async def tool(self, name: str, /, **arguments: Json) -> Json:
        """Return the result of one of the fleet's tools, from the journal where it is known.

        `ToolRefused` where the policy, or the machine, doesn't allow it; `ToolMisused` for arguments that it doesn't take;
        `ToolFailed` when it went wrong; `ToolUnsure` when an earlier attempt began it and nobody knows what came of it, unless
        the tool is `repeatable`. The n-th use with the same arguments in a task is the same use on every attempt.
        """
        return await self.use_tool(name, arguments, self._use_key(name, arguments))

    def _use_key(self, name: str, arguments: dict[str, Json]) -> str:
        """Return what names a use in its task: its content and its count."""
        try:
            key = sha256(msgspec.msgpack.encode((name, arguments), order="deterministic")).hexdigest()[:32]
        except (TypeError, msgspec.MsgspecError) as error:
            raise ToolMisused(f"an argument of the tool {name} is not a JSON value: {error}", tool=name) from error
        if not hasattr(self, "_used"):
            self._used = Counter[str]()
        self._used[key] += 1
        return f"{key}/{self._used[key]}"

    @abstractmethod
    async def use_tool(self, name: str, arguments: dict[str, Json], key: str) -> Json:
        """Use a tool once in this task's life under `key`; see `tool`."""

    @abstractmethod
    async def tools(self) -> list[ToolCard]:
        """Return the fleet's tools that this agent's pool names, with what they take.

        What can't be used now, such as an MCP server that doesn't answer, has a card under its own name that says why: `missing`.
        """

    @abstractmethod
    async def permit(self, tool: str, arguments: dict[str, Json]) -> Decision:
        """Ask the policy about a use of something that the agent itself carries out."""

    @abstractmethod
    async def spawn(self, tasks: Sequence[SubTask], *, wait: Wait = "all") -> dict[str, TaskOutcome]:
        """Have sub-tasks done and return their outcomes by key, failed ones included.

        `wait`: go on when `all` have ended, when `any` has succeeded, or when so many have; or when that can't be any more.
        Those that are open then are in the answer with the state they have, and are cancelled when this task ends.
        The attempt lets go of its agent meanwhile and the agent's code runs again from its start when all have ended:
        steps and spawns that were done return at once, so whatever costs anything belongs into a `step`.
        The same `key` in a task is the same sub-task on every attempt.
        """

    async def sleep(self, delay_s: float) -> None:
        """Go on after `delay_s` seconds, however often hosts die meanwhile; the agent is free until then, as in `spawn`."""
        # Every attempt runs through the same ones; unset until the first, since few agents sleep.
        self._sleeps: int = getattr(self, "_sleeps", 0) + 1
        key = f"{RESERVED_PREFIX}sleep/{self._sleeps}"
        await self.spawn([SubTask(key=key, capability=TIMER_CAPABILITY, kind="timer", delay_s=delay_s)])

    async def wait_for_signal(self, name: str, *, expires_s: float = 0.0) -> Json:
        """Return what somebody sends this task as `name` (`Fleet.signal`), now or earlier; the agent is free until then.

        `SignalExpired` after `expires_s` seconds, 0 for never. The task fails with it unless the agent catches it.
        """
        key = signal_key(name)
        waiting = SubTask(key=key, capability=SIGNAL_CAPABILITY, title=name, kind="signal", expires_s=expires_s)
        outcome = (await self.spawn([waiting]))[key]
        if outcome.state is not TaskState.SUCCEEDED:
            raise SignalExpired(name)
        return outcome.result

    def require(self, right: Right) -> None:
        """Go on where this agent's pool has a right; `NotAllowed` ends the task where it hasn't."""
        if why := lacks(self.member, right):
            raise NotAllowed(why)

    async def escalate(self, question: str, *, about: Json = None, expires_s: float = 300.0) -> Answer:
        """Return what the pool's lead answers, or else its lead's lead, and so on up to a person; the agent is free until then.

        A lead answers with `on_escalation`, within `expires_s` seconds; without an answer it goes further up. A person is asked
        last, finds it in `amas approvals`, and has until the workflow's end. `GiveUp` with the code `unanswered` outside any
        workflow, where people can't be asked; `NotAllowed` without the right to escalate. Ask the same in the same order on
        every attempt.
        """
        self.require(Right.ESCALATE)
        self._escalations: int = getattr(self, "_escalations", 0) + 1
        base = f"{RESERVED_PREFIX}escalate/{self._escalations}"
        asked: dict[str, Json] = {"question": question, "about": about, "from": self.member.pool, "task_id": self.id}
        for lead in self.leads:
            key = f"{base}/{lead}"
            task = SubTask(
                key=key,
                capability=ESCALATION_CAPABILITY,
                input=asked,
                title=question[:TITLE_CHARS_MAX],
                pool=lead,
                deadline_s=expires_s,
                retry=RetryPolicy(retries=0),  # whoever fails to answer hasn't answered
            )
            outcome = (await self.spawn([task]))[key]
            if outcome.state is TaskState.SUCCEEDED and outcome.result is not None:
                return Answer(outcome.result, lead)
        if not self.spec.workflow_id:
            raise GiveUp(f"no lead answered {question!r}, and people are asked in workflows alone", code="unanswered")
        key = f"{base}/person"
        person = SubTask(key=key, capability=APPROVAL_CAPABILITY, input=asked, title=question[:TITLE_CHARS_MAX], kind="signal")
        outcome = (await self.spawn([person]))[key]
        if outcome.state is TaskState.SUCCEEDED:
            given = outcome.result if isinstance(outcome.result, dict) else {}
            return Answer(outcome.result, str(given.get("by") or PERSON))
        why = outcome.failure.message if outcome.failure else f"it was {outcome.state}"
        raise GiveUp(f"a person refused {question!r}: {why}", code="refused")

    async def _once(self, said: MailCall, key: str) -> Any:
        """Carry out a call once in this task's life: what came of it is a step, named by `key` or by its content and count."""
        if not key:
            try:
                key = sha256(msgspec.msgpack.encode(said, order="deterministic")).hexdigest()[:32]
            except (TypeError, msgspec.MsgspecError) as error:
                raise SubmissionError(f"a message's payload is not a JSON value: {error}") from error
            if not hasattr(self, "_said"):
                self._said = Counter[str]()
            self._said[key] += 1
            key = f"{key}/{self._said[key]}"
        name = f"{SENT_STEP}{key}"
        known, kept = await self.recall(name)
        if not known:
            kept = await self.keep(name, msgspec.to_builtins(sent(said, await self.mail(said))))
        found = sent_of(kept)
        return found.came if found else kept

    @abstractmethod
    async def recall(self, name: str) -> tuple[bool, Json]:
        """Return whether the step `name` was done, and its result."""

    @abstractmethod
    async def keep(self, name: str, result: Json, *, calls: Sequence[ModelCall] = ()) -> Json:
        """Journal the result of the step `name` and return it as the next attempt would get it.

        `calls`: the requests to models that it took, for the records; `spend` and `report_usage` have told the budgets already.
        """

    @abstractmethod
    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Run `work` in a thread and return its result."""


class SyncContext(SyncCorrespondent):
    """A `Context` for agents written as plain functions: they run in a thread and these calls block it."""

    _context: Context

    def __init__(self, context: Context, call: Waits) -> None:
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

    def budget_left(self) -> Amounts | None:
        """Return what the workflow may still spend; see `Context.budget_left`."""
        return self._call(self._context.budget_left())

    def token(self, audience: str = "") -> str:
        """Return a JWT by which this agent shows a service who it is; see `Context.token`."""
        return self._call(self._context.token(audience))

    def dependency(self, name: str) -> SyncDependency:
        """Return what to use a dependency in: `with task.dependency(...)`; see `Context.dependency`."""
        return SyncDependency(self._context.dependency(name), self._call)

    def tool(self, name: str, /, **arguments: Json) -> Json:
        """Return a tool's result; see `Context.tool`."""
        return self._call(self._context.tool(name, **arguments))

    def spawn(self, tasks: Sequence[SubTask], *, wait: Wait = "all") -> dict[str, TaskOutcome]:
        """Have sub-tasks done; see `Context.spawn`."""
        return self._call(self._context.spawn(tasks, wait=wait))

    def sleep(self, delay_s: float) -> None:
        """Go on after `delay_s` seconds; see `Context.sleep`."""
        self._call(self._context.sleep(delay_s))

    def wait_for_signal(self, name: str, *, expires_s: float = 0.0) -> Json:
        """Return what somebody sends this task; see `Context.wait_for_signal`."""
        return self._call(self._context.wait_for_signal(name, expires_s=expires_s))

    def escalate(self, question: str, *, about: Json = None, expires_s: float = 300.0) -> Answer:
        """Return what those above answer; see `Context.escalate`."""
        return self._call(self._context.escalate(question, about=about, expires_s=expires_s))
