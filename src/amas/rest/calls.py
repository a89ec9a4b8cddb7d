"""One declaration of each operation for both clients: what is sent, what comes back, and how it is called.

An `Operation` stands in a part (`operations.py`). A part of the sync client gives it as a function that returns the answer, one
of the async client as a function whose answer is awaited; both take what the body, or the query, is made of. Nothing is sent.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, Generic, Never, ParamSpec, Protocol, TypeVar, overload
from urllib.parse import quote

import msgspec

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Query = Mapping[str, Any]


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One request and what its answer is read as."""

    method: str
    path: str
    answer: type[T]
    """`bytes` for a file, as it is; `NoneType` for nothing."""
    query: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes | None = None
    kind: str = "application/json"
    """The body's media type."""


class Sends(Protocol):
    """A client that waits for its answers."""

    def send(self, call: Call[T]) -> T:
        """Return the answer."""
        ...


class SendsLater(Protocol):
    """A client whose answers are awaited."""

    async def send(self, call: Call[T]) -> T:
        """Return the answer."""
        ...


class Part:
    """Operations that belong together, of a sync client."""

    def __init__(self, client: Sends) -> None:
        self._client = client

    def _send(self, call: Call[T]) -> T:
        return self._client.send(call)


class AsyncPart:
    """The same, of an async client."""

    def __init__(self, client: SendsLater) -> None:
        self._client = client

    def _send(self, call: Call[T]) -> Awaitable[T]:
        return self._client.send(call)


class Operation(Generic[P, T]):
    """An operation of the API."""

    def __init__(
        self, method: str, path: str, answer: type[T], make: Callable[P, Call[T]], *, given: Callable[..., object]
    ) -> None:
        """`make`: what makes a call; `given`: what makes its body or query."""
        self.method, self.path, self.answer, self.given, self._make = method, path, answer, given, make

    @overload
    def __get__(self, part: None, owner: type) -> "Operation[P, T]": ...
    @overload
    def __get__(self, part: Part, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, part: AsyncPart, owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, part: object, owner: type) -> Callable[P, Never]: ...
    def __get__(self, part: Any, owner: type) -> Any:
        if part is None:
            return self
        return lambda *given, **named: part._send(self._make(*given, **named))


def operation(method: str, path: str, answer: type[T], given: Callable[P, object]) -> Operation[P, T]:
    """Return an operation without a name in its path.

    `given` makes the body (a struct, a list or a file's bytes) or the query (a dict).
    """

    def make(*args: P.args, **kwargs: P.kwargs) -> Call[T]:
        return _call(method, path, answer, given(*args, **kwargs))

    return Operation(method, path, answer, make, given=given)


def about(method: str, path: str, answer: type[T], given: Callable[P, object]) -> Operation[Concatenate[str, P], T]:
    """Return an operation whose path names one thing."""

    def make(name: str, *args: P.args, **kwargs: P.kwargs) -> Call[T]:
        return _call(method, _filled(path, name), answer, given(*args, **kwargs))

    return Operation(method, path, answer, make, given=given)


def about_two(method: str, path: str, answer: type[T], given: Callable[P, object]) -> Operation[Concatenate[str, str, P], T]:
    """Return an operation whose path names two things."""

    def make(first: str, second: str, *args: P.args, **kwargs: P.kwargs) -> Call[T]:
        return _call(method, _filled(path, first, second), answer, given(*args, **kwargs))

    return Operation(method, path, answer, make, given=given)


def _filled(path: str, *names: str) -> str:
    left = iter(names)
    return "/".join(quote(next(left), safe="") if part.startswith("{") else part for part in path.split("/"))


def _call(method: str, path: str, answer: type[T], given: object) -> Call[T]:
    if isinstance(given, dict):
        query = {name: _text(value) for name, value in given.items() if value not in (None, "")}
        return Call(method, path, answer, query)
    if given is None or isinstance(given, bytes):
        return Call(method, path, answer, {}, given, "application/octet-stream")
    return Call(method, path, answer, {}, msgspec.json.encode(given))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
