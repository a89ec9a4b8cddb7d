"""`isolation: process`: each attempt in a child process of its own session, with limits, that can be killed at any point.

The child (`child.py`) is forked from this host's warmed parent (`nursery.py`). It reaches its host over a socket pair only
(`frames.py`), and has no connection to the engine. However an attempt ends, the whole process group is killed: what the agent's
code started ends with it.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

import msgspec

from amas.agents import frames
from amas.agents.base import BaseAgent
from amas.agents.child_memory import ChildMemory
from amas.agents.context import Context
from amas.agents.failures import DETAIL_CHARS_MAX, MEMORY_LIMIT, AttemptFailed, Verdict, failed
from amas.agents.nursery import Nursery, end_group
from amas.errors import (
    BudgetExhausted,
    InboxFull,
    MessageError,
    NotAllowed,
    SubmissionError,
    ToolFailed,
    ToolMisused,
    ToolRefused,
    ToolUnsure,
)
from amas.model.fleet import PoolSpec
from amas.model.task import Json
from amas.secrets import reveal, secrets_in

OUTPUT_S = 1.0
"""Seconds to wait for the end of a dead child's output, which a process that left its group may hold open."""
END_S = 1.0
"""Seconds to wait for a killed child to be gone; only the kernel can hold it up."""

_READ_BYTES = 1 << 16


class ProcessAgent(BaseAgent):
    """Stands in the host for an agent whose code runs in children only; its module isn't imported here."""

    __slots__ = ("memory", "nursery", "pool")

    def __init__(self, agent_id: str, pool: PoolSpec, nursery: Nursery, memory: ChildMemory | None = None) -> None:
        """`memory`: where it is noted what its children take; None where nobody wants to know."""
        super().__init__(agent_id, pool)
        self.pool, self.nursery, self.memory = pool, nursery, memory

    async def process_task(self, task: Context) -> Json:
        """Start a child for this attempt and return its result."""
        return await _Child(task, self).run()

    async def on_escalation(self, task: Context) -> Json:
        """Let a child answer, which sees by the task what it is for."""
        return await _Child(task, self).run()


