"""What stands before every route: who calls, what they may, how much they may send; and the audit. Pure ASGI: no route knows it.

On loopback nobody need show anything while nothing is configured, so a web page that the user happens to look at must not reach
the API: requests under a foreign host name (DNS rebinding) and requests from foreign origins are refused. A browser that has
signed in sends its cookie by itself, so what changes anything by a cookie must come from this server's own pages.
What takes longer than a moment, streams and long polls, is looked at again before its caller hears more.
Source: https://cheatsheetseries.owasp.org (cross-site request forgery, origin checks).
"""

import asyncio
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amas.clock import monotonic_s
from amas.errors import AmasError, AuditError
from amas.observe import events
from amas.observe.logging import process_log
from amas.policy.audit import Act, AuditLog
from amas.server.access import MAY, Rule, rule_for
from amas.server.fields import Fields, fields_of
from amas.server.identity import Caller, Identity, cookie
from amas.server.problems import Problem, of_error, problem, problem_response
from amas.settings import ServerSettings

SESSIONS = "/api/remote/sessions"
"""Agents elsewhere register here, with a token for nothing else; what is below asks for the session's own token itself."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
BODY_BYTES_MAX = 32 << 20
"""The largest batch: 1000 tasks rarely reach it, and a control plane holds a few such bodies at once."""
HEADER_BYTES_MAX = 32 << 10
"""All headers together; nobody's key, cookie or trace comes near."""
WAITED_S = 1.0
"""A read that took longer has waited for something: whose it is may have changed meanwhile."""
TOKEN_NEEDED = problem(401, "token_needed", "send an API key or the fleet's token as `Authorization: Bearer <AMAS_TOKEN>`")
TOKEN_UNKNOWN = problem(
    401, "token_needed", "the key or token that was sent opens nothing: it is mistyped, expired or revoked, or another fleet's"
)
"""For who did send one: asking for it again would send people looking in the wrong place."""
NOBODY = Caller(name="", role="agent", kind="")  # type: ignore[arg-type]
"""On requests for what is open to anybody."""

NAMES_MAX = 64
"""Host names that are remembered as they were sent: a fleet is called by a few."""


@lru_cache(NAMES_MAX)
def _host_name(address: str) -> str:
    try:
        name = urlsplit(f"//{address}").hostname if address else ""
    except ValueError:
        return ""
    return (name or "").lower()


