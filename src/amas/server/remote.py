"""Remote sessions as the control plane serves them: tasks handed to agents elsewhere, and their word taken.

Nothing of a session is kept here, so any control plane of the fleet can answer any call. Whatever a session says proves that it
lives and renews its lease; what it doesn't say, the reaper notices. That an attempt is a session's own is asked of the engine
before its word is taken; that it still is, the fence decides in the same instant in which the word is recorded.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import NamedTuple

import msgspec

from amas.agents.progress import ProgressPost
from amas.agents.traces import AttemptTrace, place_of
from amas.artifacts.values import LargeValues
from amas.core.conditions import holds
from amas.core.retry import retry_delay_s
from amas.engine.bell import Bell, came
from amas.engine.connection import Engine
from amas.engine.payload import encode_value
from amas.engine.queue import Slots, TaskQueue
from amas.engine.registry import AgentRegistry, Owner
from amas.errors import (
    AgentUnknown,
    AmasError,
    ArtifactLost,
    AttemptStale,
    ExpressionInvalid,
    SessionLost,
    TaskCancelled,
    TaskUnknown,
)
from amas.model.artifact import is_reference, to_reference
from amas.model.blob import Blob, to_blob
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.journal import ProgressNote
from amas.model.limits import Usage
from amas.model.remote import REMOTE_POOL, RemoteAgent
from amas.model.states import TaskState
from amas.model.task import (
    DEFAULT_RETRY,
    Claimed,
    Completion,
    FailedAttempt,
    Failure,
    JournaledStep,
    Json,
    TaskOutcome,
    TaskSpec,
)
from amas.observe.tracing import process_tracing
from amas.sealing import is_sealed
from amas.server.intake import Capable
from amas.server.problems import Fault, Refusal
from amas.server.remote_shapes import NewBeat, NewClaim, NewFailure, NewUsage, RemoteTask, RemoteWork
from amas.server.shapes import FailureShape
from amas.settings import RemoteSettings

POLL_S = 1.0
"""Between looks of one who waits: a bell may be lost with its connection."""
UNHEARD_POLL_S = 0.1
"""The same while no bell is heard."""


STEPS_MAX = 1000
"""Of one task whose agent runs elsewhere. What they hold together is bounded as one value is: whoever asks gets all of it."""
WAITS_MAX = 100
"""Claims and renewals of one session that wait at a time, and looks for mail and questions of one agent: one of each will do."""
HELD_MAX = 10_000
"""Tasks that a session has at a time: it names all of them with each claim, and each sign of life costs the engine by them."""
OVERDUE_EVERY_S = 2.0
"""How often those sessions are looked at that say something, but don't ask what to do or to stop."""
NO_POOL = PoolSpec(name=REMOTE_POOL, agent="", capabilities=())
"""Has a pool's defaults, for tasks that remote agents alone can do."""


class Room(NamedTuple):
    """What one look for work is about."""

    session_id: str
    agents: Mapping[str, RemoteAgent]
    """Those for whom tasks are wanted."""
    running: frozenset[str]
    """What the session says that it runs."""
    most: int


