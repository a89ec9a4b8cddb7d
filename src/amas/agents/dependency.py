"""`async with ctx.dependency("payments-api"):` what an agent needs that isn't the fleet's own, behind a breaker of all hosts.

While the breaker is open, entering raises `DependencyDown`, which delays the task until the dependency is tried again and costs
it no retry. What the block raises is what the breaker is told (`core/breaker.py`). In plain functions it is `with`.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from amas.agents.mail import Waits
from amas.core.breaker import Outcome, outcome_of, why_of
from amas.errors import DependencyDown


class Uses(Protocol):
    """What carries it out: an attempt's context."""

    async def enter_dependency(self, name: str) -> tuple[str, float]:
        """Ask; return what the use is called, and the seconds until it may be asked again, 0 for go."""
        ...

    async def leave_dependency(self, name: str, token: str, outcome: Outcome, why: str) -> None:
        """Say how it went."""


class Dependency:
    """One use of it, in async code."""

    __slots__ = ("_judge", "_name", "_token", "_uses")

    def __init__(self, uses: Uses, name: str, *, judge: Callable[[BaseException | None], Outcome] = outcome_of) -> None:
        """`judge`: what the block's end says of the dependency."""
        self._uses, self._name, self._token, self._judge = uses, name, "", judge

    async def __aenter__(self) -> Self:
        self._token, wait_s = await self._uses.enter_dependency(self._name)
        if wait_s:
            raise DependencyDown(self._name, wait_s)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._token:
            await self._uses.leave_dependency(self._name, self._token, self._judge(error), why_of(error))


class SyncDependency:
    """One use of it, in a plain function."""

    __slots__ = ("_call", "_dependency")

    def __init__(self, dependency: Dependency, call: Waits) -> None:
        self._dependency, self._call = dependency, call

    def __enter__(self) -> Self:
        self._call(self._dependency.__aenter__())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._call(self._dependency.__aexit__(kind, error, trace))
