"""The agents of the day: they hold their place as long as a task says, and tell what a model would have cost."""

import asyncio

from amas import Context, GiveUp
from amas.agents.base import BaseAgent
from amas.model.task import Json


class Worker(BaseAgent):
    """Does its work in two steps, and gives up where it is asked to."""

    __slots__ = ()

    async def process_task(self, task: Context) -> Json:
        """Return what was asked."""
        await task.step("looked", lambda: task.agent_id)
        await asyncio.sleep(task.input["hold_s"])
        task.report_usage(usd=task.input["usd"], tokens=task.input["tokens"], calls=1)
        if task.input["gives_up"]:
            raise GiveUp("it was asked to")
        return task.input["number"]


class Careless(Worker):
    """The version that should never have been shipped: it fails two tasks of three."""

    __slots__ = ()

    async def process_task(self, task: Context) -> Json:
        """Fail most tasks."""
        if task.input["number"] % 3:
            raise ValueError("the new version can't do this one")
        return await super().process_task(task)
