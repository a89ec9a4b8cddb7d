"""One connection for short reads that many ask for at a time: each is written at once, and answered in its turn.

The driver lends a connection for every call and takes it back, under locks and time-outs: several times what the server takes to
find a task, and turns of the event loop besides. Here a read costs a write, and its answer wakes who asked.

It is a way past the driver only while all is well. The driver makes the connection, so addresses, TLS, passwords and sentinels
are as ever; it is opened beside those who ask, and whatever goes wrong ends it. `LineBroken` then sends them the driver's way,
which has the time-outs, the errors and the words. For reading commands only: nobody knows whether one was carried out.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hiredis import HiredisError, Reader, ReplyError, pack_command

from amas.clock import monotonic_s
from amas.engine.driver import AbstractConnection
from amas.engine.driver import exceptions as driver_errors

PATIENCE_S = 1.0
"""What is answered later is asked for in the driver's way, whose patience is the engine's own time-out."""
PAUSE_S = 1.0
"""Between a connection that couldn't be made, or has ended, and the next."""
ASKED_MAX = 1000
"""Questions that wait for their answers: more are no longer short reads of a server that is well."""


class LineBroken(Exception):
    """There is no line now, or it ended before the answer."""


class Line:
    """The line to one engine: open while somebody asks and all is well."""

    def __init__(self, connect: Callable[[], AbstractConnection]) -> None:
        """`connect` returns a connection that isn't made yet, as `Engine.new_connection` does."""
        self._connect = connect
        self._talk: _Talk | None = None
        self._opening: asyncio.Task[None] | None = None
        self._not_before_s = float("-inf")

    async def ask(self, command: Sequence[str | bytes]) -> Any:
        """Return what the server answers to one reading command; LineBroken where that isn't known."""
        talk = self._talk
        if talk is None or talk.over:
            self._open_soon()
            raise LineBroken
        return await talk.ask(command)

    async def close(self) -> None:
        """End it; who asks later opens another one."""
        talk, self._talk = self._talk, None
        opening, self._opening = self._opening, None
        if talk is not None:
            talk.end()
        if opening is not None:
            opening.cancel()
            await asyncio.wait([opening])

    def _open_soon(self) -> None:
        now_s = monotonic_s()
        if self._opening is None and now_s >= self._not_before_s:
            self._not_before_s = now_s + PAUSE_S
            self._opening = asyncio.create_task(self._open(), name="open the line")

    async def _open(self) -> None:
        connection: Any = self._connect()
        try:
            with suppress(driver_errors.RedisError, OSError):  # the driver's way says why
                await connection.connect()
                if self._opening is asyncio.current_task():  # else it was closed meanwhile: the driver may swallow that
                    self._talk = _Talk(connection)
        finally:
            with suppress(driver_errors.RedisError, OSError):
                await connection.disconnect(nowait=True)
            if self._opening is asyncio.current_task():
                self._opening = None


class _Talk(asyncio.Protocol):
    """One connection, from when it is made until its end."""

    def __init__(self, connection: Any) -> None:
        """Take a connection over that is made: the driver has nothing to do with it any more."""
        self.over = False
        self._asked: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._reader = Reader()
        self._writer, connection._writer = connection._writer, None
        self._transport: asyncio.Transport = self._writer.transport
        self._transport.set_protocol(self)
        self._loop = asyncio.get_running_loop()
        self._watch = self._loop.call_later(PATIENCE_S, self._look)

    async def ask(self, command: Sequence[str | bytes]) -> Any:
        """Return the answer to a command."""
        if len(self._asked) >= ASKED_MAX:
            raise LineBroken
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._asked.append((monotonic_s(), answer))
        self._transport.write(pack_command(tuple(command)))  # type: ignore[arg-type]  # typed for one word
        return await answer

    def data_received(self, data: bytes) -> None:
        """Hand out the answers that have come; asyncio's own, as `connection_lost` is."""
        self._reader.feed(data)
        try:
            while (found := self._reader.gets()) is not False:
                if isinstance(found, ReplyError) or not self._asked:
                    return self.end()
                _, answer = self._asked.popleft()
                if not answer.done():  # its asker may have gone
                    answer.set_result(found)
        except HiredisError:
            self.end()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.end()

    def end(self) -> None:
        """Close the connection, and send away who waits."""
        self.over = True
        self._watch.cancel()
        self._writer.close()
        while self._asked:
            _, answer = self._asked.popleft()
            if not answer.done():
                answer.set_exception(LineBroken())

    def _look(self) -> None:
        """End where the oldest question has waited for too long."""
        if self._asked and monotonic_s() - self._asked[0][0] > PATIENCE_S:
            self.end()
        else:
            self._watch = self._loop.call_later(PATIENCE_S, self._look)
