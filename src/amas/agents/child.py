"""The process of one isolated attempt, forked from its host's warmed parent (`warm.py`), which has imported this.

It imports as little as it can: no engine, no host, no log library. Limits are set here, before the agent's module is imported. It
dies with its parent, and that with the host, by the kernel's hand.
"""

import asyncio
import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

import msgspec

from amas.agents import frames
from amas.agents.base import BaseAgent, FunctionAgent, load_agent, make_agent
from amas.agents.child_memory import peak_mb
from amas.agents.context import Context, SyncContext
from amas.agents.failures import Verdict, failed, verdict
from amas.agents.mail import MailCall
from amas.agents.threads import DaemonThreads
from amas.artifacts.store import ArtifactStore
from amas.core.breaker import Outcome
from amas.errors import (
    AmasError,
    BudgetExhausted,
    InboxFull,
    MessageError,
    MessageForbidden,
    MessageRefused,
    NotAllowed,
    PayloadTooLarge,
    ReplyOverdue,
    SubmissionError,
    ToolFailed,
    ToolMisused,
    ToolRefused,
    ToolUnsure,
)
from amas.model.cost import ModelCall
from amas.model.flow import ESCALATION_CAPABILITY, Wait
from amas.model.goal import SubTask
from amas.model.limits import Amounts
from amas.model.policy import Decision
from amas.model.task import Json, TaskOutcome
from amas.model.tools import ToolCard
from amas.observe.logging import Log
from amas.sealing import ArtifactSeal, PurposeKey
from amas.secrets import give, with_secrets

T = TypeVar("T")

THREADS = 16
"""For plain functions as steps, of which one attempt rarely has several at a time."""

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_REFUSALS: dict[str, Callable[[str], AmasError]] = {
    kind.code: kind
    for kind in (BudgetExhausted, NotAllowed, MessageError, MessageForbidden, MessageRefused, ReplyOverdue, PayloadTooLarge)
}
_outcomes = dict[str, TaskOutcome]


def _of_tool(code: str, message: str, about: tuple[str, tuple[str, ...], float | None, bool]) -> AmasError:
    """Return what a tool, or the policy, answered with."""
    tool, rules, retry_after_s, final = about
    match code:
        case ToolRefused.code:
            return ToolRefused(message, tool=tool, rules=rules, retry_after_s=retry_after_s)
        case ToolMisused.code:
            return ToolMisused(message, tool=tool)
        case ToolUnsure.code:
            return ToolUnsure(message, tool=tool)
        case _:
            return ToolFailed(message, tool=tool, final=final)


class _Line:
    """The two ends of what this process says to its host."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._loop = asyncio.get_running_loop()
        self.calls = 0

    def say(self, message: frames.FromChild) -> None:
        """Send a message; from any thread."""
        packed = frames.pack(message)
        self._loop.call_soon_threadsafe(self._writer.write, packed)

    async def ask(self, make: Callable[[int], frames.FromChild]) -> Json:
        """Send the call that `make` makes of its number and return the answer."""
        self.calls += 1
        call = self.calls
        try:
            packed = frames.pack(make(call))
        except (TypeError, msgspec.MsgspecError) as error:
            raise SubmissionError(f"what is to be kept or sent is not a JSON value: {error}") from error
        await asyncio.sleep(0)  # what was said before goes before
        self._waiting[call] = self._loop.create_future()
        self._writer.write(packed)
        return await self._waiting[call]

    async def listen(self) -> NoReturn:
        """Hand answers to those who wait, until the host hangs up."""
        while True:
            match frames.from_host.decode(await frames.read(self._reader)):
                case frames.Answer(call, value):
                    self._waiting.pop(call).set_result(value)
                case frames.Refusal(call, full=(agent_id, held, retry_after_s)):
                    self._waiting.pop(call).set_exception(InboxFull(agent_id, held=held, retry_after_s=retry_after_s))
                case frames.Refusal(call, message, code, tool=tuple(about)):
                    self._waiting.pop(call).set_exception(_of_tool(code, message, about))
                case frames.Refusal(call, message, code):
                    self._waiting.pop(call).set_exception(_REFUSALS.get(code, SubmissionError)(message))
                case other:
                    raise AssertionError(f"a host doesn't say {type(other).__name__} twice")

    async def finish(self, message: frames.Done | frames.Failed) -> None:
        """Say the last word, after all that `say` has handed to the loop."""
        await asyncio.sleep(0)
        self._writer.write(frames.pack(message))
        await self._writer.drain()
        self._writer.close()
        await self._writer.wait_closed()


class _Log:
    """Sends lines to the host, which adds the task's fields and decides about levels."""

    def __init__(self, line: _Line, fields: dict[str, Json]) -> None:
        self._line, self._fields = line, fields

    def _say(self, level: Any, message: str, fields: dict[str, Any]) -> None:
        plain = msgspec.to_builtins({**self._fields, **fields}, str_keys=True, enc_hook=str)
        self._line.say(frames.LogLine(level, message, plain))

    def debug(self, message: str, /, **fields: Any) -> None:
        self._say("debug", message, fields)

    def info(self, message: str, /, **fields: Any) -> None:
        self._say("info", message, fields)

    def warning(self, message: str, /, **fields: Any) -> None:
        self._say("warning", message, fields)

    def error(self, message: str, /, **fields: Any) -> None:
        self._say("error", message, fields)

    def critical(self, message: str, /, **fields: Any) -> None:
        self._say("critical", message, fields)

    def bind(self, **fields: Any) -> Self:
        return type(self)(self._line, {**self._fields, **fields})


