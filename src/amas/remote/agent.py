"""One agent that runs elsewhere: registers, claims by long poll, works, says what came of it, and hears messages.

It has a session of its own. The session is lost when nothing was heard of it for its lease: then all work stops, since others do
it by now, and the agent registers anew. So whoever wrote its functions sees neither sessions nor attempts. It ends when it is
told to, or when the fleet doesn't let it in, which no further try would mend.
"""

import asyncio
import inspect
import logging
import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar, cast

import msgspec

from amas.agents.failures import failed, verdict
from amas.agents.threads import DaemonThreads
from amas.core.retry import Draw
from amas.errors import RemoteRefused
from amas.model.message import MessageType
from amas.model.remote import agent_id_of
from amas.model.states import Layer
from amas.model.task import Json
from amas.remote.wire import NEEDS_A_SESSION, Wire

WAIT_S = 20.0
"""Of a long poll, at most; the control plane bounds it by two thirds of the lease."""
SOON_S = 0.5
"""An agent with its hands full asks what it must stop once nothing has ended for so long."""
LOST = frozenset({"session_lost", "session_unknown", NEEDS_A_SESSION})
"""The session is no more: another one is opened."""
GONE = frozenset({"attempt_stale", "task_cancelled", "task_unknown", "task_foreign"})
"""The task is somebody else's, or nobody's: what came of it isn't wanted."""
TASKS_MAX = 100
"""In one claim."""

T = TypeVar("T")
Work = Callable[["Task"], Awaitable[Json]] | Callable[["Task"], Json]
Heard = Callable[["Message"], Awaitable[Json]]
F = TypeVar("F", bound=Work)
H = TypeVar("H", bound=Heard)
log = logging.getLogger("amas.remote")


class Message(msgspec.Struct, frozen=True):
    """A message to the agent."""

    id: str
    sender: str
    type: MessageType
    payload: Any = None
    reply_to: str = ""


class Handed(msgspec.Struct, frozen=True):
    """An attempt as it is handed out."""

    task_id: str
    attempt: int
    capability: str
    input: Any = None
    key: str = ""
    title: str = ""
    workflow_id: str = ""
    tenant: str = ""
    needs: dict[str, Any] = {}
    resumed: bool = False
    timeout_s: float = 0.0
    traceparent: str = ""


class _Work(msgspec.Struct, frozen=True):
    tasks: list[Handed] = []
    stop: list[str] = []


class _Steps(msgspec.Struct, frozen=True):
    steps: dict[str, Any]


class _Token(msgspec.Struct, frozen=True):
    token: str


class _Mail(msgspec.Struct, frozen=True):
    messages: list[Message]


class _Sent(msgspec.Struct, frozen=True):
    message_id: str