class Guard:
    """Refuses what may not come in; hands the rest on, and notes what was changed."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, *, identity: Identity, audit: AuditLog) -> None:
        self._app, self._identity, self._audit = app, identity, audit
        self._names = {*LOOPBACK_NAMES, settings.host.lower()} if settings.loopback else None

    async def __call__(  # noqa: D102  ASGI's own
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, rule = fields_of(scope), rule_for(scope["method"], scope["path"])
        try:
            refusal = _too_large(scope, headers) or self._stranger(headers)
            caller = NOBODY if refusal else await self._caller(headers, rule)
            refusal = refusal or self._forbidden(caller, headers, rule)
            if rule.audited and refusal is None:
                await asyncio.to_thread(self._audit.check)
        except AmasError as error:
            caller, refusal = None, of_error(error)
        scope.setdefault("state", {}).update(caller=caller or NOBODY, rule=rule)
        if rule.audited:
            send = Noted(send, self._audit, rule, scope)
        if refusal is not None:
            extra = {"www-authenticate": "Bearer"} if refusal.status == 401 else None
            await problem_response(refusal, extra)(scope, receive, send)
            return
        let_in = LetIn(receive, send, scope, self._identity, reads=rule.method == "GET" or rule.right == "look")
        try:
            await self._app(scope, let_in.receive, let_in.send)
        except BodyTooLarge:
            if not let_in.begun:
                await problem_response(TOO_LARGE)(scope, receive, send)
        except KeyGone:
            if let_in.begun:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await problem_response(TOKEN_NEEDED, {"www-authenticate": "Bearer"})(scope, receive, send)

    def _stranger(self, headers: Fields) -> Problem | None:
        """Return why a request isn't for this server, or comes from a page that isn't its own."""
        if self._names is not None:
            if _host_name(headers.get("host", "")) not in self._names:
                return problem(421, "host_refused", "this server answers to localhost only; the Host header names something else")
            origin = headers.get("origin", "")
            if origin and _host_name(origin.partition("://")[2]) not in self._names:
                return FOREIGN
        return None

    async def _caller(self, headers: Fields, rule: Rule) -> Caller | None:
        """Return who calls, as far as the route wants to know; None for one who must show more."""
        if rule.right in ("open", "session"):
            return NOBODY
        found = await self._identity.of(headers, rule)
        return NOBODY if found is None and rule.right == "greet" else found

    def _forbidden(self, caller: Caller | None, headers: Fields, rule: Rule) -> Problem | None:
        if caller is None:
            return TOKEN_UNKNOWN if headers.get("authorization") else TOKEN_NEEDED
        if caller is NOBODY:
            signs_in = rule.right == "greet" and rule.method != "GET"
            return FOREIGN if signs_in and _from_elsewhere(headers) else None
        if rule.method != "GET" and cookie(headers) and _from_elsewhere(headers):
            return FOREIGN
        if not caller.may(rule, MAY[rule.right]):
            bound = f" of tenant {caller.tenant}" if caller.tenant else ""
            what = f"{caller.name!r} ({caller.role}{bound}) may not {rule.method} {rule.path}"
            return problem(403, "role_insufficient", f"{what}: ask a system administrator for a key that may")
        return None


def _too_large(scope: Scope, headers: Fields) -> Problem | None:
    if sum([len(name) + len(value) for name, value in scope["headers"]]) > HEADER_BYTES_MAX:
        return problem(431, "headers_too_large", f"the headers are larger than {HEADER_BYTES_MAX >> 10} KiB together")
    size = headers.get("content-length", "")
    return TOO_LARGE if size.isdigit() and int(size) > BODY_BYTES_MAX else None


def _from_elsewhere(headers: Fields) -> bool:
    """Return whether a browser says that a page of another server makes this request."""
    origin = headers.get("origin", "")
    if origin:
        return origin.partition("://")[2].lower() != headers.get("host", "").lower()
    return headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


FOREIGN = problem(403, "origin_refused", "a web page of another origin may not use this server")
TOO_LARGE = problem(413, "body_too_large", f"the body is larger than {BODY_BYTES_MAX >> 20} MiB: send fewer tasks at a time")


class Noted:
    """Sends an answer once the audit has the line that says so; what somebody unknown tried is none of its business."""

    def __init__(self, send: Send, audit: AuditLog, rule: Rule, scope: Scope) -> None:
        self._send, self._audit, self._rule, self._scope = send, audit, rule, scope

    async def __call__(self, message: Message) -> None:  # noqa: D102  ASGI's own
        caller, rule = self._scope["state"]["caller"], self._rule  # a sign-in says only now who it is
        if message["type"] == "http.response.start" and caller.name:
            act = Act(
                who=caller.name,
                kind=caller.kind,
                role=caller.role,
                tenant=caller.tenant,
                act=f"{rule.method} {rule.path}",
                on=_made(message) or f"{self._scope['path']} {self._scope['state'].get('named', '')}".rstrip(),
                outcome=message["status"],
            )
            try:
                await asyncio.to_thread(self._audit.write, act)
            except AuditError as error:  # it is done; who comes next is refused before
                process_log().error("an act has no line in the audit", event=events.AUDIT_FAILED, reason=str(error), act=act.act)
        await self._send(message)


def _made(message: Message) -> str:
    """Return the address of what a request has made, such as a key's; empty where it made nothing that has one."""
    return Headers(raw=message["headers"]).get("location", "") if message["status"] == 201 else ""


class KeyGone(Exception):
    """What opened a stream, or waited for an answer, opens nothing any more."""


class BodyTooLarge(Exception):
    """A body of unknown length turned out too long while it was read."""


class LetIn:
    """A request on its way through: its body is counted as it comes in, its answer sent while its caller may have it.

    A stream ends with the key that opened it, at its next word, and so does a long poll. What was changed is answered as it was
    done, however long that took.
    """

    def __init__(self, receive: Receive, send: Send, scope: Scope, identity: Identity, *, reads: bool) -> None:
        """`reads`: whether nothing was changed."""
        self._receive, self._send, self._scope, self._identity, self._reads = receive, send, scope, identity, reads
        self._asked_s, self._seen = monotonic_s(), 0
        self.begun = False
        """Whether the answer is."""

    async def receive(self) -> Message:
        """Return what comes in; BodyTooLarge where that is too much. ASGI's own, as is `send`."""
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > BODY_BYTES_MAX:
            raise BodyTooLarge
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer; KeyGone where its caller may have no more of it."""
        late = self._reads and not self.begun and monotonic_s() - self._asked_s > WAITED_S
        if (late or message.get("more_body")) and not await self._identity.holds(self._scope["state"]["caller"]):
            raise KeyGone
        self.begun = True
        await self._send(message)
