"""How long a request may take to come in: whoever sends byte by byte (slowloris) must not hold a connection for hours.

A head has `HEAD_S` seconds from the connection or its first byte on; a body has `BODY_S`, and more the more of it has come.
Source: https://www.cloudflare.com/learning/ddos/ddos-attack-tools/slowloris/
"""

import asyncio
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


class BodyOverdue(Exception):
    """A body came too slowly."""


class ImpatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself waits for a request's head without end."""

    _overdue: asyncio.TimerHandle | None = None
    _in_head = False

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(Joined(transport, self.loop))  # type: ignore[arg-type]  # as much of one as is used
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
        super().connection_lost(exc)

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
