"""Agents that use tools, and the functions that are theirs."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from amas import BaseAgent, Context, RetryLater, SyncContext, agent
from amas.errors import AmasError, ToolFailed, ToolMisused, ToolRefused, ToolUnsure
from amas.model.task import Json


def note(path: str, line: str, times: int = 1) -> int:
    """Write a line into a file.

    And return how long that is.
    """
    with Path(path).open("a") as file:
        file.write(f"{line}\n" * times)
    return Path(path).read_text().count("\n")


async def note_and_die(path: str) -> None:
    """Write a line, and end the host before anybody knows."""
    note(path, "begun")
    os.kill(os.getpid(), signal.SIGKILL)


async def note_and_die_not(path: str) -> int:
    return note(path, "again")


async def hang() -> None:
    await asyncio.Event().wait()


def fail(path: str) -> None:
    note(path, "failed")
    raise RuntimeError("out of order")


def huge() -> str:
    return "x" * (2 << 20)


def strange() -> object:
    return object()


def positional(*words: str) -> None:
    """Nobody can call this by name."""


async def used(task: Context, name: str, arguments: dict[str, Any]) -> Json:
    """Return what came of a use."""
    try:
        return {"result": await task.tool(name, **arguments)}
    except (ToolRefused, ToolMisused, ToolUnsure, ToolFailed) as error:
        final = getattr(error, "final", None)
        return {"error": type(error).__name__, "code": error.code, "why": str(error), "tool": error.tool, "final": final}


@agent("test.use")
async def use(task: Context) -> Json:
    """Use each tool of the input, `[name, arguments]`, and fail afterwards on the first attempt where it says `again`."""
    outcomes = [await used(task, name, arguments) for name, arguments in task.input["uses"]]
    if task.input.get("again") and task.attempt == 1:
        raise RetryLater("once more", delay_s=0.0)
    return outcomes


@agent("test.use_sync")
def use_sync(task: SyncContext) -> Json:
    name, arguments = task.input["uses"][0]
    try:
        return task.tool(name, **arguments)
    except AmasError as error:
        return error.code


@agent("test.cards")
async def cards(task: Context) -> Json:
    return [[card.name, card.kind, card.about, card.parameters] for card in await task.tools()]


@agent("test.missing")
async def missing(task: Context) -> Json:
    """List the tools twice, with what is missing."""
    return [{card.name: card.missing for card in await task.tools()} for _ in range(2)]


class Uncaught(BaseAgent):
    """Lets a tool's error end its attempt."""

    async def process_task(self, task: Context) -> Json:
        name, arguments = task.input
        return await task.tool(name, **arguments)
