"""One agent with several skills: what a pool with `skills:` in its fleet file runs.

Each capability is done by the agent that the file names for it. So a small team's members are people of many trades, eleven
agents rather than thirty, and a skill that belongs to an agent of its own in a large fleet is the same code here.
"""

from amas.agents.base import BaseAgent, FunctionAgent, load_agent, make_agent, takes_mail
from amas.agents.context import Context
from amas.errors import FleetError
from amas.model.fleet import PoolSpec
from amas.model.task import Json

SKILLS = "skills"
"""The option that says, by capability, the `module:attribute` of the agent that does it."""


class Generalist(BaseAgent):
    """Hands each task to its skill for the task's capability."""

    def __init__(self, agent_id: str, pool: PoolSpec) -> None:
        super().__init__(agent_id, pool)
        named: dict[str, str] = pool.options[SKILLS]
        made = {path: make_agent(load_agent(path), agent_id, pool) for path in dict.fromkeys(named.values())}
        self._skills = {capability: made[path] for capability, path in named.items()}

    @classmethod
    def check(cls, pool: PoolSpec) -> None:
        """Raise FleetError for a skill that isn't there, can't do its capability, or needs more than a task to work on."""
        for capability, path in pool.options[SKILLS].items():
            found = load_agent(path)
            if isinstance(found, type):
                found.check(pool)
                continue
            if capability not in found.capabilities:
                raise FleetError(f"skill {path} can't do {capability!r}, but only {', '.join(found.capabilities)}")
            skill = make_agent(found, "", pool)
            if takes_mail(found) or (isinstance(skill, FunctionAgent) and skill.blocking):
                raise FleetError(f"skill {path} blocks or has on_message: give it a pool of its own")

    async def process_task(self, task: Context) -> Json:
        """Do it as the skill does."""
        return await self._skills[task.spec.capability].process_task(task)

    async def on_escalation(self, task: Context) -> Json:
        """Return the answer of the first skill that has one."""
        for skill in dict.fromkeys(self._skills.values()):
            if (answer := await skill.on_escalation(task)) is not None:
                return answer
        return None

    async def health_check(self) -> bool:
        """Return whether every skill can work."""
        return all([await skill.health_check() for skill in dict.fromkeys(self._skills.values())])
