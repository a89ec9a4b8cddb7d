"""Tools that are Python functions, called in the host: async ones on its loop, others in a thread.

A thread can't be ended: a function that takes longer than its time-out fails, and goes on until it returns.
"""

import asyncio
import importlib
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from amas.agents.threads import DaemonThreads
from amas.agents.tools.base import Use, bounded
from amas.agents.tools.parameters import of_function
from amas.errors import AmasError, FleetError, ToolFailed
from amas.model.task import Json
from amas.model.tools import ToolCard, ToolSpec

THREADS = 4
"""Of one tool: functions that hang take those of no other."""


class PythonTool:
    """One function."""

    def __init__(self, name: str, spec: ToolSpec) -> None:
        """Import it; FleetError says why that can't be, or why nobody could call it."""
        function = load_function(spec.python)
        self._name, self._function = name, function
        try:
            self._parameters = of_function(name, function)
        except FleetError as error:
            raise FleetError(f"the function {spec.python!r} can't be a tool: {error}") from error
        about = spec.about or (inspect.getdoc(function) or "").partition("\n")[0]
        self._card = ToolCard(name=name, kind="python", about=about, parameters=self._parameters.schema)
        self._threads = DaemonThreads(THREADS, name=f"tool-{name}")

    async def cards(self) -> Sequence[ToolCard]:
        """Return its signature."""
        return (self._card,)

    async def check(self, tool: str, arguments: dict[str, Json]) -> None:
        """Compare them with its signature."""
        self._parameters.typed(arguments)

    async def run(self, use: Use) -> Json:
        """Call it."""
        call = partial(self._function, **self._parameters.typed(use.arguments))
        try:
            if inspect.iscoroutinefunction(self._function):
                result = await call()
            else:
                result = await asyncio.wrap_future(self._threads.submit(call))
        except AmasError as error:
            raise ToolFailed(f"the tool {self._name} failed: {error}", tool=self._name) from error
        except Exception as error:  # the function may raise anything
            why = f"{type(error).__name__}: {error}"
            raise ToolFailed(f"the tool {self._name} failed: {why}", tool=self._name) from error
        return bounded(self._name, result, use.result_bytes_max)

    async def close(self) -> None:
        """Let its idle threads end."""
        self._threads.shutdown()


def load_function(path: str) -> Callable[..., Any]:
    """Import `module:function`; FleetError where that can't be done."""
    module, _, attribute = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise FleetError(f"{path!r} must be module:function and importable: {error}") from error
    except Exception as error:  # a module's author may raise anything while it is imported
        raise FleetError(f"importing {path!r} failed: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise FleetError(f"{path!r} is no function")
    found: Callable[..., Any] = function
    return found
