"""Reads that pages, scripts and pollers repeat, past the framework: what is plainly right goes straight to its route's function.

FastAPI finds a route by trying them one after the other, twice, and works out what its function takes with a stack of contexts:
several times what such a read needs itself. Its routes stay the only declaration: what one takes is read from its signature here,
once. Whatever isn't plainly right by that (an unknown or repeated word, a number out of bounds, a kind of value that isn't known
here) is left to the framework. So nothing is refused here but what isn't a tenant's to see, as the framework's `owned` does: no
answer differs. Innermost of all middleware: who calls, and what is kept, was settled before.
"""

import math
import operator
import re
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

from fastapi import params
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from amas.errors import AmasError
from amas.server.identity import Caller
from amas.server.plane import ControlPlane
from amas.server.problems import Refusal, answer_to
from amas.server.tenancy import check_owned

READS = frozenset(
    {
        "/api/agents",
        "/api/agents/{agent_id}",
        "/api/analytics",
        "/api/costs",
        "/api/health",
        "/api/metrics",
        "/api/pools",
        "/api/tasks",
        "/api/tasks/{task_id}",
        "/api/workflows",
        "/api/workflows/{workflow_id}",
    }
)
SAY_WHOSE = frozenset({"/api/tasks/{task_id}"})
"""Of them: their functions look themselves at whose what they have found is. One call of the engine less for each."""
_PLAIN = {int: re.compile(r"[0-9]{1,15}"), float: re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")}
_COMPARED = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt}

Reader = Callable[[str], object]
"""Returns the value that a text stands for; ValueError for one that isn't plainly right."""


class Read:
    """One route, and how to call its function."""

    def __init__(self, route: APIRoute) -> None:
        assert not route.dependencies, f"{route.path}: what it depends on besides would be passed over"
        self.route = route
        self._endpoint: Callable[..., Awaitable[Response]] = route.endpoint
        self._plane = self._caller = self._named = ""
        self._place = next((at for at, part in enumerate(route.path.split("/")) if part.startswith("{")), 0)
        self._readers: dict[str, Reader] = {}
        for name, hint in get_type_hints(route.endpoint, include_extras=True).items():
            if name != "return":
                self._take(name, hint)

    def _take(self, name: str, hint: Any) -> None:
        kind, *said = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if kind is ControlPlane:
            self._plane = name
        elif kind is Caller:
            self._caller = name
        else:
            (field,) = said
            assert isinstance(field, params.Path | params.Query), f"{self.route.path}: where is {name}?"
            self._readers[name] = _reader(kind, field)
            if isinstance(field, params.Path):
                self._named = name

    def arguments(self, plane: ControlPlane, scope: Scope) -> dict[str, Any] | None:
        """Return what its function is to be called with; None where that is for the framework to find out, or to refuse."""
        caller: Caller = scope["state"]["caller"]
        found: dict[str, Any] = {}
        try:
            if self._named:
                found[self._named] = self._readers[self._named](scope["path"].split("/")[self._place])
            if scope["query_string"]:
                for name, value in parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True):
                    if name in found:
                        return None
                    found[name] = self._readers[name](value)
        except (KeyError, ValueError):
            return None
        if self._plane:
            found[self._plane] = plane
        if self._caller:
            found[self._caller] = caller
        return found

    async def answer(self, arguments: dict[str, Any], plane: ControlPlane, scope: Scope) -> Response:
        """Return what its function answers, or the problem that it met."""
        caller: Caller = scope["state"]["caller"]
        try:
            if caller.tenant and self._named and self.route.path not in SAY_WHOSE:
                await check_owned(plane, caller, scope["path"], {self._named: arguments[self._named]})
            return await self._endpoint(**arguments)
        except (AmasError, Refusal) as error:
            return answer_to(error)


class Quick:
    """Around the framework: answers these reads by their functions."""

    def __init__(self, app: ASGIApp, plane: ControlPlane, reads: Iterable[Read]) -> None:
        self._app, self._plane = app, plane
        self._reads = {read.route.path: read for read in reads}

    async def __call__(  # noqa: D102  ASGI's own
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            read = self._reads.get(scope["state"]["rule"].path)
            arguments = read.arguments(self._plane, scope) if read is not None else None
            if read is not None and arguments is not None:
                scope["route"] = read.route
                await (await read.answer(arguments, self._plane, scope))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def quick_reads(routes: Iterable[object]) -> list[Read]:
    """Return the reads of `READS` among an application's routes."""
    return [
        Read(route) for route in routes if isinstance(route, APIRoute) and route.path in READS and "GET" in (route.methods or ())
    ]


def _reader(kind: Any, field: params.Param) -> Reader:
    """Return what reads values of one kind, as FastAPI's field limits them."""
    if get_origin(kind) in (Union, UnionType):  # a word that is left out isn't read
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    words = (*_COMPARED, "max_length")
    limits = {word: getattr(limit, word) for limit in field.metadata for word in words if hasattr(limit, word)}
    if len(limits) != len(field.metadata):
        return _unknown
    if kind is str:
        return _text(limits.get("max_length", math.inf))
    if kind in (int, float):
        return _number(kind, [(_COMPARED[name], bound) for name, bound in limits.items()])
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _one_of(frozenset(get_args(kind))) if get_origin(kind) is Literal else _unknown


def _text(length_max: float) -> Reader:
    def read(said: str) -> str:
        if len(said) > length_max:
            raise ValueError
        return said

    return read


def _number(kind: type[int] | type[float], bounds: list[tuple[Callable[[float, float], bool], float]]) -> Reader:
    def read(said: str) -> float:
        if not _PLAIN[kind].fullmatch(said):
            raise ValueError
        value = kind(said)
        if not all(holds(value, bound) for holds, bound in bounds):
            raise ValueError
        return value

    return read


def _one_of(words: frozenset[str]) -> Reader:
    def read(said: str) -> str:
        if said not in words:
            raise ValueError
        return said

    return read


def _unknown(_: str) -> object:
    raise ValueError