class ChildContext(Context):
    """The attempt, with its calls sent to the host."""

    def __init__(self, start: frames.Start, line: _Line) -> None:
        self.id, self.attempt, self.agent_id = start.id, start.attempt, start.agent_id
        self.spec, self.input = start.spec, start.spec.input
        self.results, self.failures = start.results, start.failures
        self.options, self.deadline_ms = start.pool.options, start.deadline_ms
        keys = [PurposeKey(*key) for key in start.artifact_keys]
        self.artifacts = ArtifactStore(start.artifacts, seal=ArtifactSeal(keys) if keys else None)
        self.member, self._leads = start.pool.member, tuple(start.leads)
        self._workspace = Path(start.workspace)
        self._line = line
        self._log = _Log(line, {})
        self._threads = DaemonThreads(THREADS, name="step")

    @property
    def leads(self) -> tuple[str, ...]:
        """As the host knows them."""
        return self._leads

    @property
    def workspace(self) -> Path:
        """The task's folder, which the host has made."""
        return self._workspace

    @property
    def log(self) -> Log:
        """The host's log."""
        return self._log

    @property
    def cancelled(self) -> bool:
        """Never: this process is killed instead."""
        return False

    def progress(self, fraction: float, note: str = "") -> None:
        """Pass a note on."""
        self._line.say(frames.Progress(float(fraction), note))

    async def recall(self, name: str) -> tuple[bool, Json]:
        """Ask the host's journal."""
        known, result = await self._line.ask(lambda call: frames.Recall(call, name))
        return known, result

    async def keep(self, name: str, result: Json, *, calls: Sequence[ModelCall] = ()) -> Json:
        """Have the host journal a step."""
        return await self._line.ask(lambda call: frames.Keep(call, name, result, tuple(calls)))

    async def spawn(self, tasks: Sequence[SubTask], *, wait: Wait = "all") -> dict[str, TaskOutcome]:
        """Have sub-tasks done; when they aren't yet, the host ends this process and a later attempt goes on."""
        answer = await self._line.ask(lambda call: frames.Spawn(call, list(tasks), wait))
        return msgspec.convert(answer, _outcomes)

    async def spend(self, *, usd: float = 0.0, tokens: int = 0, calls: int = 0) -> None:
        """Have the host reserve it."""
        await self._line.ask(lambda call: frames.Spend(call, usd, tokens, calls))

    async def mail(self, said: MailCall) -> Any:
        """Have the host carry it out, in the name of the agent whose attempt this is."""
        return await self._line.ask(lambda call: frames.Mail(call, said))

    async def enter_dependency(self, name: str) -> tuple[str, float]:
        """Ask the host."""
        token, wait_s = await self._line.ask(lambda call: frames.Enter(call, name))
        return token, wait_s

    async def leave_dependency(self, name: str, token: str, outcome: Outcome, why: str) -> None:
        """Tell the host."""
        await self._line.ask(lambda call: frames.Leave(call, name, token, outcome, why))

    async def token(self, audience: str = "") -> str:
        """Ask the host."""
        return str(await self._line.ask(lambda call: frames.Token(call, audience)))

    async def use_tool(self, name: str, arguments: dict[str, Json], key: str) -> Json:
        """Have the host do it: tools run there, and its guard decides."""
        return await self._line.ask(lambda call: frames.Use(call, name, arguments, key))

    async def tools(self) -> list[ToolCard]:
        """Ask the host."""
        return msgspec.convert(await self._line.ask(frames.Tools), list[ToolCard])

    async def permit(self, tool: str, arguments: dict[str, Json]) -> Decision:
        """Ask the host."""
        return msgspec.convert(await self._line.ask(lambda call: frames.Permit(call, tool, arguments)), Decision)

    async def budget_left(self) -> Amounts | None:
        """Ask the host."""
        return msgspec.convert(await self._line.ask(frames.Left), Amounts | None)

    def report_usage(self, *, usd: float = 0.0, tokens: int = 0, calls: int = 0) -> None:
        """Tell the host."""
        self._line.say(frames.Used(usd, tokens, calls))

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Run a plain step in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def limit(*, memory_mb: int, cpu_s: int) -> None:
    """Set what this process may take; 0 is no limit."""
    if memory_mb:
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    if cpu_s:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # SIGXCPU first, SIGKILL a second later
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before the kernel knew
        os._exit(1)


