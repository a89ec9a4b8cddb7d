"""What every kind of tool is to the toolbox, and what one use of it gets."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from amas.errors import ToolFailed
from amas.model.task import Json
from amas.model.tools import ToolCard


class Use(NamedTuple):
    """One use of a tool that was allowed."""

    tool: str
    arguments: dict[str, Json]
    workspace: Path
    """The task's own folder."""
    timeout_s: float
    result_bytes_max: int


class Tool(Protocol):
    """One tool, or an MCP server with many."""

    async def cards(self) -> Sequence[ToolCard]:
        """Return what it can be asked for; ToolFailed where that can't be known now."""
        ...

    async def check(self, tool: str, arguments: dict[str, Json]) -> None:
        """Return where the tool takes these arguments; ToolMisused where not, ToolRefused where there is no such tool here."""
        ...

    async def run(self, use: Use) -> Json:
        """Do it and return its result as JSON; ToolFailed says what went wrong. Cancelled, it ends all that it can end."""
        ...

    async def close(self) -> None:
        """End what it keeps between uses."""
        ...


def bounded(tool: str, result: object, most: int) -> Json:
    """Return a result as JSON has it; ToolFailed where it can't be, or is larger than `most` bytes."""
    try:
        plain: Json = msgspec.to_builtins(result, str_keys=True)
        size = len(msgspec.json.encode(plain))
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise ToolFailed(f"the result of the tool {tool} is no JSON value: {error}", tool=tool) from error
    if size > most:
        raise too_large(tool, most)
    return plain


def too_large(tool: str, most: int) -> ToolFailed:
    """Return what is said of a result that is larger than `most` bytes."""
    return ToolFailed(f"the tool {tool} answered more than {most >> 10} KiB: ask it for less, or raise its result_kb", tool=tool)
