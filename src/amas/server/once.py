"""`Idempotency-Key`: a POST that is sent again under its key is answered as the first time, and done once.

What submits tasks, goals and flows keeps its key in the very call that stores them (`engine/queue.py`); every other POST that
makes or starts something is held here, between the Guard and the routes: begun under its key, done, its answer kept for a day.
Only what succeeded is kept: what was refused changed nothing, so its key is free. The key is held for as long as the request
runs. A control plane that dies in between leaves it after two minutes; whether the thing was done nobody knows then, and the
caller should look. Keys are each caller's own.
An answer may show a secret, so it is encrypted with the key that the caller sent, which is kept nowhere.
Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import asyncio
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amas.engine.connection import Engine
from amas.engine.once import UNDER_WAY_S, Once
from amas.errors import AmasError, EngineError
from amas.server.fields import Fields, fields_of
from amas.server.identity import Caller
from amas.server.problems import Fault, Refusal, of_error, problem, problem_response

CHARS_MAX = 200
ANSWER_BYTES_MAX = 1 << 20
"""Of an answer that is kept; no route that makes something has a larger one."""
REPLAYED = "idempotency-replayed"
HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Say the same again under the same key within a day, and the first answer comes back; nothing is done twice.",
    "schema": {"type": "string", "maxLength": CHARS_MAX},
}
BY_THEMSELVES = frozenset({"/api/tasks", "/api/tasks/batch", "/api/goals", "/api/workflows"})
"""Keep their keys themselves, in the call that stores what they submit."""
NOTHING_NEW = frozenset({"/api/tasks/outcomes", "/api/session", "/api/diagnostics/profile"})
"""Ask, or let in: nobody needs that once only."""
SESSIONS = "/api/remote/"
"""Agents elsewhere: their calls name the attempt that they are about, which makes them repeatable as they are."""
RENEW_EVERY_S = UNDER_WAY_S / 4
"""So that an engine which is away for a minute costs no key of what still runs."""
_NONCE = 12


class Kept(msgspec.Struct, frozen=True):
    """An answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


_kept = msgspec.msgpack.Decoder(Kept)


def takes_key(path: str) -> bool:
    """Return whether a POST to a path takes an `Idempotency-Key`."""
    return path.startswith("/api/") and path not in NOTHING_NEW and not path.startswith(SESSIONS)


def given(headers: Fields) -> str:
    """Return the key that a request carries, "" for none; Refusal when it is too long."""
    key = headers.get("idempotency-key", "").strip()
    if len(key) > CHARS_MAX:
        fault = Fault(detail=f"an Idempotency-Key has at most {CHARS_MAX} characters", parameter="idempotency-key")
        raise Refusal(fault)
    return key


def scoped(key: str, caller: Caller, path: str) -> str:
    """Return under what the engine keeps a caller's key: each path, tenant and caller has its own, and none is kept as it is."""
    return sha256(msgspec.json.encode([caller.tenant, caller.name, path, key])).hexdigest()


class DoneOnce:
    """Around every route: answers as the first time what is sent again under its key."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app, self._once = app, Once(engine)

    async def __call__(  # noqa: D102  ASGI's own
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or scope["method"] != "POST" or path in BY_THEMSELVES or not takes_key(path):
            await self._app(scope, receive, send)
            return
        try:
            key = given(fields_of(scope))
            if not key:
                await self._app(scope, receive, send)
                return
            await self._held(key, scope, receive, send)
        except Refusal as error:
            await problem_response(problem(error.status, error.code, str(error), errors=error.faults))(scope, receive, send)

    async def _held(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            return  # nobody is there to be answered
        digest = sha256(scope.get("query_string", b"") + b"\0" + body).hexdigest()
        name = scoped(key, scope["state"]["caller"], scope["path"])
        try:
            first = await self._once.begin(name, digest)
        except AmasError as error:
            await problem_response(of_error(error))(scope, receive, send)
            return
        if first is not None:
            await _answer(_kept.decode(_opened(key, first)), send)
            return
        answer = _Answer(send)
        try:
            async with self._renewed(name, digest):
                await self._app(scope, _again(body, receive), answer.send)
        finally:
            kept = answer.kept()
            with suppress(EngineError):  # it is answered; the key is left in two minutes
                await self._once.end(name, digest, _sealed(key, msgspec.msgpack.encode(kept)) if kept else b"")

    @asynccontextmanager
    async def _renewed(self, name: str, digest: str) -> AsyncIterator[None]:
        """Hold a key for as long as what stands under it takes."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_EVERY_S)
                with suppress(EngineError):  # the next one may get through
                    await self._once.renew(name, digest)

        renewing = asyncio.create_task(renew(), name="hold a key")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])


async def _body(receive: Receive) -> bytes | None:
    """Return a body; None for one that broke off: what came of it may look like a whole one."""
    parts = []
    while (message := await receive())["type"] != "http.disconnect":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
    return None


def _again(body: bytes, then: Receive) -> Receive:
    """Return what gives a body that was read to whoever asks next, and `then` what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await then()

    return receive


class _Answer:
    """Sends an answer on, and has it."""

    def __init__(self, send: Send) -> None:
        self._send, self._parts = send, list[bytes]()
        self._begin: Message = {"status": 0, "headers": []}
        self._whole = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begin = message
        else:
            self._parts.append(message.get("body", b""))
            self._whole = not message.get("more_body")
        await self._send(message)

    def kept(self) -> Kept | None:
        """Return what is to be kept; None for what isn't whole, failed, or is too large."""
        body, status = b"".join(self._parts), self._begin["status"]
        if not self._whole or not 200 <= status < 300 or len(body) > ANSWER_BYTES_MAX:
            return None
        return Kept(status, list(self._begin["headers"]), body)


async def _answer(kept: Kept, send: Send) -> None:
    headers: list[Any] = [*kept.headers, (REPLAYED.encode(), b"true")]
    await send({"type": "http.response.start", "status": kept.status, "headers": headers})
    await send({"type": "http.response.body", "body": kept.body})


def _cipher(key: str) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(hmac.digest(key.encode(), b"amas answer key 1", "sha256"))


def _sealed(key: str, answer: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + bytes(_cipher(key).encrypt(nonce, answer, None))


def _opened(key: str, sealed: bytes) -> bytes:
    return bytes(_cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], None))
