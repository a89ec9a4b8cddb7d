"""Answers that many ask for at once: worked out once, kept encoded for a moment, and handed to all who may have them.

What a reader gets is at most `FRESH_S` older than its request, and never from before its own last change that this control plane
has acknowledged: every request that may change something is noted under its caller's name before its answer goes out, and what
was begun before that is nothing for that caller any more. A tenant's answers are its own. One making of an answer is under way
at a time, so readers can't pile up work; errors are told to those who waited for them and aren't kept.

Who asks for an answer of three quarters of that age has it made anew and doesn't wait. So while somebody asks all the time nobody
waits for a look into the records, of which the slowest tenth would be the slowest hundredth of all reads.

An answer has an `ETag`, a digest of its bytes: who asks with `If-None-Match` for what it has already gets 304 and no body.
Source: https://www.rfc-editor.org/rfc/rfc9110#name-if-none-match
"""

import asyncio
from hashlib import blake2b
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amas.clock import monotonic_s
from amas.server.identity import Caller
from amas.server.once import NOTHING_NEW

FRESH_S = 0.2
"""Nobody sees a fifth of a second, and a hundred dashboards then cost what one does."""
AGES = 0.75
"""Of that: an answer so old is made anew for those who come later, in the twentieth of a second that is left."""
PATHS = frozenset(f"/api/{name}" for name in ("metrics", "tasks", "agents", "workflows", "pools", "health", "costs", "analytics"))
"""What pages, scripts and load balancers ask for again and again. Their answers follow from path, query and tenant alone."""
SUBMISSIONS = frozenset({"/api/tasks", "/api/tasks/batch"})
FIGURES = "/api/metrics"
"""All of `PATHS` that a submission changes at once. Lists and sums come from the history, which has new tasks a moment later in
any case; who submits all day and looks besides would have every answer made anew for nothing."""
HEADER = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of the answer that is held already.",
    "schema": {"type": "string"},
}
READS = frozenset({"GET", "HEAD", "OPTIONS"})
QUERY_BYTES_MAX = 500
"""Longer queries are nobody's habit, and would be kept for nothing."""
CALLERS_MAX = 10_000
"""Whose last change is remembered; for all others the newest of those that were forgotten stands."""

_Key = tuple[str, str, bytes]


class Changes:
    """When each caller last changed something, in turns that count every change."""

    def __init__(self) -> None:
        self.turn = 0
        self._forgotten = 0
        self._last: dict[str, int] = {}

    def note(self, name: str) -> None:
        """Note a change by the caller of this name."""
        self.turn += 1
        self._last.pop(name, None)
        self._last[name] = self.turn
        if len(self._last) > CALLERS_MAX:
            self._forgotten = self._last.pop(next(iter(self._last)))

    def last(self, name: str) -> int:
        """Return the turn of a caller's last change."""
        return self._last.get(name, self._forgotten)


