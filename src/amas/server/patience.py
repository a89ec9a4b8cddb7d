"""How long a request may take to come in, and an answer to go out: who sends or reads byte by byte (slowloris) must not hold a
connection for hours, nor an answer of megabytes in this process's memory. And how many connections there may be.

A head has `HEAD_S` seconds from the connection or its first byte on; a body has `BODY_S`, and more the more of it has come. Of an
answer that waits to be read `READ_BYTES_MIN` must go in each `READ_S`.
Source: https://www.cloudflare.com/learning/ddos/ddos-attack-tools/slowloris/
"""

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from amas.clock import monotonic_s
from amas.server.joined import Joined
from amas.server.problems import problem, problem_response

HEAD_S = 20.0
"""A head is one packet, or a few: this is three lost ones and their repetition."""
BODY_S = 30.0
BODY_BYTES_S_MIN = 16_384
"""What a bad mobile connection does: each such piece that has come gives the rest a second more."""
READ_S = 60.0
READ_BYTES_MIN = 64 << 10
"""As much as the event loop holds before it calls a reader slow: a kilobyte a second, which no connection is too bad for."""

FILES_SHARE = 0.75
"""Of the files that this process may have open, for connections: the rest is for the engine, the records and the audit."""

FILES_MAX = 1 << 20


def open_many_files() -> None:
    """Let this process have as many files open as the system lets it, up to `FILES_MAX`.

    Shells and systemd give 1024 at first, for programs that use select(); a thousand listeners are more.
    Source: https://0pointer.net/blog/file-descriptor-limits.html
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_max() -> int:
    """Return how many connections a server takes: one that had no file left could do nothing for those that it has."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if files == resource.RLIM_INFINITY else int(files * FILES_SHARE)


class BodyOverdue(Exception):
    """A body came too slowly."""


class ImpatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself waits for a request's head without end."""

    _overdue: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _in_head = False

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(Joined(transport, self.loop))  # type: ignore[arg-type]  # as much of one as is used
        if len(self.connections) > connections_max():
            self.transport.abort()
        else:
            self._expect()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head of which a part has come; nearly all come whole, and take no timer."""
        super().data_received(data)
        if self._in_head and self._overdue is None:
            self._expect()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Wait no more."""
        self._in_head = False
        self._cease()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._in_head = False
        self._cease()
        self._end_watch()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to watch a reader that is slow."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Watch it no more: it has read."""
        self._end_watch()
        super().resume_writing()

    def _watch(self, left: int) -> None:
        self._end_watch()
        self._unread = self.loop.call_later(READ_S, self._look, left)

    def _look(self, left: int) -> None:
        """Give up who hasn't read enough of the `left` bytes; what is closed only would wait for it to read the rest."""
        still = self.transport.get_write_buffer_size()
        if left - still < READ_BYTES_MIN:
            self.transport.abort()
        else:
            self._watch(still)

    def _end_watch(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _expect(self) -> None:
        self._overdue = self.loop.call_later(HEAD_S, self.transport.close)

    def _cease(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None


class Patience:
    """Refuses bodies that come too slowly, with 408."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(  # noqa: D102  ASGI's own
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, _patient(receive), send)
        except BodyOverdue:
            overdue = problem(408, "request_overdue", "the body came too slowly: send it again, or in smaller parts")
            await problem_response(overdue, {"connection": "close"})(scope, receive, send)


def _patient(receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Return `receive` with an end to its patience, until the body is whole; what comes after is for the application to await."""
    began, seen, whole = monotonic_s(), 0, False

    async def received() -> Message:
        nonlocal seen, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout(began + BODY_S + seen / BODY_BYTES_S_MIN - monotonic_s()):
                message = await receive()
        except TimeoutError as error:
            raise BodyOverdue from error
        seen += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        return message

    return received
