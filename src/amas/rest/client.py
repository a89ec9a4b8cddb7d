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
from uuid import uuid4

import httpx
import msgspec

from amas.records.views import EventRecord
from amas.rest import operations as parts
from amas.rest.calls import Call
from amas.rest.problems import error_of, unreachable

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
        kind = {"Content-Type": "application/json"} if call.body is not None else {}
        self.request = {
            "method": call.method,
            "url": call.path,
            "params": call.query,
            "content": call.body,
            "headers": headers | key | kind,
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


def _read(call: Call[T], answer: httpx.Response) -> T:
    if answer.status_code >= 400:
        raise error_of(answer.status_code, answer.content)
    return msgspec.json.decode(answer.content, type=call.answer)


class Events:
    """Takes lines of a stream and gives its events."""

    def __init__(self, after: str) -> None:
        self.last, self.over = after, False
        self._kind, self._data = "", list[str]()

    def take(self, line: str) -> Followed | None:
        """Return the event that a line ends, None for any other line; `over` is set by the last."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            self.last = value
        elif name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif not line:
            kind, data = self._kind, "\n".join(self._data)
            self._kind, self._data = "", []
            self.over = self.over or kind == "end"
            if kind == "change":
                return Followed(self.last, msgspec.json.decode(data, type=EventRecord))
        return None


def _stream(workflow_id: str, last: str) -> tuple[str, dict[str, str]]:
    path = f"/api/workflows/{workflow_id}/events" if workflow_id else "/api/events"
    return path, {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}


def _headers(token: str) -> dict[str, str]:
    return {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}


_TIMES = httpx.Timeout(ANSWER_S, connect=CONNECT_S)


class Client:
    """A client that waits for its answers; close it, or use it in a `with`."""

    def __init__(self, url: str, *, token: str = "", patience_s: float = PATIENCE_S, **options: Any) -> None:
        """`token`: an API key or the fleet's. `patience_s`: how long a request is tried. `options`: httpx's own, as `verify`."""
        self._url, self._patience_s, self._headers = url, patience_s, _headers(token)
        self._http = httpx.Client(base_url=url, timeout=_TIMES, **options)
        self.tasks, self.workflows, self.schedules = parts.Tasks(self), parts.Workflows(self), parts.Schedules(self)
        self.webhooks, self.agents, self.fleet = parts.Webhooks(self), parts.Agents(self), parts.Fleet(self)
        self.healing, self.alerts = parts.Healing(self), parts.Alerts(self)
        self.messages, self.access = parts.Messages(self), parts.Access(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """Send a request until it is answered; a `RestError` says what was refused."""
        tries = Tries(call, self._headers, self._patience_s)
        while True:
            answer, error = None, None
            try:
                answer = self._http.request(**tries.request)  # type: ignore[arg-type]
            except httpx.TransportError as raised:
                error = raised
            pause = tries.pause(answer)
            if pause is not None:
                time.sleep(pause)
            elif answer is None:
                raise unreachable(error or OSError(), url=self._url) from error
            else:
                return _read(call, answer)

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
        events = Events(after)
        while not events.over:
            path, headers = _stream(workflow_id, events.last)
            with suppress(httpx.TransportError), self._http.stream("GET", path, headers=self._headers | headers) as answer:
                if answer.status_code == 204:
                    return
                if answer.status_code >= 400:
                    raise error_of(answer.status_code, answer.read())
                for line in answer.iter_lines():
                    if (found := events.take(line)) is not None:
                        yield found
            if not events.over:
                time.sleep(PAUSE_MIN_S)


class AsyncClient:
    """A client whose answers are awaited; close it, or use it in an `async with`."""

    def __init__(self, url: str, *, token: str = "", patience_s: float = PATIENCE_S, **options: Any) -> None:
        """See `Client`."""
        self._url, self._patience_s, self._headers = url, patience_s, _headers(token)
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMES, **options)
        self.tasks, self.workflows = parts.AsyncTasks(self), parts.AsyncWorkflows(self)
        self.schedules, self.webhooks = parts.AsyncSchedules(self), parts.AsyncWebhooks(self)
        self.agents, self.fleet = parts.AsyncAgents(self), parts.AsyncFleet(self)
        self.healing, self.alerts = parts.AsyncHealing(self), parts.AsyncAlerts(self)
        self.messages, self.access = parts.AsyncMessages(self), parts.AsyncAccess(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send a request until it is answered; a `RestError` says what was refused."""
        tries = Tries(call, self._headers, self._patience_s)
        while True:
            answer, error = None, None
            try:
                answer = await self._http.request(**tries.request)  # type: ignore[arg-type]
            except httpx.TransportError as raised:
                error = raised
            pause = tries.pause(answer)
            if pause is not None:
                await asyncio.sleep(pause)
            elif answer is None:
                raise unreachable(error or OSError(), url=self._url) from error
            else:
                return _read(call, answer)

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
        events = Events(after)
        while not events.over:
            path, headers = _stream(workflow_id, events.last)
            with suppress(httpx.TransportError):
                async with self._http.stream("GET", path, headers=self._headers | headers) as answer:
                    if answer.status_code == 204:
                        return
                    if answer.status_code >= 400:
                        raise error_of(answer.status_code, await answer.aread())
                    async for line in answer.aiter_lines():
                        if (found := events.take(line)) is not None:
                            yield found
            if not events.over:
                await asyncio.sleep(PAUSE_MIN_S)