class RemoteDesk:
    """What hands tasks to remote sessions and takes what they say of them."""

    opens: Callable[[str], Awaitable[bool]]
    """Whether what a session was opened with, by its credential, still opens anything; set by whoever makes the desk."""

    def __init__(
        self,
        engine: Engine,
        queue: TaskQueue,
        values: LargeValues,
        fleet: FleetSpec,
        *,
        settings: RemoteSettings,
        retention_s: float,
    ) -> None:
        self.settings, self.registry = settings, AgentRegistry(engine, retention_s=retention_s)
        self._queue, self._values, self._fleet = queue, values, fleet
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._waits = Counter[str]()
        self._talked: set[str] = set()
        """Sessions that have proved that they live since their attempts' times were looked at."""
        self._progress: ProgressPost | None = None
        self._wanted = asyncio.Event()
        self._bell = Bell(engine, {"bell": self._rung}, connected=lambda: self._ring(list(self._waiting)))

    def follow(self, fleet: FleetSpec) -> None:
        """Let the fleet be this one from now on."""
        self._fleet = fleet

    async def run(self) -> None:
        """Hear the bells for those who wait, and look after those who only talk, from the first on, until cancelled."""
        await self._wanted.wait()
        self._progress = ProgressPost(self._queue)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bell.run(), name="bells of remote sessions")
            group.create_task(self._progress.run(), name="progress of remote sessions")
            group.create_task(self._keep_time(), name="times of remote sessions")

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(OVERDUE_EVERY_S)
            with suppress(AmasError):  # such as an engine that is away: the next look is as good
                await self.look_at_times()

    async def look_at_times(self) -> None:
        """Fail what takes too long at sessions that have talked: each word renews a lease, and not each asks what to stop."""
        talked, self._talked = self._talked, set()
        for session_id in talked:
            await self._fail_overdue(session_id, frozenset())

    # -- who is let in

    def check(self, agents: Sequence[RemoteAgent]) -> None:
        """Raise Refusal where this fleet doesn't let such agents in."""
        spec = self._fleet.remote
        if spec.agents == "off":
            why = "this fleet lets no remote agents in: say `remote: {agents: listed, capabilities: [...]}` in its file"
            raise Refusal(Fault(detail=f"{why}, or set AMAS_REMOTE_AGENTS"), status=403, code="remote_off")
        for index, agent in enumerate(agents):
            if mistake := agent.mistake():
                raise Refusal(Fault(detail=mistake, pointer=f"#/agents/{index}"))
            for capability in agent.capabilities:
                if not spec.admits(capability, self._fleet.declared_capabilities):
                    why = (
                        f"remote agents may not have {capability!r} in this fleet: name it under remote.capabilities in its file"
                    )
                    raise Refusal(
                        Fault(detail=why, pointer=f"#/agents/{index}/capabilities"), status=403, code="capability_refused"
                    )

    async def fleet_for(self, tasks: Iterable[Capable]) -> FleetSpec:
        """Return the fleet as submissions see it: where any remote agent is let in, with what those can do that are here."""
        fleet = self._fleet
        if fleet.remote.agents != "any":
            return fleet
        strange = {task.capability for task in tasks} - fleet.capabilities
        if not strange or not (found := await self.registry.capable(strange)):
            return fleet
        remote = msgspec.structs.replace(fleet.remote, capabilities=(*fleet.remote.capabilities, *found))
        return msgspec.structs.replace(fleet, remote=remote)

    async def enter(self, session_id: str, token: str, *, late: bool = False) -> None:
        """Take a session's call as a sign of life; Refusal for one who isn't it, SessionLost when its lease had run out.

        `late`: let it in all the same, since the fence judges what it says of its tasks.
        """
        await self.identify(session_id, token)
        self._talked.add(session_id)
        self._wanted.set()
        try:
            await self.registry.renew(session_id, lease_s=self.settings.lease_s)
        except SessionLost:
            if not late:
                raise

    async def identify(self, session_id: str, token: str) -> None:
        """Raise Refusal unless `token` is the session's; a session ends with the key that opened it."""
        shown = await self.registry.knows(session_id, token)
        if shown is None:
            why = f"there is no session {session_id!r} (any more): register anew"
            raise Refusal(Fault(detail=why), status=404, code="session_unknown")
        if not shown.right:
            why = f"send the token of {session_id} as `Authorization: Bearer`, which came when it was registered"
            raise Refusal(Fault(detail=why), status=401, code="session_token_needed")
        if shown.opener and not await self.opens(shown.opener):
            await self.registry.close(session_id)
            why = f"what {session_id} was opened with was revoked or has expired: register anew, with another key"
            raise Refusal(Fault(detail=why), status=404, code="session_unknown")

    async def agents(self, session_id: str, names: Sequence[str] = ()) -> dict[str, RemoteAgent]:
        """Return a session's agents, all or those named; AgentUnknown for one that isn't its own."""
        found = await self.registry.agents_of(session_id)
        for name in names:
            if name not in found:
                raise AgentUnknown(
                    f"{session_id} has no agent {name!r} (any more); it has {', '.join(sorted(found)[:20]) or 'none'}"
                )
        return {name: found[name] for name in names} if names else found

    # -- work

    async def claim(self, session_id: str, asked: NewClaim, *, gone: Callable[[], Awaitable[bool]]) -> RemoteWork:
        """Return tasks as soon as there are some, or nothing once the wait is over. `gone`: whether nobody waits any more."""
        agents = await self.agents(session_id, asked.agents)
        if not agents:
            raise AgentUnknown(f"{session_id} has no agents any more: others took their names over")
        room = Room(session_id, agents, frozenset(asked.running), asked.max_tasks)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + min(asked.wait_s, self.settings.lease_s * 2 / 3)
        watched = {name for agent in agents.values() for name in agent.capabilities}
        with self.waits_for(session_id), self._watching(watched) as news:
            while True:
                news.clear()
                stop = await self._fail_overdue(session_id, room.running)
                claimed = await self._look(room)
                tasks = await self._told(session_id, claimed)
                left_s = until_s - loop.time()
                if tasks or stop or left_s <= 0:
                    return RemoteWork(tasks=tasks, stop=stop)
                if not claimed:
                    poll_s = POLL_S if self._bell.listening.is_set() else UNHEARD_POLL_S
                    await came(news, min(left_s, poll_s))
                if await gone():
                    return RemoteWork(tasks=[], stop=[])

    async def beat(self, session_id: str, said: NewBeat, *, gone: Callable[[], Awaitable[bool]]) -> list[str]:
        """Return what of `running` a session must stop, as soon as that is something or the wait is over."""
        running, loop = frozenset(said.running), asyncio.get_running_loop()
        until_s = loop.time() + min(said.wait_s, self.settings.lease_s * 2 / 3)
        agents = await self.agents(session_id) if said.wait_s else {}
        watched = {name for agent in agents.values() for name in agent.capabilities}
        with self.waits_for(session_id), self._watching(watched) as news:  # what is taken rings
            while True:
                news.clear()
                stop = await self._fail_overdue(session_id, running)
                left_s = until_s - loop.time()
                if stop or left_s <= 0 or await gone():
                    return stop
                await came(news, min(left_s, POLL_S))

    async def _look(self, room: Room) -> list[Claimed]:
        """Return what was handed out and never arrived, else new tasks."""
        running = await self.registry.running(room.session_id)
        lost = [task_id for task_id, agent_id in running.items() if task_id not in room.running and agent_id in room.agents]
        if lost:
            return await self.registry.handed(room.session_id, lost[: room.most])
        room = room._replace(most=min(room.most, HELD_MAX - len(running)))
        slots = _slots(room, Counter(running.values()))
        if not slots:
            return []
        claimed = await self._queue.claim(room.session_id, slots)
        if claimed is None:
            raise SessionLost(room.session_id)
        if claimed:
            limits = [(each.id, each.attempt, self._limit_s(each.spec)) for each in claimed]
            await self.registry.time(room.session_id, limits)
        return claimed

    async def _fail_overdue(self, session_id: str, running: frozenset[str]) -> list[str]:
        """Fail what takes too long; return what of `running` the session has no more."""
        self._talked.discard(session_id)
        for task_id, attempt in await self.registry.overdue(session_id):
            why = NewFailure(attempt=attempt, code="timed_out", message="the attempt took longer than its task may")
            try:
                await self.fail(session_id, task_id, why)
            except (AttemptStale, TaskCancelled, TaskUnknown, Refusal):  # it has just ended, or is another's
                continue
        if not running:
            return []
        held = await self.registry.running(session_id)
        return sorted(task_id for task_id in running if task_id not in held)

    def _pool(self, spec: TaskSpec) -> PoolSpec:
        """Return a pool that can do a task, for what its spec leaves open."""
        return next((pool for pool in self._fleet.pools if spec.capability in pool.capabilities), NO_POOL)

    def _limit_s(self, spec: TaskSpec) -> float:
        return spec.timeout_s or self._pool(spec).timeout_s

    async def _told(self, session_id: str, claimed: Sequence[Claimed]) -> list[RemoteTask]:
        """Return claimed tasks with all that their agents need; those that need no agent are ended here."""
        told = []
        for each in claimed:
            try:
                task = await self._task(each)
                wanted = not each.spec.when or holds(each.spec.when, {"input": task.input, "needs": task.needs})
            except (ArtifactLost, ExpressionInvalid, RecursionError) as error:  # it would be the same the next time
                code = error.code if isinstance(error, AmasError) else "input_unusable"
                said = str(error) if isinstance(error, AmasError) else "what it was given is nested too deeply"
                await self.fail(session_id, each.id, NewFailure(attempt=each.attempt, code=code, message=said, final=True))
                continue
            if not wanted:
                await self._queue.complete(session_id, [Completion(each.id, each.attempt, to_blob(None))])
                continue
            told.append(task)
        return told

    async def _task(self, claimed: Claimed) -> RemoteTask:
        spec = claimed.spec
        found = await self._queue.outcomes(spec.needs) if spec.needs else {}
        outcomes = {one.id: one for one in await self._values.outcomes(list(found.values()))}
        by_key = {key: outcomes.get(task_id) for task_id, key in zip(spec.needs, spec.need_keys or spec.needs, strict=True)}
        return RemoteTask(
            task_id=claimed.id,
            attempt=claimed.attempt,
            agent_id=claimed.agent_id,
            capability=spec.capability,
            input=await self._values.get(spec.input) if is_reference(spec.input) else spec.input,
            key=spec.key,
            title=spec.title,
            workflow_id=spec.workflow_id,
            tenant=spec.tenant,
            needs={key: one.result for key, one in by_key.items() if one and one.state is TaskState.SUCCEEDED},
            failures={key: _why(one) for key, one in by_key.items() if not one or one.state is not TaskState.SUCCEEDED},
            failed_attempts=claimed.failures,
            resumed=claimed.resumed,
            timeout_s=self._limit_s(spec),
            deadline_ms=spec.deadline_ms,
            traceparent=place_of(claimed),
        )

    # -- what a session says of its tasks

    async def complete(self, session_id: str, task_id: str, attempt: int, result: Json, usage: NewUsage | None) -> None:
        """Record a result; saying it twice is harmless."""
        owner = await self.own(session_id, task_id, attempt)
        # What is said again isn't stored again: it need not be the same, and would fill the artifact store under nobody's name.
        blob = await self._values.payload(result, "the result") if owner.running else to_blob(None)
        done = Completion(task_id, attempt, blob, _usage(usage))
        async with self._told_of(session_id, task_id, done):
            _accept(await self._queue.complete(session_id, [done]), task_id, attempt)

    async def fail(self, session_id: str, task_id: str, said: NewFailure) -> None:
        """Record a failed attempt, and that another follows where one can help."""
        await self.own(session_id, task_id, said.attempt)
        delay_s = 0.0 if said.delay_s is None else said.delay_s
        if said.delay_s is None and (handed := await self.registry.handed(session_id, [task_id])):
            spec = handed[0].spec
            policy = self._pool(spec).retry if spec.retry == DEFAULT_RETRY else spec.retry
            delay_s = retry_delay_s(policy, failures=handed[0].failures, draw=random.random)
        failure = to_blob(Failure(said.code, said.message[:2048], said.detail[-4096:]))
        attempt = FailedAttempt(task_id, said.attempt, failure, round(delay_s * 1000), said.final, _usage(said.usage))
        async with self._told_of(session_id, task_id, attempt):
            _accept(await self._queue.fail(session_id, [attempt]), task_id, said.attempt)

    @asynccontextmanager
    async def _told_of(self, session_id: str, task_id: str, outcome: Completion | FailedAttempt) -> AsyncIterator[None]:
        """Tell the attempt's span once the engine has taken its end, where this process tells any."""
        tracing = process_tracing()
        handed = await self.registry.handed(session_id, [task_id]) if tracing else []
        view = await self._queue.task(task_id) if handed else None
        yield
        if view and (trace := AttemptTrace.of(tracing, handed[0], session_id)):
            trace.ended(outcome, took_s=(self._queue.now_ms() - view.started_ms) / 1000, suspended=False)

    async def keep_step(self, session_id: str, task_id: str, attempt: int, name: str, result: Json) -> dict[str, Json]:
        """Journal a step and return all steps of the task; the first result of a name stands.

        A Refusal at more than `STEPS_MAX`, or at more bytes than one value may have: they stay until the task has ended.
        """
        owner = await self.own(session_id, task_id, attempt)
        held = await self._queue.steps(task_id)
        if name not in held:
            blob = await self._room_for(name, result, held) if owner.running else to_blob(None)  # the fence says what it is then
            _accept(await self._queue.journal_steps([JournaledStep(task_id, attempt, name, blob)]), task_id, attempt)
        return await self.steps(task_id)

    async def _room_for(self, name: str, result: Json, held: Mapping[str, bytes]) -> Blob:
        """Return a step's result ready to be carried; a Refusal where its task has no room for it."""
        what = f"the result of step {name!r}"
        size = sum(map(_size_of, held.values())) + len(encode_value(result, what))
        if len(held) >= STEPS_MAX or size > self._values.bytes_max:
            most = f"{STEPS_MAX} steps of {self._values.bytes_max >> 20} MiB together"
            why = f"the task has as many steps as it may, {most}: make one of several, or keep what is large elsewhere"
            raise Refusal(Fault(detail=why), status=422, code="steps_full")
        return await self._values.payload(result, what)

    async def progress(self, session_id: str, note: ProgressNote) -> None:
        """Tell watchers how far an attempt is; of words that follow one another closely they hear the last."""
        await self.own(session_id, note.task_id, note.attempt)
        if self._progress is None:
            await self._queue.note_progress([note])
        else:
            self._progress.note(note)

    async def steps(self, task_id: str) -> dict[str, Json]:
        """Return the steps of a task that are done, with their results."""
        held = await self._queue.steps(task_id)
        return {name: await self._values.get(msgspec.msgpack.decode(result)) for name, result in held.items()}

    async def agent_at(self, session_id: str, task_id: str, attempt: int) -> RemoteAgent:
        """Return the agent of a session that runs an attempt; what `own` raises where none does."""
        await self.own(session_id, task_id, attempt)
        running = await self.registry.running(session_id)
        if (agent := (await self.agents(session_id)).get(running.get(task_id, ""))) is None:
            raise _stale(task_id, attempt)
        return agent

    async def own(self, session_id: str, task_id: str, attempt: int | None = None) -> Owner:
        """Return who was handed this attempt of a task (any attempt where none is named); raise unless that is the session.

        TaskUnknown, AttemptStale, or a Refusal where the task is another's and always was, as far as anybody can tell.
        """
        owner = await self.registry.owner(task_id)
        if owner is None:
            raise TaskUnknown(f"there is no task {task_id!r} that anybody was handed")
        if owner.host_id != session_id and (attempt is None or attempt >= owner.attempt):
            why = f"task {task_id} was handed to {owner.agent_id}, which isn't of {session_id}"
            raise Refusal(Fault(detail=why), status=403, code="task_foreign")
        if attempt is not None and attempt != owner.attempt:
            raise _stale(task_id, attempt)
        return owner

    # -- bells

    def _rung(self, message: bytes) -> None:
        self._ring(message.decode().split("\n"))

    def _ring(self, queues: Iterable[str]) -> None:
        for queue in queues:
            for news in self._waiting.get(queue, ()):
                news.set()

    @contextmanager
    def waits_for(self, waiter: str) -> Iterator[None]:
        """Count who waits for a session, or for an agent's mail; Refusal where too many do."""
        if self._waits[waiter] >= WAITS_MAX:
            why = f"{waiter} waits {WAITS_MAX} times already: one claim, one renewal and one look for mail at a time are enough"
            raise Refusal(Fault(detail=why), status=429, code="waits_full")
        self._waits[waiter] += 1
        try:
            yield
        finally:
            self._waits[waiter] -= 1
            if not self._waits[waiter]:
                del self._waits[waiter]

    @contextmanager
    def _watching(self, queues: Iterable[str]) -> Iterator[asyncio.Event]:
        """Set the event whenever there is work in one of the queues within the block."""
        news, watched = asyncio.Event(), list(queues)
        self._wanted.set()
        for queue in watched:
            self._waiting.setdefault(queue, set()).add(news)
        try:
            yield news
        finally:
            for queue in watched:
                self._waiting[queue].discard(news)
                if not self._waiting[queue]:
                    del self._waiting[queue]


