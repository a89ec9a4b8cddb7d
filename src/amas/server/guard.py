"""What stands before every route: who may call, under which name, and how much they may send. Pure ASGI, no route knows of it.

On loopback there is no password, so a web page that the user happens to look at must not reach the API: requests under a foreign
host name (DNS rebinding) and requests from foreign origins are refused. Where a token is set, everything but
the probes asks for it. Source: https://cheatsheetseries.owasp.org (cross-site request forgery, origin checks).
"""

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amas.server.problems import Problem, problem, problem_response
from amas.settings import ServerSettings

PROBES = frozenset({"/health", "/ready", "/health/orchestration", "/ready/orchestration", "/api/health"})
SESSIONS = "/api/remote/sessions"
"""Agents elsewhere register here, with a token for nothing else; what is below asks for the session's own token itself."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
BODY_BYTES_MAX = 32 << 20
"""The largest batch: 1000 tasks rarely reach it, and a control plane holds a few such bodies at once."""


def _host_name(address: str) -> str:
    name = urlsplit(f"//{address}").hostname if address else ""
    return (name or "").lower()


def bearer(headers: Headers) -> str:
    """Return the token that a request carries, "" for none."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else ""


class Guard:
    """Refuses what may not come in; hands the rest on."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, *, remote_token: str = "") -> None:
        self._app, self._token, self._remote_token = app, settings.token, remote_token
        self._names = {*LOOPBACK_NAMES, settings.host.lower()} if settings.loopback else None

    async def __call__(  # noqa: D102  ASGI's own
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            extra = {"www-authenticate": "Bearer"} if refusal.status == 401 else None
            await problem_response(refusal, extra)(scope, receive, send)
            return
        await BodyLimit(self._app, receive, send).serve(scope)

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        if self._names is not None:
            if _host_name(headers.get("host", "")) not in self._names:
                return problem(421, "host_refused", "this server answers to localhost only; the Host header names something else")
            origin = headers.get("origin", "")
            if origin and _host_name(origin.partition("://")[2]) not in self._names:
                return problem(403, "origin_refused", "a web page of another origin may not use this server")
        wanted = self._wanted(scope["path"])
        if wanted and not self._authorised(headers, wanted):
            return problem(401, "token_needed", "send the fleet's token as `Authorization: Bearer <AMAS_TOKEN>`")
        size = headers.get("content-length", "")
        if size.isdigit() and int(size) > BODY_BYTES_MAX:
            return TOO_LARGE
        return None

    def _wanted(self, path: str) -> list[str]:
        """Return the tokens of which one opens a path; none where it is open."""
        if path in PROBES or path.startswith(f"{SESSIONS}/"):
            return []
        return [token for token in (self._token, self._remote_token if path == SESSIONS else "") if token]

    def _authorised(self, headers: Headers, wanted: list[str]) -> bool:
        given = bearer(headers).encode()
        return any(hmac.compare_digest(given, token.encode()) for token in wanted)


TOO_LARGE = problem(413, "body_too_large", f"the body is larger than {BODY_BYTES_MAX >> 20} MiB: send fewer tasks at a time")


class BodyTooLarge(Exception):
    """A body of unknown length turned out too long while it was read."""


class BodyLimit:
    """One request whose body is counted while it comes in."""

    def __init__(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        self._app, self._receive, self._send = app, receive, send
        self._seen, self._started = 0, False

    async def serve(self, scope: Scope) -> None:
        """Run the application; answer 413 when the body was too long and nothing was sent yet."""
        receive: Callable[[], Awaitable[Message]] = self._counted
        try:
            await self._app(scope, receive, self._noted)
        except BodyTooLarge:
            if not self._started:
                await problem_response(TOO_LARGE)(scope, self._receive, self._send)

    async def _counted(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > BODY_BYTES_MAX:
            raise BodyTooLarge
        return message

    async def _noted(self, message: Message) -> None:
        self._started = True
        await self._send(message)