class Answer:
    """One answer while it is made, and as it is kept."""

    def __init__(self, turn: int) -> None:
        self._turn, self._began_s = turn, monotonic_s()
        self._parts: list[bytes] = []
        self._whole = False
        self.made = asyncio.Event()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = self.etag = b""
        self.before: Answer | None = None
        """Until it is made: the one that it is to replace, which serves those whom it may."""
        self.route: Any = None
        """The route that made it, by which requests are counted."""

    async def send(self, message: Message) -> None:
        """Take what the application says; ASGI's own."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self._parts.append(message.get("body", b""))
            self._whole = not message.get("more_body")

    def finish(self, route: Any) -> None:
        """Make of it what all get, once the application is done or has failed."""
        self.body, self.route, self.before = b"".join(self._parts), route, None
        if self.keeps:
            self.etag = b'"%s"' % blake2b(self.body, digest_size=9).hexdigest().encode()
            self.headers += [(b"etag", self.etag), (b"cache-control", b"private, no-cache")]
        self.made.set()

    @property
    def told(self) -> bool:
        """Whether there is an answer at all: its making may have failed or been cancelled."""
        return self._whole

    @property
    def keeps(self) -> bool:
        """Whether it may be handed to those who ask later."""
        return self._whole and self.status == 200

    def serves(self, asked_s: float, after_turn: int, fresh_s: float) -> bool:
        """Return whether it is young enough for a request of that time, by a caller whose last change had that turn."""
        return self._began_s >= asked_s - fresh_s and self._turn >= after_turn

    def ages(self, asked_s: float, fresh_s: float) -> bool:
        """Return whether who asks at this time should have it made anew for those who come later."""
        return self._began_s < asked_s - fresh_s * AGES


class Shared:
    """Around the routes, within the Guard: answers reads of `PATHS` from what is kept, and has made what isn't."""

    def __init__(self, app: ASGIApp, fresh_s: float = FRESH_S) -> None:
        """`fresh_s`: how old an answer may be; 0: each is made for its reader alone."""
        self._app, self._fresh_s = app, fresh_s
        self._changes, self._but_submissions = Changes(), Changes()
        self._answers: dict[_Key, Answer] = {}
        """Made or being made."""
        self._renewing: set[asyncio.Task[Answer]] = set()

    async def __call__(  # noqa: D102  ASGI's own
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] not in READS and scope["path"] not in NOTHING_NEW:
            await self._app(scope, receive, self._noting(scope, send))
        elif scope["method"] == "GET" and scope["path"] in PATHS and len(scope["query_string"]) <= QUERY_BYTES_MAX:
            shares = self._fresh_s > 0
            await _give(await (self._answer(scope, receive) if shares else self._own(scope, receive)), scope, send)
        else:
            await self._app(scope, receive, send)

    async def _own(self, scope: Scope, receive: Receive) -> Answer:
        """Return an answer that is made for this request alone: nothing is kept here (ORCHESTRATION_ENABLE_CACHE)."""
        answer = Answer(0)
        await self._app(scope, receive, answer.send)
        answer.finish(scope.get("route"))
        return answer

    def _noting(self, scope: Scope, send: Send) -> Send:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start" and (name := scope["state"]["caller"].name):
                self._changes.note(name)
                if scope["path"] not in SUBMISSIONS:
                    self._but_submissions.note(name)
            await send(message)

        return noted

    def _of(self, path: str) -> Changes:
        """Return the changes that an answer for this path may show."""
        return self._changes if path == FIGURES else self._but_submissions

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        """Return an answer that this request may have; the first to need one makes it, the others wait."""
        caller: Caller = scope["state"]["caller"]
        key = (caller.tenant, scope["path"], scope["query_string"])
        asked_s, after_turn = monotonic_s(), self._of(scope["path"]).last(caller.name)
        while (found := self._answers.get(key)) is not None:
            if found.before is not None and found.before.serves(asked_s, after_turn, self._fresh_s):
                return found.before
            await found.made.wait()
            if found.told and found.serves(asked_s, after_turn, self._fresh_s):
                if found.ages(asked_s, self._fresh_s) and self._answers.get(key) is found:
                    self._renew(key, found, scope, receive)
                return found
            if self._answers.get(key) in (found, None):  # else another who waited makes one by now
                break
        return await self._make(key, Answer(self._of(scope["path"]).turn), scope, receive)

    def _renew(self, key: _Key, found: Answer, scope: Scope, receive: Receive) -> None:
        """Have an answer made anew while the one that there is serves; should that fail, who asks next is told."""
        answer = self._answers[key] = Answer(self._of(scope["path"]).turn)
        answer.before = found
        making = asyncio.create_task(self._make(key, answer, dict(scope), receive), name="renew an answer")
        self._renewing.add(making)
        making.add_done_callback(self._renewed)

    def _renewed(self, making: asyncio.Task[Answer]) -> None:
        self._renewing.discard(making)
        if not making.cancelled():
            making.exception()  # taken note of: asyncio would print it

    async def _make(self, key: _Key, answer: Answer, scope: Scope, receive: Receive) -> Answer:
        self._forget_old()
        self._answers[key] = answer
        try:
            await self._app(scope, receive, answer.send)
        finally:
            answer.finish(scope.get("route"))
            if not answer.keeps:
                del self._answers[key]
        return answer

    def _forget_old(self) -> None:
        now_s = monotonic_s()
        for key, answer in list(self._answers.items()):
            if answer.made.is_set() and not answer.serves(now_s, 0, self._fresh_s):
                del self._answers[key]


async def _give(answer: Answer, scope: Scope, send: Send) -> None:
    scope["route"] = answer.route
    if answer.etag and answer.etag in _asked_for(scope):
        headers = [(name, value) for name, value in answer.headers if name not in (b"content-length", b"content-type")]
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
    await send({"type": "http.response.body", "body": answer.body})


def _asked_for(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
