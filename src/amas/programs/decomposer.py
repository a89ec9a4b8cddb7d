"""`TaskDecomposer`: plain words in, the plan that would be carried out, without running it."""

from pathlib import Path

from amas.client import Fleet
from amas.model.fleet import FleetSpec
from amas.model.goal import Goal, Plan
from amas.model.task import Json
from amas.orchestration.planning import checked_plan, facts_of, options_of, planner
from amas.programs.link import Link, wanted_of


class TaskDecomposer:
    """Plans goals as the fleet's Task Coordinator does, with the same planner, validator and time-out."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def decompose_task(
        self, text: str, *, input_dir: Path | str = "", user_preferences: dict[str, Json] | None = None
    ) -> Plan:
        """Return the checked plan for `text`: its `complexity`, and its `tasks` with what each needs.

        `input_dir`: the folder that it is about, unless the text names one in full. NoPlaybook and InputUnusable say why there is
        no plan, PlanRefused what is wrong with it.
        """
        goal = _goal(text, input_dir, user_preferences or {})

        async def plan(fleet: Fleet, spec: FleetSpec) -> Plan:
            return await checked_plan(planner(), goal, facts_of(options_of(await wanted_of(fleet, spec))))

        return await self._link.ask(plan)


def _goal(text: str, input_dir: Path | str, preferences: dict[str, Json]) -> Goal:
    return Goal(text=text, input_dir=str(Path(input_dir).absolute()) if input_dir else "", preferences=preferences)
