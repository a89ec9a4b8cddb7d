"""The `Context` that a host gives to an agent, and what it needs of its host.

Everything that costs something is made when it is first asked for: the folder, the log, the steps of earlier attempts.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

import msgspec

from amas.agents.context import Context, Suspended
from amas.agents.failures import encodable
from amas.agents.grounds import workspace_of
from amas.agents.mail import Acknowledge, Carry, MailCall, Receive, Subscribe
from amas.agents.progress import NOTE_CHARS_MAX, ProgressPost
from amas.agents.threads import DaemonThreads
from amas.agents.tokens import TokenPurse
from amas.agents.traces import AttemptTrace
from amas.artifacts.store import ArtifactStore
from amas.artifacts.values import LargeValues
from amas.clock import monotonic_s, new_id, now_ms
from amas.core.authority import RANK, Hierarchy, refusal
from amas.core.breaker import Outcome, come_back_s
from amas.core.flow import gated, quorum_of
from amas.core.retry import Draw
from amas.engine.breakers import Breakers
from amas.engine.coalesce import Coalescer
from amas.engine.graph import Owner
from amas.engine.insist import insist
from amas.engine.limits import Limits
from amas.engine.queue import TaskQueue
from amas.errors import AttemptStale, EngineError, LimitUnknown, NotAllowed, SubmissionError
from amas.model.authority import Member, Right
from amas.model.blob import unwrap
from amas.model.cost import ModelCall
from amas.model.flow import BUILT_IN, RESERVED_PREFIX, TIMER_CAPABILITY, Wait
from amas.model.goal import SubTask
from amas.model.journal import ProgressNote
from amas.model.limits import Amounts, Usage
from amas.model.policy import Decision
from amas.model.states import Layer, TaskState
from amas.model.task import Claimed, Failure, JournaledStep, Json, Submission, TaskOutcome
from amas.model.tools import ToolCard
from amas.model.trace import parse
from amas.observe import events
from amas.observe.logging import HostLog, Log
from amas.observe.tracing import Tracing, within
from amas.policy.deliveries import Delivered
from amas.secrets import scrubbed

decode = msgspec.msgpack.Decoder().decode

STEP_CHARS_MAX = 1000
DEPENDENCY = re.compile(r"[^\s](?:[^\n\r\x00]{0,98}[^\s])?")
USE_S = 3600.0
"""Seconds that the use of a dependency counts, in an attempt without a limit."""
LEAVE_S = 5.0
"""Seconds for a last word; without it, a probe counts until its attempt's time is up."""
STEPS_IN_A_CALL = 256
NEEDS_IN_A_CALL = 256


class Tools(Protocol):
    """A host's tools (`agents/tools/toolbox.py`), as its attempts ask for them."""

    async def use(self, context: Context, tool: str, arguments: dict[str, Json], key: str) -> Json:
        """Return a tool's result."""
        ...

    async def cards(self, context: Context) -> list[ToolCard]:
        """Return the tools that the agent's pool names."""
        ...

    async def permit(self, context: Context, tool: str, arguments: dict[str, Json]) -> Decision:
        """Ask the policy."""
        ...

    def kind(self, tool: str) -> str:
        """Return which kind a tool is of, "" for one that there is none of."""
        ...


class Services(NamedTuple):
    """What a host lends to its attempts."""

    host_id: str
    queue: TaskQueue
    limits: Limits
    steps: Coalescer[JournaledStep, str]
    """Journals a step; answers "" or the fence's refusal."""
    needs: Coalescer[tuple[str, ...], dict[str, TaskOutcome]]
    """Reads the outcomes of the tasks that one task needs."""
    progress: ProgressPost
    threads: DaemonThreads
    """For plain functions as steps."""
    workspaces: Path
    artifacts: ArtifactStore
    values: LargeValues
    log: HostLog
    draw: Draw
    stale: Callable[["TaskContext"], None]
    """Hears that an attempt isn't the task's any more, as the engine said."""
    breakers: Breakers | None
    """None where they are switched off."""
    loop: asyncio.AbstractEventLoop
    hierarchy: Hierarchy
    """Of the fleet's pools."""
    seal: Callable[[Delivered], str]
    """Signs a delivery; empty where the fleet has no secret."""
    mail: Carry
    """Sends and receives messages."""
    tools: Tools
    tokens: TokenPurse | None = None
    """Has agents' tokens; None: nobody signs any."""
    tracing: Tracing | None = None
    """Where spans go; None: nowhere."""


