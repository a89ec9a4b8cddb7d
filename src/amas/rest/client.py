"""The two clients: how operations are sent, tried again, paged and followed. What there is to call stands in `operations.py`.

A request is tried again when nobody answered, when there is no room (429) and while the fleet can't (503), after what
`Retry-After` says or growing pauses with jitter, for as long as `patience_s`. That is safe: every POST carries an
`Idempotency-Key` of its own, so what is sent twice is done once. Decisions are in `Tries` and `Events`, for both clients; only
sending and sleeping is each one's own.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, ParamSpec, Protocol, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec

from amas.records.views import EventRecord
from amas.rest.calls import Call, Sends, SendsLater, Tagged
from amas.rest.operations import Parts
from amas.rest.problems import Problem, RestError, Unreachable, error_of, unreachable

PATIENCE_S = 30.0
CONNECT_S, ANSWER_S = 10.0, 60.0
"""A long poll takes 30 s, and what it waits for may come late."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.2, 10.0
AGAIN = frozenset({429, 503})

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class PageOf(Protocol[T_co]):
    """A page of a list."""

    @property
    def items(self) -> Sequence[T_co]:
        """What is on it."""
        ...

    @property
    def next(self) -> str | None:
        """The cursor of the next one."""
        ...


class Followed(NamedTuple):
    """One event of a stream."""

    id: str
    """Go on after it with `after`."""
    event: EventRecord


class Tries:
    """One request with all its tries."""

    def __init__(self, call: Call[T], headers: dict[str, str], patience_s: float) -> None:
        self._give_up_at, self._tries = time.monotonic() + patience_s, 0
        key = {"Idempotency-Key": uuid4().hex} if call.method == "POST" else {}
        kind = {"Content-Type": call.kind} if call.body is not None else {}
        self.request: dict[str, Any] = {
            "method": call.method,
            "url": call.path,
            "params": call.query,
            "content": call.body,
            "headers": headers | key | kind | ({"If-Match": call.if_match} if call.if_match else {}),
        }

    def pause(self, answer: httpx.Response | None) -> float | None:
        """Return the seconds until the next try; None when the answer is the last word. `answer`: None where nobody answered."""
        if answer is not None and answer.status_code not in AGAIN and not _under_way(answer):
            return None
        self._tries += 1
        asked = 0.0
        with suppress(ValueError):
            asked = float(answer.headers.get("retry-after", "0")) if answer is not None else 0.0
        grown = min(PAUSE_MIN_S * 2.0 ** min(self._tries, 10), PAUSE_MAX_S) * random.uniform(0.5, 1.0)  # noqa: S311  jitter
        pause = max(asked, grown)
        return pause if time.monotonic() + pause < self._give_up_at else None


def _under_way(answer: httpx.Response) -> bool:
    return answer.status_code == 409 and b"request_under_way" in answer.content


def _broken(error: httpx.TransportError) -> httpx.TransportError:
    """Return an error that may pass; raise Unreachable for one that won't, without what can't be sent: it may be the token."""
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        said = "the address or the token" if isinstance(error, httpx.LocalProtocolError) else "the address"
        why = f"{said} can't be sent over HTTP: an address begins with http:// or https://, a token is one line"
        raise Unreachable(0, Problem(code="unreachable", detail=why)) from None
    return error


def _read(call: Call[T], answer: httpx.Response) -> T:
    if answer.status_code >= 400:
        raise error_of(answer.status_code, answer.content)
    if call.answer is bytes:
        return answer.content  # type: ignore[return-value]  # which is what T is here
    try:
        return msgspec.json.decode(answer.content or b"null", type=call.answer)
    except msgspec.MsgspecError as error:  # a proxy's page, or a fleet of another version
        why = f"the answer ({answer.status_code}) to {call.method} {call.path} isn't what the API says: {error}"
        raise RestError(answer.status_code, Problem(code="unreadable", detail=why)) from error


