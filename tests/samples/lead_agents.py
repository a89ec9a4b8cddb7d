"""A lead that has a team write and then check, and stops between the two until it is told to go on."""

import asyncio
import os
from pathlib import Path

from amas import Context, SubTask, agent
from amas.model.task import Json

PARTS = ("news", "sport", "weather")


@agent("team.edit")
async def edit(task: Context) -> Json:
    """Return what the team wrote and its check; `options`: `ledger`, which gets the process's id each time, and `go`."""
    written = await task.spawn([SubTask(key=part, capability="test.writer", input=f"Write the {part}.") for part in PARTS])
    with Path(str(task.options["ledger"])).open("a") as ledger:
        ledger.write(f"{os.getpid()}\n")
    while not Path(str(task.options["go"])).exists():
        await asyncio.sleep(0.01)
    checked = await task.spawn([SubTask(key="check", capability="test.writer", input="Check the parts.")])
    return {key: outcome.result for key, outcome in {**written, **checked}.items()}