def step_coalescer(queue: TaskQueue) -> Coalescer[JournaledStep, str]:
    """Return what journals the steps of all attempts of a host together."""

    async def send(batch: list[JournaledStep]) -> list[str]:
        refused = await queue.journal_steps(batch)
        return [refused.get(index, "") for index in range(len(batch))]

    return Coalescer(send, limit=STEPS_IN_A_CALL)


def needs_coalescer(queue: TaskQueue) -> Coalescer[tuple[str, ...], dict[str, TaskOutcome]]:
    """Return what reads, together, the results that the tasks of one claim need."""

    async def send(batch: list[tuple[str, ...]]) -> list[dict[str, TaskOutcome]]:
        found = await queue.outcomes(sorted({task_id for needs in batch for task_id in needs}))
        return [found] * len(batch)

    return Coalescer(send, limit=NEEDS_IN_A_CALL)


Params = ParamSpec("Params")
Result = TypeVar("Result")


def _counted(
    call: Callable[Concatenate["TaskContext", Params], Awaitable[Result]],
) -> Callable[Concatenate["TaskContext", Params], Coroutine[Any, Any, Result]]:
    """Have a call of the agent's count as progress: it isn't stuck while one is under way."""

    @wraps(call)
    async def counted(self: "TaskContext", /, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        self.calls += 1
        try:
            return await call(self, *args, **kwargs)
        finally:
            self.calls -= 1
            self.active_s = monotonic_s()

    return counted


class TaskContext(Context):
    """One attempt as its agent sees it."""

    __slots__ = (
        "_generation",
        "_log",
        "_resumed",
        "_services",
        "_steps",
        "_workspace",
        "active_s",
        "agent_id",
        "artifacts",
        "attempt",
        "calls",
        "deadline_ms",
        "failures",
        "id",
        "input",
        "letting_go",
        "member",
        "options",
        "over",
        "results",
        "spec",
        "stopping",
        "suspended",
        "trace",
        "usage",
        "uses",
    )  # fmt: skip

    def __init__(self, claimed: Claimed, services: Services, options: dict[str, Json], member: Member) -> None:
        self.member = member
        self.id = claimed.id
        self.attempt = claimed.attempt
        self.agent_id = claimed.agent_id
        self.spec = claimed.spec
        self.input = claimed.spec.input
        self.results = {}
        self.failures = {}
        self.options = options
        self.artifacts = services.artifacts
        self.deadline_ms = 0
        self.active_s = 0.0
        """When something last came of it, by `monotonic_s`."""
        self.calls = 0
        """Of its calls to the host, those under way."""
        self.stopping = False
        self.over = False
        """Whether the attempt that is being stopped is the task's last."""
        self.suspended = False
        self.letting_go = False
        """Whether the engine may believe already that nothing runs here, because of a suspension under way."""
        self.usage: Usage | None = None
        """What the agent said that it used; None: nothing."""
        self.uses: dict[str, str] = {}
        """The dependencies that it uses just now, by the use's token."""
        self.trace = AttemptTrace.of(services.tracing, claimed, services.host_id) if claimed.spec.traceparent else None
        """Tells of it; None: nobody listens."""
        self._resumed = claimed.resumed
        self._generation = claimed.generation
        self._services = services
        self._steps: dict[str, bytes] | None = None if claimed.resumed else {}
        self._log: Log | None = None
        self._workspace: Path | None = None

    @property
    def leads(self) -> tuple[str, ...]:
        """Those whom the fleet file names."""
        return tuple(lead.pool for lead in self._services.hierarchy.leads(self.member))

    def leads_of(self, pool: str) -> tuple[str, ...]:
        """Those whom the fleet file names."""
        hierarchy = self._services.hierarchy
        return tuple(lead.pool for lead in hierarchy.leads(hierarchy.members[pool])) if pool in hierarchy.members else ()

    @_counted
    async def who_did(self, task_ids: Sequence[str]) -> dict[str, str]:
        """As the engine knows."""
        return await insist(lambda: self._services.queue.agents_of(task_ids), draw=self._services.draw) if task_ids else {}

    async def scored(self, number: int, score: float, agent_ids: Sequence[str]) -> None:
        """Count it in the engine."""
        if agent_ids:
            await insist(lambda: self._services.queue.score(self.id, number, score, agent_ids), draw=self._services.draw)

    @property
    def traceparent(self) -> str:
        """The attempt's own span, where this host tells of it."""
        return self.trace.traceparent if self.trace else self.spec.traceparent

    @property
    def workspace(self) -> Path:
        """The task's folder, below its workflow's."""
        if self._workspace is None:
            place = {"tenant": self.spec.tenant, "workflow_id": self.spec.workflow_id, "task_id": self.id}
            self._workspace = workspace_of(self._services.workspaces, **place)
            self._workspace.mkdir(parents=True, exist_ok=True)
        return self._workspace

    @property
    def log(self) -> Log:
        """The host's log with this attempt's fields, rationed: one attempt may not bury what others say."""
        self.active_s = monotonic_s()
        if self._log is None:
            self._log = self.host_log.rationed()
        return self._log

    @property
    def host_log(self) -> HostLog:
        """The same for what the host says of this attempt, however much its agent has said."""
        place = parse(self.spec.traceparent) if self.spec.traceparent else None
        return self._services.log.bind(
            agent_id=self.agent_id,
            task_id=self.id,
            workflow_id=self.spec.workflow_id,
            attempt=self.attempt,
            **({"trace_id": place.trace_id} if place else {}),
        )

    @property
    def cancelled(self) -> bool:
        """Whether the host is stopping this attempt."""
        return self.stopping

    @property
    def abandoned(self) -> bool:
        """As the attempt knows."""
        return self.over

    def progress(self, fraction: float, note: str = "") -> None:
        """Hand a note to the host's post."""
        self.active_s = monotonic_s()
        bounded = min(max(0.0, float(fraction)), 1.0)  # in this order NaN is 0
        said = encodable(scrubbed(note)[:NOTE_CHARS_MAX])  # one that can't be encoded would take the host's others with it
        self._services.progress.note(ProgressNote(self.id, self.attempt, bounded, said))

    @_counted
    async def spend(self, *, usd: float = 0.0, tokens: int = 0, calls: int = 0) -> None:
        """Have it reserved before it is counted."""
        if usd > 0:
            self.require(Right.SPEND)
        wanted = (self.usage or Usage()).plus(usd=usd, tokens=tokens, calls=calls)
        try:
            await insist(lambda: self._services.limits.spend(self.id, self.attempt, wanted), draw=self._services.draw)
        except AttemptStale:
            self._give_up_as_stale()
        self.usage = (self.usage or Usage()).plus(usd=usd, tokens=tokens, calls=calls)  # it may have changed meanwhile

    @_counted
    async def enter_dependency(self, name: str) -> tuple[str, float]:
        """Ask the breaker, which all hosts share."""
        breakers, services = self._services.breakers, self._services
        if not DEPENDENCY.fullmatch(name):
            raise SubmissionError(f"{name!r} can't be a dependency's name: write one line of at most 100 characters")
        if breakers is None:
            return "", 0.0
        token = new_id()
        lasts_s = (self.deadline_ms - now_ms()) / 1000 if self.deadline_ms else USE_S
        wait_s = await insist(
            lambda: breakers.enter(name, host_id=services.host_id, token=token, lasts_s=max(lasts_s, 1.0)), draw=services.draw
        )
        if wait_s:
            return "", come_back_s(wait_s, draw=services.draw)
        self.uses[token] = name
        return token, 0.0

    @_counted
    async def leave_dependency(self, name: str, token: str, outcome: Outcome, why: str) -> None:
        """Tell the breaker, and the log when that changed it."""
        breakers = self._services.breakers
        if breakers is None or self.uses.pop(token, None) is None:
            return
        changed = await insist(lambda: breakers.report(name, token=token, outcome=outcome, why=why), draw=self._services.draw)
        if changed == "opened":
            self.host_log.warning("a dependency's breaker opened", event=events.BREAKER_OPENED, dependency=name, why=why)
        elif changed:
            self.host_log.info("a dependency's breaker closed", event=events.BREAKER_CLOSED, dependency=name)

    async def leave_all(self) -> None:
        """Let go of what an attempt that was stopped, or whose process died, was using; nobody knows how it went."""
        with suppress(EngineError, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                for token, name in list(self.uses.items()):
                    await self.leave_dependency(name, token, "unknown", "")

    def seal(self, delivered: Delivered) -> str:
        """Have the host sign, which alone knows the fleet's secret."""
        if delivered.signed_by != self.agent_id:
            raise NotAllowed(f"{self.agent_id} can't sign for {delivered.signed_by}: each agent signs for itself")
        return self._services.seal(delivered)

    @_counted
    async def token(self, audience: str = "") -> str:
        """Have the host ask the control plane, unless it has one."""
        if self._services.tokens is None:
            return await super().token(audience)
        return await self._services.tokens.token(self.agent_id, audience, task_id=self.id, tenant=self.spec.tenant)

    @_counted
    async def budget_left(self) -> Amounts | None:
        """Ask the engine."""
        if not self.spec.workflow_id:
            return None
        scope = f"workflow/{self.spec.workflow_id}"
        try:
            return (await insist(lambda: self._services.limits.budget(scope), draw=self._services.draw)).left
        except LimitUnknown:
            return None

    def report_usage(self, *, usd: float = 0.0, tokens: int = 0, calls: int = 0) -> None:
        """Add it up for the attempt's end; money that was spent without the right to is counted all the same."""
        self.usage = (self.usage or Usage()).plus(usd=usd, tokens=tokens, calls=calls)
        if usd > 0:
            self.require(Right.SPEND)

    @_counted
    async def load_input(self) -> None:
        """Fetch an input that lies in the artifact store."""
        self.input = await self._services.values.get(self.spec.input)
        self.spec = msgspec.structs.replace(self.spec, input=self.input)

    @_counted
    async def load_needs(self) -> None:
        """Fetch the results of the tasks that this one needs."""
        needs = self.spec.needs
        found = await insist(lambda: self._services.needs.put(needs), draw=self._services.draw)
        known = [found[task_id] for task_id in needs if task_id in found]
        found = {outcome.id: outcome for outcome in await self._services.values.outcomes(known)}
        for task_id, key in zip(needs, self.spec.need_keys or needs, strict=True):
            outcome = found.get(task_id)
            if outcome is not None and outcome.state is TaskState.SUCCEEDED:
                self.results[key] = outcome.result
            else:
                self.failures[key] = _why_missing(task_id, outcome)

    @_counted
    async def recall(self, name: str) -> tuple[bool, Json]:
        """Look a step up in the journal, which is read once."""
        if self._steps is None:
            self._steps = await insist(lambda: self._services.queue.steps(self.id), draw=self._services.draw)
        held = self._steps.get(name)
        if held is None and self.trace:
            self.trace.begin_step(name)
        return (False, None) if held is None else (True, await self._services.values.get(decode(held)))

    @_counted
    async def keep(self, name: str, result: Json, *, calls: Sequence[ModelCall] = ()) -> Json:
        """Journal a step; AttemptStale when the task is another attempt's."""
        if not isinstance(name, str) or len(name) > STEP_CHARS_MAX or encodable(name) != name:
            raise SubmissionError(f"a step's name is a text of up to {STEP_CHARS_MAX} characters, not {str(name)[:80]!r}")
        blob = await self._services.values.payload(result, f"the result of step {name!r}")
        step = JournaledStep(self.id, self.attempt, name, blob, tuple(calls))
        if await insist(lambda: self._services.steps.put(step), draw=self._services.draw):
            self._give_up_as_stale()
        held = unwrap(blob)
        assert self._steps is not None, "a step is recalled before it is kept"
        self._steps[name] = held
        if self.trace:
            self.trace.end_step(name, result, calls)
        return await self._services.values.get(decode(held))

    @_counted
    async def mail(self, said: MailCall) -> Any:
        """Have the host's mailroom carry it out."""
        if self.trace is None or isinstance(said, Acknowledge | Subscribe):
            return await self._services.mail(self.agent_id, said)
        with self.trace.mailing(type(said).__name__.lower(), sends=not isinstance(said, Receive)):
            return await self._services.mail(self.agent_id, said)

    @_counted
    async def use_tool(self, name: str, arguments: dict[str, Json], key: str) -> Json:
        """Have the host's toolbox do it."""
        with self.trace.using(name, key, self._services.tools.kind(name)) if self.trace else within(self.spec.traceparent):
            return await self._services.tools.use(self, name, arguments, key)

    @_counted
    async def tools(self) -> list[ToolCard]:
        """Ask the host's toolbox."""
        return await self._services.tools.cards(self)

    @_counted
    async def permit(self, tool: str, arguments: dict[str, Json]) -> Decision:
        """Ask the host's toolbox, which asks the guard."""
        return await self._services.tools.permit(self, tool, arguments)

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Run a plain step in one of the host's threads."""
        return await asyncio.get_running_loop().run_in_executor(self._services.threads, work)

    @_counted
    async def spawn(self, tasks: Sequence[SubTask], *, wait: Wait = "all") -> dict[str, TaskOutcome]:
        """Return the outcomes when enough have ended, else suspend this attempt."""
        if not tasks:
            return {}
        if wrong := next((task for task in tasks if not isinstance(task, SubTask)), None):
            raise SubmissionError(f"spawn takes amas.SubTask, not {type(wrong).__name__}")
        tasks = [gated(task) if task.gate else task for task in tasks]
        owner = Owner.task(self.id, self.spec, generation=self._generation)
        ids = {task.key: owner.child_id(task.key) for task in tasks}
        if len(ids) != len(tasks):
            raise SubmissionError("two sub-tasks of one spawn have the same key")
        for task in tasks:
            if task.undoes:  # runs when the workflow fails, or never
                del ids[task.key]
        awaited, quorum = list(ids.values()), None
        if wait != "all":
            quorum = _quorum_of(list(ids), wait)
            awaited = [owner.child_id(quorum.key)]
        services = self._services
        if self._resumed:
            looked_at = list(ids.values()) + (awaited if quorum else [])
            found = await insist(lambda: services.queue.outcomes(looked_at), draw=services.draw)
            if all(task_id in found and found[task_id].state.terminal for task_id in awaited):
                return dict(zip(ids, await services.values.outcomes([found[task_id] for task_id in ids.values()]), strict=True))
        tasks = self._allowed(tasks)
        children = await services.values.sub_tasks((*tasks, *((quorum,) if quorum else ())), owner)
        await self._suspend(awaited, children)
        raise Suspended

    def _allowed(self, tasks: Sequence[SubTask]) -> Sequence[SubTask]:
        """Return the sub-tasks as they may be stored; NotAllowed when this agent may not have one of them done.

        Built-in agents act for those who spawn them: the host says to them, in place of the agent, which layer that is.
        """
        member = self.member
        if self.spec.capability in BUILT_IN and self.spec.layer in RANK:
            behalf = Layer(self.spec.layer)
            if RANK[behalf] > RANK[member.layer]:
                member = msgspec.structs.replace(member, layer=behalf)
        if why := refusal(member, tasks, self._services.hierarchy):
            raise NotAllowed(why)
        if not any(task.capability in BUILT_IN for task in tasks):
            return tasks
        return [msgspec.structs.replace(task, layer=member.layer) if task.capability in BUILT_IN else task for task in tasks]

    async def _suspend(self, awaited: Sequence[str], children: Sequence[Submission]) -> None:
        services = self._services
        self.letting_go = True
        try:
            refusal = await insist(
                lambda: services.queue.suspend(
                    services.host_id, self.id, self.attempt, wait_for=awaited, children=children, usage=self.usage
                ),
                draw=services.draw,
            )
        except (EngineError, SubmissionError):
            self.letting_go = False
            raise
        if refusal:
            self._give_up_as_stale()
        self.suspended = True

    def _give_up_as_stale(self) -> None:
        self._services.stale(self)
        raise AttemptStale(f"attempt {self.attempt} of task {self.id} was taken back; its result isn't wanted")


def _quorum_of(keys: Sequence[str], wait: Wait) -> SubTask:
    """Return what stands between a task and sub-tasks of which not all need to end: the engine ends it when enough have."""
    enough = quorum_of(wait)
    if not 1 <= enough <= len(keys):
        raise SubmissionError(f"spawn can't wait for {wait} of {len(keys)} sub-tasks")
    name = sha256("\n".join((str(enough), *keys)).encode()).hexdigest()[:16]
    return SubTask(
        key=f"{RESERVED_PREFIX}quorum/{name}", capability=TIMER_CAPABILITY, kind="timer", runs_after=tuple(keys), quorum=enough
    )


def _why_missing(task_id: str, outcome: TaskOutcome | None) -> Failure:
    if outcome is None:
        return Failure("forgotten", f"the engine holds task {task_id} no more")
    if not outcome.state.terminal:
        return Failure("not_needed", f"task {task_id} was still {outcome.state}: the quorum was reached without it")
    return outcome.failure or Failure("cancelled", f"task {task_id} was {outcome.state}")