async def work(agent: BaseAgent, context: ChildContext) -> Json:
    """Run the agent's code and return its result."""
    if context.spec.capability == ESCALATION_CAPABILITY:
        return await agent.on_escalation(context)
    if isinstance(agent, FunctionAgent) and agent.blocking:
        loop = asyncio.get_running_loop()

        def call(coroutine: Coroutine[Any, Any, T]) -> T:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

        return await loop.run_in_executor(DaemonThreads(1, name="agent"), agent.blocking, SyncContext(context, call))
    return await agent.process_task(context)


async def attempt(start: frames.Start, line: _Line) -> frames.Done | frames.Failed:
    """Return what the host is to be told."""
    sys.path[:] = start.path
    try:
        agent = make_agent(load_agent(start.pool.agent), start.agent_id, start.pool)
        done = frames.Done(await work(agent, ChildContext(start, line)))
        try:
            frames.pack(done)
        except (TypeError, msgspec.MsgspecError) as error:
            return _failed(failed(SubmissionError.code, f"the result is not a JSON value: {error}", final=True))
    except SystemExit as error:
        return _failed(failed("agent_exited", f"the agent's code asked the process to exit with {error.code!r}"))
    except asyncio.CancelledError:
        return _failed(failed("agent_cancelled", "the agent's own code cancelled its attempt"))
    except Exception as error:  # noqa: BLE001  the agent's code may raise anything
        return _failed(verdict(error))
    return done


def _failed(found: Verdict) -> frames.Failed:
    return frames.Failed(found.failure, found.final, found.delay_s, found.provider, found.later)


async def main(handle: int) -> None:
    """Carry out the one attempt that comes over the socket."""
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=handle))
    line = _Line(reader, writer)
    start = frames.from_host.decode(await frames.read(reader))
    assert isinstance(start, frames.Start), "a host says Start first"
    if start.secrets:
        give(start.secrets)
        pool = msgspec.structs.replace(start.pool, options=with_secrets(start.pool.options))
        start = msgspec.structs.replace(start, pool=pool)
    listening = asyncio.create_task(line.listen(), name="listen")
    end = await attempt(start, line)
    if start.pool.scaling and start.pool.scaling.vertical:
        line.say(frames.Took(peak_mb()))
    await line.finish(end)
    listening.cancel()


def carry_out(handle: int, parent_pid: int, *, memory_mb: int, cpu_s: int) -> NoReturn:
    """Be the process of the attempt that comes over the socket `handle`, and end."""
    die_with(parent_pid)
    limit(memory_mb=memory_mb, cpu_s=cpu_s)
    asyncio.run(main(handle))
    sys.stdout.flush()
    os._exit(0)  # threads that the agent's code left behind don't keep the attempt's process
