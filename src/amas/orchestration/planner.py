"""What a planner is: a goal and a fleet's facts in, a plan out. The coordinator checks every plan with `core.plan.problems`."""

from typing import Protocol

import msgspec

from amas.model.authority import Member
from amas.model.fleet import FleetLimits
from amas.model.goal import Goal, Plan
from amas.model.limits import Amounts
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


class Spent(Protocol):
    """Hears what planning used; `Context.report_usage` is one."""

    def __call__(self, *, usd: float, tokens: int, calls: int) -> None:
        """Take it down."""
        ...


class Planner(Protocol):
    """Anything that turns goals into plans: the rules planner, and the one with a model."""

    async def plan(self, goal: Goal, facts: FleetFacts) -> Plan:
        """Return a plan for `goal`; a GoalError says why there is none."""
        ...
