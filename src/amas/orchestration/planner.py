"""What a planner is: a goal and a fleet's facts in, a plan out. The coordinator checks every plan with `core.plan.problems`."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from amas.artifacts.store import ArtifactStore
from amas.core.assignment import Crew
from amas.model.authority import Member
from amas.model.fleet import FleetLimits
from amas.model.goal import Goal, Plan, PlanChange, SubTask
from amas.model.limits import Amounts
from amas.model.task import TaskOutcome
from amas.orchestration.playbooks import Playbook


class FleetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a planner may count on."""

    capabilities: frozenset[str]
    playbooks: tuple[Playbook, ...]
    limits: FleetLimits = FleetLimits()
    members: tuple[Member, ...] = ()
    """Everybody's place in the hierarchy; empty where it isn't known."""
    estimates: dict[str, Amounts] = msgspec.field(default_factory=dict)
    """By queue, as `core.estimate.estimates_of` makes them."""
    crews: tuple[Crew, ...] = ()
    """Who there is to do it; empty where it isn't known."""


class Setback(NamedTuple):
    """A plan of which something failed for good, and what was learned."""

    goal: Goal
    plan: Plan
    outcomes: Mapping[str, TaskOutcome]
    """By key, of all that has ended."""
    failed: Sequence[SubTask]
    """Tasks that failed by themselves and take others down."""
    given_up: Sequence[SubTask]
    """Gates that passed their part on below the threshold."""
    number: int
    """1 for the first re-plan of this goal."""
    artifacts: ArtifactStore


class Planner(Protocol):
    """Anything that turns goals into plans: the rules planner, and the one with a model."""

    async def plan(self, goal: Goal, facts: FleetFacts) -> Plan:
        """Return a plan for `goal`; a GoalError says why there is none."""
        ...

    async def replan(self, setback: Setback, facts: FleetFacts) -> PlanChange:
        """Return another way for what failed, and only for that; without tasks, its notes say why there is none."""
        ...