def _size_of(encoded: bytes) -> int:
    """Return how many bytes a step's result has, wherever it lies."""
    value = msgspec.msgpack.decode(encoded)
    return to_reference(value).size if is_reference(value) and not is_sealed(value) else len(encoded)


def _slots(room: Room, busy: Mapping[str, int]) -> list[Slots]:
    """Return the free agents by what they can do, at most as many slots as tasks are wanted."""
    left, groups = room.most, dict[tuple[str, ...], list[str]]()
    for agent in room.agents.values():
        free = min(agent.slots - busy.get(agent.id, 0), left)
        if free > 0:
            groups.setdefault(agent.capabilities, []).extend([agent.id] * free)
            left -= free
    return [Slots(capabilities, ids) for capabilities, ids in groups.items()]


def _usage(said: NewUsage | None) -> Usage | None:
    return Usage().plus(usd=said.usd, tokens=said.tokens, calls=said.calls) if said else None


def _why(outcome: TaskOutcome | None) -> FailureShape:
    if outcome is None or outcome.failure is None:
        return FailureShape(code="no_result", message="it has no result" if outcome else "the engine holds it no more")
    return FailureShape(code=outcome.failure.code, message=outcome.failure.message)


def _stale(task_id: str, attempt: int) -> AttemptStale:
    return AttemptStale(f"attempt {attempt} of task {task_id} was taken back; its result isn't wanted: stop working on it")


def _accept(refused: Mapping[int, str], task_id: str, attempt: int) -> None:
    """Raise what the fence's refusal means; nothing where it let the word through."""
    match refused.get(0):
        case None:
            return
        case "cancelled":
            raise TaskCancelled(f"task {task_id} was cancelled: stop working on it")
        case "unknown":
            raise TaskUnknown(f"there is no task {task_id!r}")
        case _:
            raise _stale(task_id, attempt)