class Events:
    """Takes the bytes of a stream and gives its events; what broke off in the middle of an event comes again.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(self, workflow_id: str, after: str, headers: dict[str, str], patience_s: float) -> None:
        self._path = f"/api/workflows/{quote(workflow_id, safe='')}/events" if workflow_id else "/api/events"
        self._headers, self._patience_s = headers | {"Accept": "text/event-stream"}, patience_s
        self._last, self.over = after, False
        """The id of the last event that was given, and whether there are no more."""
        self._tries: Tries | None = None
        """Since the stream broke off."""

    def request(self) -> dict[str, Any]:
        """Return the request that goes on where the last event was."""
        self._rest, self._id, self._kind, self._data = b"", self._last, b"", list[bytes]()
        after = {"Last-Event-ID": self._last} if self._last else {}
        return {"method": "GET", "url": self._path, "headers": self._headers | after}

    def pause(self, answer: httpx.Response | None, error: httpx.TransportError | None, *, url: str) -> float:
        """Return the seconds until the stream is asked for again; a `RestError` where it says no, or stays away too long."""
        if self._tries is None:
            self._tries = Tries(Call("GET", self._path, EventRecord), {}, self._patience_s)
        refusal = answer if answer is not None and answer.status_code >= 400 else None
        pause = self._tries.pause(refusal)
        if pause is not None:
            return pause
        if refusal is not None:
            raise error_of(refusal.status_code, refusal.content)
        raise unreachable(error or OSError("it ends the stream each time"), url=url) from error

    def take(self, piece: bytes) -> Iterator[Followed]:
        """Yield the events that a piece of the stream ends; `over` is set by the last."""
        self._tries = None  # it is there
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            yield from self._line(line.removesuffix(b"\r"))

    def _line(self, line: bytes) -> Iterator[Followed]:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id":
            self._id = value.decode()
        elif name == b"event":
            self._kind = value
        elif name == b"data":
            self._data.append(value)
        elif not line:
            kind, data = self._kind, b"\n".join(self._data)
            self._kind, self._data, self._last = b"", [], self._id
            self.over = self.over or kind == b"end"
            if kind == b"change":
                yield Followed(self._last, msgspec.json.decode(data, type=EventRecord))


def _headers(token: str) -> dict[str, str]:
    return {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}


_TIMES = httpx.Timeout(ANSWER_S, connect=CONNECT_S)


class Client(Parts[Sends]):
    """A client that waits for its answers; close it, or use it in a `with`."""

    def __init__(self, url: str, *, token: str = "", patience_s: float = PATIENCE_S, **options: Any) -> None:
        """`token`: an API key or the fleet's. `patience_s`: how long a request is tried. `options`: httpx's own, as `verify`."""
        super().__init__(self)
        self._url, self._patience_s, self._headers = url, patience_s, _headers(token)
        self._http = httpx.Client(base_url=url, **{"timeout": _TIMES, **options})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """Send a request until it is answered; a `RestError` says what was refused."""
        return _read(call, self._answer(call))

    def send_tagged(self, call: Call[T]) -> Tagged[T]:
        """Send a request until it is answered, and return the answer with its `ETag`."""
        answer = self._answer(call)
        return Tagged(_read(call, answer), answer.headers.get("etag", ""))

    def _answer(self, call: Call[T]) -> httpx.Response:
        tries = Tries(call, self._headers, self._patience_s)
        while True:
            answer, error = None, None
            try:
                answer = self._http.request(**tries.request)
            except httpx.TransportError as raised:
                error = _broken(raised)
            pause = tries.pause(answer)
            if pause is not None:
                time.sleep(pause)
            elif answer is None:
                raise unreachable(error or OSError(), url=self._url) from error
            else:
                return answer

    def each(self, list_: Callable[P, PageOf[T]], *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        """Yield every item of a list, page by page: `client.each(client.tasks.list, state="failed")`."""
        named: dict[str, Any] = dict(kwargs)
        while True:
            page = list_(*args, **named)
            yield from page.items
            if page.next is None:
                return
            named["cursor"] = page.next

    def follow(self, workflow_id: str = "", *, after: str = "") -> Iterator[Followed]:
        """Yield the changes of one workflow until it has ended, or of everything; a stream that breaks is resumed."""
        events = Events(workflow_id, after, self._headers, self._patience_s)
        while not events.over:
            answer, error = None, None
            try:
                with self._http.stream(**events.request()) as answer:
                    if answer.status_code == 204:
                        return
                    if answer.status_code >= 400:
                        answer.read()
                    else:
                        for piece in answer.iter_bytes():
                            yield from events.take(piece)
            except httpx.TransportError as raised:
                error = _broken(raised)
            if not events.over:
                time.sleep(events.pause(answer, error, url=self._url))


class AsyncClient(Parts[SendsLater]):
    """A client whose answers are awaited; close it, or use it in an `async with`."""

    def __init__(self, url: str, *, token: str = "", patience_s: float = PATIENCE_S, **options: Any) -> None:
        """See `Client`."""
        super().__init__(self)
        self._url, self._patience_s, self._headers = url, patience_s, _headers(token)
        self._http = httpx.AsyncClient(base_url=url, **{"timeout": _TIMES, **options})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send a request until it is answered; a `RestError` says what was refused."""
        return _read(call, await self._answer(call))

    async def send_tagged(self, call: Call[T]) -> Tagged[T]:
        """Send a request until it is answered, and return the answer with its `ETag`."""
        answer = await self._answer(call)
        return Tagged(_read(call, answer), answer.headers.get("etag", ""))

    async def _answer(self, call: Call[T]) -> httpx.Response:
        tries = Tries(call, self._headers, self._patience_s)
        while True:
            answer, error = None, None
            try:
                answer = await self._http.request(**tries.request)
            except httpx.TransportError as raised:
                error = _broken(raised)
            pause = tries.pause(answer)
            if pause is not None:
                await asyncio.sleep(pause)
            elif answer is None:
                raise unreachable(error or OSError(), url=self._url) from error
            else:
                return answer

    async def each(self, list_: Callable[P, Awaitable[PageOf[T]]], *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        """Yield every item of a list, page by page."""
        named: dict[str, Any] = dict(kwargs)
        while True:
            page = await list_(*args, **named)
            for item in page.items:
                yield item
            if page.next is None:
                return
            named["cursor"] = page.next

    async def follow(self, workflow_id: str = "", *, after: str = "") -> AsyncIterator[Followed]:
        """Yield the changes of one workflow until it has ended, or of everything; a stream that breaks is resumed."""
        events = Events(workflow_id, after, self._headers, self._patience_s)
        while not events.over:
            answer, error = None, None
            try:
                async with self._http.stream(**events.request()) as answer:
                    if answer.status_code == 204:
                        return
                    if answer.status_code >= 400:
                        await answer.aread()
                    else:
                        async for piece in answer.aiter_bytes():
                            for found in events.take(piece):
                                yield found
            except httpx.TransportError as raised:
                error = _broken(raised)
            if not events.over:
                await asyncio.sleep(events.pause(answer, error, url=self._url))
