"""A2A 1.0 over JSON-RPC: one call is one POST, and what comes back, whole or as a stream, is read into the few shapes needed.

By hand and not with `a2a-sdk`: its client takes 240 ms to import, wants an HTTP client of its own, which would have to be taught
to connect to the address that was looked at and to read no more than it should, and turns all data into protobuf and back; five
methods are less than that. The SDK's server is what the tests speak to.
Source: https://a2a-protocol.org/v1.0.0/specification/, 4.1, 9 and 5.4 (errors).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from amas.agents.a2a_card import Way
from amas.agents.foreign import Foreign, judge
from amas.agents.pinned import EVENTS
from amas.agents.skills.safe_text import plain
from amas.clock import new_id
from amas.errors import GiveUp, RetryLater
from amas.model.task import Json

VERSION = "1.0"
TASK_NOT_FOUND = -32001
NOT_OFFERED = frozenset({-32601, -32004})
"""No such method, and one that isn't supported."""
PASSING = frozenset({-32603, -32000, *range(-32099, -32009)})
"""The server's own trouble, and what the protocol doesn't name of the range for servers: another attempt may help."""
WHY_CHARS = 500
EVENT_BYTES_MAX = 4 << 20
"""Of a stream's event: pieces of artifacts come by, and are passed over."""

T = TypeVar("T")


class Part(msgspec.Struct, frozen=True, rename="camel"):
    """A piece of content: one of text, bytes, an address, a JSON value."""

    text: str | None = None
    raw: bytes | None = None
    url: str | None = None
    data: Any = msgspec.UNSET
    filename: str = ""
    media_type: str = ""


class Message(msgspec.Struct, frozen=True, rename="camel"):
    """What the agent says."""

    message_id: str = ""
    parts: tuple[Part, ...] = ()


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """Where a task is."""

    state: str = ""
    message: Message | None = None


class Artifact(msgspec.Struct, frozen=True, rename="camel"):
    """Something that a task made."""

    name: str = ""
    parts: tuple[Part, ...] = ()


class ForeignTask(msgspec.Struct, frozen=True, rename="camel"):
    """A task as the foreign agent keeps it."""

    id: str
    context_id: str = ""
    status: Status = Status()
    artifacts: tuple[Artifact, ...] = ()


class Sent(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a message: a task, or a message where the agent needed none."""

    task: ForeignTask | None = None
    message: Message | None = None


class Listed(msgspec.Struct, frozen=True, rename="camel"):
    """Some of the caller's tasks."""

    tasks: tuple[ForeignTask, ...] = ()


class _StatusUpdate(msgspec.Struct, frozen=True, rename="camel"):
    status: Status = Status()


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    """What a stream says: that a task is there, or is elsewhere now. Pieces of artifacts are passed over."""

    task: ForeignTask | None = None
    status_update: _StatusUpdate | None = None


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    id: Any = None
    result: msgspec.Raw = msgspec.Raw()
    error: _Error | None = None


class RequestRefused(GiveUp):
    """The foreign agent refuses a request; `number` is JSON-RPC's."""

    def __init__(self, why: str, number: int) -> None:
        super().__init__(why, code="request_refused")
        self.number = number


class Endpoint:
    """One interface of a foreign agent."""

    def __init__(self, server: Foreign, way: Way, *, tenant: str, traceparent: str) -> None:
        """`tenant`: in place of the card's, where it isn't empty."""
        self._server, self._url, self.streams = server, way.url, way.streams
        self._always = {"tenant": said} if (said := tenant or way.tenant) else {}
        self._traced = {"traceparent": traceparent} if traceparent else {}

    async def call(self, method: str, params: Mapping[str, Json], wanted: type[T]) -> T:
        """Return what a method answers.

        RetryLater and RateLimited where it may be asked again, RequestRefused or GiveUp where that is no use.
        """
        call_id, headers, body = await self._request(method, params, accept="application/json")
        answer = await self._server.talk("POST", self._url, headers, body)
        judge(answer)
        with _readable(method):
            return _read(answer.body, call_id, wanted)

    async def watch(self, task_id: str, told: Callable[[Status], bool]) -> bool:
        """Have `told` called, in a thread, with the states of a task until it returns True; return whether it did.

        The stream may end before; raises as `call`.
        """
        call_id, headers, body = await self._request("SubscribeToTask", {"id": task_id}, accept=EVENTS)
        enough = False

        def heard(data: bytes) -> bool:
            nonlocal enough
            with _readable("SubscribeToTask"):
                event = _read(data, call_id, _Event)
            about = event.task or event.status_update
            enough = about is not None and told(about.status)
            return enough

        answer = await self._server.listen(self._url, headers, body, heard=heard, bytes_max=EVENT_BYTES_MAX)
        judge(answer)
        if answer.body:
            with _readable("SubscribeToTask"):
                _read(answer.body, call_id, _Event)  # an error, mostly
        return enough

    async def _request(self, method: str, params: Mapping[str, Json], *, accept: str) -> tuple[str, dict[str, str], bytes]:
        """Return a call's id, its headers and its body."""
        ours = {"content-type": "application/json", "accept": accept, "a2a-version": VERSION}
        call_id = new_id()
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": call_id, "method": method, "params": {**self._always, **params}})
        return call_id, {**ours, **self._traced, **await self._server.headers()}, body


@contextmanager
def _readable(method: str) -> Iterator[None]:
    """Have what can't be read told in a sentence."""
    try:
        yield
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(f"its answer to {method} isn't one of A2A 1.0: {plain(error, chars_max=200)}") from error
    except RecursionError:
        raise _unreadable(f"its answer to {method} is nested too deeply") from None


def _read(body: bytes, call_id: str, wanted: type[T]) -> T:
    envelope = msgspec.json.decode(body, type=_Envelope)
    if error := envelope.error:
        why = f"the foreign agent answered {error.code}: {plain(error.message, chars_max=WHY_CHARS)}"
        if error.code in PASSING:
            raise RetryLater(why)
        raise RequestRefused(why, error.code)
    if envelope.id != call_id:
        raise _unreadable("it answers another request than ours")
    return msgspec.json.decode(envelope.result, type=wanted)


def _unreadable(why: str) -> GiveUp:
    return GiveUp(why, code="answer_unreadable")
