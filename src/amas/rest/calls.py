"""One declaration of each operation for both clients: what is sent, what comes back, and how it is called.

An `Operation` stands in a part (`operations.py`), which a client has: a sync client's is a function that returns the answer, an
async client's one whose answer is awaited. Both take what the body, or the query, is made of. Nothing is sent here.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Protocol, Self, TypeVar, overload
from urllib.parse import quote

import msgspec

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


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
    if_match: str = ""
    """The `ETag` of what must be as it was; empty: it doesn't matter."""


class Tagged(NamedTuple, Generic[T]):
    """An answer with what names it as it was."""

    value: T
    etag: str


class Sends(Protocol):
    """A client that waits for its answers."""

    def send(self, call: Call[T]) -> T:
        """Return the answer."""
        ...

    def send_tagged(self, call: Call[T]) -> Tagged[T]:
        """Return the answer with its `ETag`."""
        ...


class SendsLater(Protocol):
    """A client whose answers are awaited."""

    async def send(self, call: Call[T]) -> T:
        """Return the answer."""
        ...

    async def send_tagged(self, call: Call[T]) -> Tagged[T]:
        """Return the answer with its `ETag`."""
        ...


class Part(Generic[C]):
    """Operations that belong together, as one client has them."""

    def __init__(self, client: C) -> None:
        self._client = client


class Asked(Generic[P, A, B]):
    """An operation of one client. `A` is its answer and `B` the answer with its `ETag`; an async client's are awaited."""

    def __init__(self, operation: "Operation[P, Any]", client: Any, if_match: str = "") -> None:
        self._operation, self._client, self._if_match = operation, client, if_match

    def __call__(self, *given: P.args, **named: P.kwargs) -> A:
        """Return the answer."""
        answer: A = self._client.send(self._call(*given, **named))
        return answer

    def tagged(self, *given: P.args, **named: P.kwargs) -> B:
        """Return the answer with its `ETag`, for `matching`."""
        answer: B = self._client.send_tagged(self._call(*given, **named))
        return answer

    def _call(self, *given: P.args, **named: P.kwargs) -> Call[Any]:
        made = self._operation.make(*given, **named)
        return msgspec.structs.replace(made, if_match=self._if_match) if self._if_match else made

    def matching(self, etag: str) -> Self:
        """Return the operation as one that raises `Conflict` (412) unless what it changes has this `ETag` still.

        `etag`: from `tagged`, or "*" for anything that is there. TypeError for an operation that can't go by one, or none given.
        """
        if not (self._operation.matches and etag):
            why = "no ETag was given" if self._operation.matches else "it doesn't go by an ETag"
            raise TypeError(f"{self._operation.method} {self._operation.path}: {why}")
        return type(self)(self._operation, self._client, etag)


class Operation(Generic[P, T]):
    """An operation of the API."""

    def __init__(
        self, method: str, path: str, answer: type[T], make: Callable[P, Call[T]], *, given: Callable[..., object]
    ) -> None:
        """`make`: what makes a call; `given`: what makes its body or query."""
        self.method, self.path, self.answer, self.given, self.make = method, path, answer, given, make
        self.matches = False
        """Whether it can be made to depend on what it changes being as it was."""

    @overload
    def __get__(self, part: None, owner: type) -> "Operation[P, T]": ...
    @overload
    def __get__(self, part: Part[Sends], owner: type) -> Asked[P, T, Tagged[T]]: ...
    @overload
    def __get__(self, part: Part[SendsLater], owner: type) -> Asked[P, Awaitable[T], Awaitable[Tagged[T]]]: ...
    def __get__(self, part: Any, owner: type) -> Any:
        return self if part is None else Asked(self, part._client)


def matched(made: Operation[P, T]) -> Operation[P, T]:
    """Return an operation as one that takes `If-Match`."""
    made.matches = True
    return made


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
