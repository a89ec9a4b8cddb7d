"""Agents whose side effects are lines in a ledger: `task step attempt pid`, one for each step that really ran."""

import asyncio
import os
from pathlib import Path

from amas import Context, GiveUp, RetryLater, SubTask, agent


@agent("chaos.work")
async def work(task: Context) -> dict[str, int]:
    """Do `steps` steps of `hold_s` each; fail attempts up to number `fails`, or for good where `gives_up`."""
    asked = task.input
    ledger = Path(task.options["ledger"])

    def write(step: int) -> int:
        with ledger.open("a") as file:
            file.write(f"{task.id} s{step} {task.attempt} {os.getpid()}\n")
        return step

    if asked["calls"]:
        await task.spend(calls=asked["calls"])
    for step in range(asked["steps"]):
        await task.step(f"s{step}", lambda step=step: write(step))
        await asyncio.sleep(asked["hold_s"])
    if asked["gives_up"]:
        raise GiveUp("it was asked to")
    if task.attempt <= asked["fails"]:
        raise RetryLater("not yet")
    return {"steps": asked["steps"]}


@agent("chaos.split")
async def split(task: Context) -> int:
    """Have the work done by sub-tasks and add up what they say."""
    parts = [SubTask(key=f"part-{n}", capability="chaos.work", input=part) for n, part in enumerate(task.input)]
    outcomes = await task.spawn(parts)
    return sum(outcome.result["steps"] for outcome in outcomes.values())
