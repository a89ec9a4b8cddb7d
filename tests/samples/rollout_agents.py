"""Versions of one agent: as good as before, failing, slow, giving up; and a long run that says who did what."""

import asyncio

from amas import Context, GiveUp, SubTask, agent
from amas.model.task import Json


@agent("roll.work")
async def stable(task: Context) -> Json:
    return task.agent_id


@agent("roll.work")
async def failing(task: Context) -> Json:
    """Fail every third task, always the same."""
    if sum(task.id.encode()) % 3 == 0:
        raise ValueError("version 2 can't do this one")
    return task.agent_id


@agent("roll.work")
async def giving_up(task: Context) -> Json:
    raise GiveUp("version 2 never can")


@agent("roll.work")
async def slow(task: Context) -> Json:
    await asyncio.sleep(0.15)
    return task.agent_id


@agent("roll.work")
async def brisk(task: Context) -> Json:
    await asyncio.sleep(0.005)
    return task.agent_id


@agent("roll.long")
async def long_run(task: Context) -> Json:
    """Suspend on a sub-task; the result names who began it and who ended it."""
    began = await task.step("began", lambda: task.agent_id)
    await task.spawn([SubTask(key="part", capability="roll.part")])
    return [began, task.agent_id]


@agent("roll.part")
async def part(task: Context) -> Json:
    """Take as long as the test lets it."""
    while not gate.open:
        await asyncio.sleep(0.01)
    return None


class Gate:
    """Holds every `part` until a test opens it."""

    open = False


gate = Gate()


def sober(result: Json, given: Json) -> float:
    """Score a text by who wrote it: version 2 writes worse."""
    return 0.6 if str(result).startswith("coder~2") else 0.95