class _Child:
    def __init__(self, context: Context, agent: ProcessAgent) -> None:
        self._context, self._agent = context, agent
        self._output = bytearray()

    async def run(self) -> Json:
        """Return the child's result, or raise what the attempt ends with; the child is gone in either case."""
        ours, theirs = socket.socketpair()
        printed, output_end = os.pipe()
        try:
            with theirs:
                process = await self._agent.nursery.fork(theirs, output_end, self._agent.pool.limits)
        except BaseException:
            ours.close()
            os.close(printed)
            raise
        finally:
            os.close(output_end)
        output = asyncio.create_task(self._keep_output(printed), name=f"output of {self._agent.agent_id}")
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        if self._agent.memory:
            self._agent.memory.began(process.pid)
        try:
            return await self._converse(reader)
        except (EOFError, ConnectionError):
            code = await process.wait()
            await asyncio.wait((output,), timeout=OUTPUT_S)
            raise AttemptFailed(self._crashed(code)) from None
        finally:
            if self._agent.memory:
                self._agent.memory.ended(process.pid)
            end_group(process.pid)
            self._writer.close()
            await asyncio.wait((asyncio.create_task(process.wait()),), timeout=END_S)
            output.cancel()

    async def _converse(self, reader: asyncio.StreamReader) -> Json:
        context = self._context
        named = set(secrets_in(context.options))
        secrets = await asyncio.to_thread(lambda: {each: reveal(each) for each in named}) if named else {}
        await self._say(
            frames.Start(
                id=context.id,
                attempt=context.attempt,
                agent_id=context.agent_id,
                spec=msgspec.structs.replace(context.spec, traceparent=context.traceparent),
                pool=self._agent.pool,
                results=context.results,
                failures=context.failures,
                workspace=str(context.workspace),
                artifacts=context.artifacts.url,
                deadline_ms=context.deadline_ms,
                path=sys.path,
                leads=list(context.leads),
                artifact_keys=[(key.id, key.key) for key in context.artifacts.seal.keys] if context.artifacts.seal else [],
                secrets=secrets,
            )
        )
        reading = asyncio.ensure_future(frames.read(reader))
        under_way: set[asyncio.Future[Any]] = {reading}
        try:
            while True:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for ended in done:
                    if (said := ended.result()) is None:  # a call was answered; one that suspends the attempt raises here
                        continue
                    message = _decode(said)
                    if isinstance(message, frames.Done):
                        return message.result
                    if (call := self._take(message)) is not None:
                        under_way.add(asyncio.ensure_future(call))
                    under_way.add(asyncio.ensure_future(frames.read(reader)))
        finally:
            for future in under_way:
                future.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def _take(self, message: frames.FromChild) -> Coroutine[Any, Any, None] | None:
        """Take one message; return the call that it asks for, if it asks for one."""
        if isinstance(message, frames.Asks):
            return self._answer(message)
        match message:
            case frames.Used():
                self._context.report_usage(usd=message.usd, tokens=message.tokens, calls=message.calls)
            case frames.Progress():
                self._context.progress(message.fraction, message.note)
            case frames.LogLine():
                getattr(self._context.log, message.level)(message.message, **message.fields)
            case frames.Took():
                self._note(message.memory_mb)
            case frames.Failed():
                if message.failure.code == MEMORY_LIMIT:  # it needed more, and nobody knows how much
                    self._note(self._agent.pool.limits.memory_mb)
                raise AttemptFailed(Verdict(message.failure, message.final, message.delay_s, message.provider, message.later))
            case _:
                pass
        return None

    def _note(self, memory_mb: int) -> None:
        if self._agent.memory:
            self._agent.memory.took(memory_mb)

    async def _answer(self, message: frames.Asks) -> None:
        try:
            value = await self._carry_out(message)
        except InboxFull as error:
            full = error.agent_id, error.held, error.retry_after_s
            await self._say(frames.Refusal(message.call, str(error), error.code, full))
        except (ToolRefused, ToolMisused, ToolUnsure, ToolFailed) as error:
            await self._say(frames.Refusal(message.call, str(error), error.code, tool=_about(error)))
        except (SubmissionError, BudgetExhausted, NotAllowed, MessageError) as error:
            await self._say(frames.Refusal(message.call, str(error), error.code))
        else:
            await self._say(frames.Answer(message.call, value))

    async def _carry_out(self, message: frames.Asks) -> Any:  # noqa: C901, PLR0911  one for each call
        """Return what the context makes of a call."""
        context = self._context
        match message:
            case frames.Recall():
                return await context.recall(message.name)
            case frames.Keep():
                return await context.keep(message.name, message.result, calls=message.calls)
            case frames.Spawn():
                return await context.spawn(message.tasks, wait=message.wait)
            case frames.Left():
                return msgspec.to_builtins(await context.budget_left())
            case frames.Spend():
                return await context.spend(usd=message.usd, tokens=message.tokens, calls=message.calls)
            case frames.Mail():
                return await context.mail(message.said)
            case frames.Token():
                return await context.token(message.audience)
            case frames.Enter():
                return await context.enter_dependency(message.name)
            case frames.Leave():
                told = message.name, message.token, message.outcome, message.why
                return await context.leave_dependency(*told)
            case frames.Use():
                return await context.use_tool(message.tool, message.arguments, message.key)
            case frames.Tools():
                return msgspec.to_builtins(await context.tools())
            case frames.Permit():
                return msgspec.to_builtins(await context.permit(message.tool, message.arguments))

    async def _say(self, message: frames.FromHost) -> None:
        self._writer.write(frames.pack(message))
        await self._writer.drain()

    async def _keep_output(self, printed: int) -> None:
        """Read what the child prints, so that it never waits for us, and keep the end of it."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(printed, "rb", buffering=0)
        )
        try:
            while piece := await reader.read(_READ_BYTES):
                self._output += piece
                del self._output[:-DETAIL_CHARS_MAX]
        finally:
            transport.close()

    def _crashed(self, code: int) -> Verdict:
        detail = self._output.decode(errors="replace")
        if code >= 0:
            return failed("process_crashed", f"the agent's process ended with exit code {code} before its task", detail=detail)
        name = signal.Signals(-code).name
        if -code == signal.SIGXCPU:
            return failed("cpu_limit", f"the agent took more than {self._agent.pool.limits.cpu_s} s of CPU", detail=detail)
        hint = ", perhaps because the machine ran out of memory" if -code == signal.SIGKILL else ""
        return failed("process_crashed", f"the agent's process was ended by {name}{hint}", detail=detail)


def _decode(said: bytes) -> frames.FromChild:
    try:
        message: frames.FromChild = frames.from_child.decode(said)
    except msgspec.MsgspecError as error:
        raise AttemptFailed(failed("protocol_error", f"the isolated agent's process spoke nonsense: {error}")) from error
    return message


def _about(error: ToolRefused | ToolMisused | ToolUnsure | ToolFailed) -> tuple[str, tuple[str, ...], float | None, bool]:
    """Return what a tool's error says besides its sentence."""
    if isinstance(error, ToolRefused):
        return error.tool, error.rules, error.retry_after_s, True
    return error.tool, (), None, not isinstance(error, ToolFailed) or error.final
