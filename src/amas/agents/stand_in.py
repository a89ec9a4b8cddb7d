"""The agent that holds a place: it answers each task with the input that it was given, and knows nothing.

For pools of a fleet whose skill doesn't exist yet, so that they can be placed, scaled and measured. Whoever looks at such a pool
sees `skill: none` (`PoolSpec.skill`), so that nobody takes its answers for work.
"""

from amas.agents.base import BaseAgent
from amas.agents.context import Context
from amas.model.task import Json


class StandIn(BaseAgent):
    """Takes any capability."""

    __slots__ = ()

    async def process_task(self, task: Context) -> Json:
        """Return the input."""
        return task.input