class Task:
    """One task, as its function gets it."""

    def __init__(self, handed: Handed, wire: Wire) -> None:
        self._wire = wire
        self.id, self.attempt, self.capability = handed.task_id, handed.attempt, handed.capability
        self.input: Any = handed.input
        self.key, self.title, self.workflow_id, self.tenant = handed.key, handed.title, handed.workflow_id, handed.tenant
        self.results: Mapping[str, Any] = handed.needs
        """Of the tasks before it, by key."""
        self.timeout_s = handed.timeout_s
        """What it may take; then it is stopped, and the attempt has failed."""
        self.traceparent = handed.traceparent
        """Where it stands in its trace (W3C), to be sent on with what it calls; empty: it has none."""
        self._steps: dict[str, Any] | None = None if handed.resumed else {}
        self.usage: dict[str, float] = {}
        """`usd`, `tokens` and `calls` that the attempt used, told with its outcome."""

    async def progress(self, fraction: float, note: str = "") -> None:
        """Say how far it is, 0 to 1."""
        await self._say("progress", {"fraction": fraction, "note": note}, dict[str, Any])

    async def step(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do a named piece of the task once in its life: a later attempt gets the first one's result."""
        if self._steps is None:
            self._steps = (await self._wire.get(f"tasks/{self.id}/steps", _Steps)).steps
        if name not in self._steps:
            self._steps = (await self._say("steps", {"name": name, "result": await work()}, _Steps)).steps
        return cast("T", self._steps[name])

    async def token(self, audience: str = "") -> str:
        """Return a JWT by which this agent shows `audience`, by default the fleet's API, who it is; it counts for 24 hours."""
        return (await self._say("token", {"audience": audience}, _Token)).token

    async def _say(self, word: str, body: dict[str, Any], kind: type[T]) -> T:
        return await self._wire.say(f"tasks/{self.id}/{word}", {"attempt": self.attempt, **body}, kind)


class Agent:
    """An agent of a fleet, wherever this program runs."""

    def __init__(  # noqa: PLR0913  one for each word of the registration
        self,
        name: str,
        *,
        url: str = "",
        token: str = "",
        slots: int = 1,
        version: str = "1",
        layer: Layer | str = Layer.EXECUTION,
        title: str = "",
        labels: Mapping[str, str] | None = None,
        take_over: bool = True,
        drain_s: float = 10.0,
        draw: Draw = random.random,
    ) -> None:
        """`url` and `token`: by default AMAS_URL and AMAS_REMOTE_TOKEN. `slots`: tasks at a time.

        `take_over`: an earlier run of this agent that left without a word is replaced at once; without, RemoteRefused while its
        lease holds. `drain_s`: what running tasks may still take when the agent is told to end; the rest is given back.
        """
        self.id = agent_id_of(name)
        self._about = {"name": name, "version": version, "layer": Layer(layer), "title": title, "labels": dict(labels or {})}
        self._slots, self._take_over, self._drain_s = slots, take_over, drain_s
        self._wire = Wire(
            url or os.environ.get("AMAS_URL", "http://127.0.0.1:8000"),
            token or os.environ.get("AMAS_REMOTE_TOKEN", ""),
            draw=draw,
        )
        self._can: dict[str, Work] = {}
        self._heard: Heard | None = None
        self._threads = DaemonThreads(slots, name=name)
        self._running: dict[str, tuple[int, asyncio.Task[None]]] = {}
        """The attempt of each task that isn't answered for yet, and who works on it."""
        self._freed, self._stopping = asyncio.Event(), asyncio.Event()

    def can(self, capability: str) -> Callable[[F], F]:
        """Have a function do the tasks of a capability; a plain `def` runs in a thread, where it can't be stopped."""

        def take(function: F) -> F:
            self._can[capability] = function
            return function

        return take

    def hears(self, function: H) -> H:
        """Have a function read the messages to this agent; what it returns, unless None, is sent as the answer."""
        self._heard = function
        return function

    def run(self) -> None:
        """Work until SIGINT or SIGTERM; RemoteRefused when the fleet doesn't let the agent in (RemoteTokenRefused: its token)."""

        async def until_told() -> None:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.stop)
            await self.serve()

        asyncio.run(until_told())

    def stop(self) -> None:
        """Claim no more, finish what can be finished in `drain_s`, give the rest back; `serve` returns then."""
        self._stopping.set()

    async def serve(self) -> None:
        """Work until `stop`; cancelled, it stops at once."""
        async with self._wire:
            try:
                while await self._unless_stopped(self._open()):
                    await self._session()
            finally:
                await self._wire.close()

    async def send(
        self,
        recipient: str,
        payload: Json,
        *,
        kind: MessageType = MessageType.STATUS,
        reply_to: str = "",
    ) -> str:
        """Write to an agent by its id and return the message's id."""
        body = {"agent_id": self.id, "recipient": recipient, "type": kind, "payload": payload, "reply_to": reply_to}
        return (await self._wire.say("messages", body, _Sent)).message_id

    async def ask(self, recipient: str, payload: Json, *, timeout_s: float = 10.0) -> Message:
        """Ask an agent and return its answer; RemoteRefused with the code `reply_overdue` when none came."""
        body = {"agent_id": self.id, "recipient": recipient, "payload": payload, "timeout_s": timeout_s}
        return await self._wire.say("messages/ask", body, Message, wait_s=timeout_s)

    # -- a session

    async def _open(self) -> bool:
        about = {**self._about, "capabilities": list(self._can), "slots": self._slots}
        await self._wire.open(about, machine=socket.gethostname(), take_over=self._take_over)
        log.info("registered as %s", self.id)
        return True

    async def _session(self) -> None:
        """Work in one session until it is lost, or the agent is to stop."""
        self._running.clear()
        try:
            async with asyncio.TaskGroup() as group:
                mail = group.create_task(self._read_mail(), name="mail") if self._heard else None
                await self._claim(group)
                await self._drain()
                if mail:
                    mail.cancel()
        except ExceptionGroup as found:
            refused, others = found.split(RemoteRefused)
            if others or refused is None:
                raise
            first = cast("RemoteRefused", refused.exceptions[0])
            if first.refusal not in LOST:
                raise first from None
            log.warning("the session is lost, so another one is opened: %s", first)

    async def _claim(self, group: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            self._freed.clear()
            free = min(self._slots - len(self._running), TASKS_MAX)
            if free:
                work = await self._unless_stopped(self._look(free))
            else:
                work = await self._unless_stopped(self._beat())
            for task_id in work.stop if work else ():
                if task_id in self._running:
                    self._running[task_id][1].cancel()
            for handed in work.tasks if work else ():
                self._begin(group, handed)

    async def _look(self, free: int) -> _Work:
        asked = {"running": list(self._running), "max_tasks": free, "wait_s": WAIT_S}
        return await self._wire.say("claim", asked, _Work, wait_s=WAIT_S)

    async def _beat(self) -> _Work:
        """Wait for a task to end, or to be one to stop; renews the lease when that takes long."""
        session = self._wire.session
        assert session is not None
        wait_s = session.renew_wait_s
        try:
            async with asyncio.timeout(SOON_S if wait_s else session.beat_every_s):  # most tasks end before it is worth a call
                await self._freed.wait()
        except TimeoutError:
            said = {"running": list(self._running), **({"wait_s": wait_s} if wait_s else {})}
            return await _unless(self._freed, self._wire.say("renew", said, _Work, wait_s=wait_s)) or _Work()
        return _Work()

    def _begin(self, group: asyncio.TaskGroup, handed: Handed) -> None:
        attempt, worker = self._running.get(handed.task_id, (0, None))
        if attempt == handed.attempt:
            return
        if worker is not None:  # it was taken away and came back
            worker.cancel()
        self._running[handed.task_id] = handed.attempt, group.create_task(self._do(handed), name=handed.task_id)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._drain_s):
                while self._running:
                    self._freed.clear()
                    await self._beat()
        except TimeoutError:
            for _, worker in self._running.values():
                worker.cancel()

    # -- one task

    async def _do(self, handed: Handed) -> None:
        task = Task(handed, self._wire)
        try:
            word, body = await self._outcome(task)
            try:
                await task._say(word, body, dict[str, Any])
            except RemoteRefused as refused:
                if refused.refusal in LOST:
                    raise
                if refused.refusal not in GONE:  # what can't be carried: it would be the same the next time
                    await task._say("fail", _failure(refused, final=True), dict[str, Any])
        finally:
            if self._running.get(handed.task_id, (0,))[0] == handed.attempt:
                del self._running[handed.task_id]
            self._freed.set()

    async def _outcome(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Return how the attempt ended: the call's last word and its body."""
        used = {"usage": task.usage} if task.usage else {}
        try:
            function = self._can[task.capability]
            if inspect.iscoroutinefunction(function):
                result = await function(task)
            else:
                result = await asyncio.wrap_future(self._threads.submit(function, task))
            msgspec.json.encode(result)
        except RemoteRefused as refused:
            if refused.refusal in LOST:
                raise
            return "fail", _failure(refused) | used
        except Exception as error:  # noqa: BLE001  the agent's code may raise anything
            return "fail", _failure(error) | used
        return "complete", {"result": result} | used

    # -- messages

    async def _read_mail(self) -> None:
        assert self._heard is not None
        while True:
            asked = {"agent_id": self.id, "wait_s": WAIT_S}
            for message in (await self._wire.say("messages/receive", asked, _Mail, wait_s=WAIT_S)).messages:
                try:
                    answer = await self._heard(message)
                except Exception:  # foreign code; the message comes again
                    log.exception("a message couldn't be read")
                    continue
                if answer is not None:
                    await self.send(message.sender, answer, kind=MessageType.HELP_RESPONSE, reply_to=message.id)
                await self._wire.say("messages/ack", {"agent_id": self.id, "message_ids": [message.id]}, dict[str, Any])

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what `work` returns, None where the agent is told to stop before."""
        return await _unless(self._stopping, work)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` returns, None where the event comes before."""
    if event.is_set():  # not even its first step is taken
        work.close()
        return None
    working, coming = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((working, coming), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        coming.cancel()


def _failure(error: Exception, *, final: bool = False) -> dict[str, Any]:
    found = failed(error.refusal, str(error)) if isinstance(error, RemoteRefused) else verdict(error)
    failure = found.failure
    said = {"code": failure.code, "message": failure.message, "detail": failure.detail, "final": final or found.final}
    return said if found.delay_s is None else said | {"delay_s": found.delay_s}
