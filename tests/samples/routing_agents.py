"""Agents of two pools that do the same; tests change the mood of one."""

from amas import Context, agent
from amas.model.task import Json


class Mood:
    """What `moody` does with every task."""

    fails_one_in = 2
    """0: never."""
    tried = 0


mood = Mood()


@agent("route.work")
async def steady(task: Context) -> Json:
    return task.agent_id


@agent("route.work")
async def moody(task: Context) -> Json:
    mood.tried += 1
    if mood.fails_one_in and mood.tried % mood.fails_one_in == 0:
        raise ValueError("not today")
    return task.agent_id
