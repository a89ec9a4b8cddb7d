"""Agents of which some fail for good, so that a part of a plan is planned again; each run is a line in `options["runs"]`."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amas import Context, GiveUp, SubTask, agent
from amas.agents.skills.ruff_review import ruff_review
from amas.orchestration.coordinator import coordinate

POISON = "m0.py"
"""The file that breaks its reviewer."""


def _ran(task: Context) -> None:
    with Path(task.options["runs"]).open("a") as runs:
        runs.write(f"{task.spec.capability}\n")


@agent("development.security")
async def poisoned(task: Context) -> Any:
    """Review any files but one."""
    _ran(task)
    if any(Path(path).name == POISON for path in task.input["paths"]):
        raise GiveUp("this file broke me")
    return await ruff_review(task)


@agent("development.security")
async def broken(task: Context) -> Any:
    """Fail, whatever comes."""
    raise GiveUp("out of order")


@agent("development.style")
async def sound(task: Context) -> Any:
    """Review, and say so."""
    _ran(task)
    return await ruff_review(task)


@agent("kitchen.shop")
async def shop(task: Context) -> Any:
    """Buy what is asked for."""
    _ran(task)
    return {"bought": "leeks"}


@agent("kitchen.cook")
async def cook(task: Context) -> Any:
    """Fail: there is no gas."""
    _ran(task)
    raise GiveUp("there is no gas")


@agent("kitchen.bake")
async def bake(task: Context) -> Any:
    """Make something of what was bought."""
    _ran(task)
    return {"baked": task.results["shop"]["bought"]}


@agent("kitchen.serve")
async def serve(task: Context) -> Any:
    """Hand over whatever the one before made."""
    _ran(task)
    return {"served": list(task.results.values())}


class _Dying:
    """A context whose host is killed when it is about to spawn what was planned again, once."""

    def __init__(self, context: Context, killed: Path) -> None:
        self._context, self._killed = context, killed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def spawn(self, tasks: Sequence[SubTask]) -> Any:
        if any(task.key.startswith("replan-") for task in tasks) and not self._killed.exists():
            self._killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return await self._context.spawn(tasks)


@agent("executive.coordinate")
async def dying(task: Context) -> Any:
    """Coordinate, and die once between a re-plan and its spawn."""
    return await coordinate(_Dying(task, Path(task.options["killed"])))  # type: ignore[arg-type]  it stands for one
