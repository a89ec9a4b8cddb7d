"""A goal's plan: made by the fleet's planner in its time, checked by the validator, and priced against the goal's budget.

The fleet's facts come as the options of its coordinator's pool:
`{"capabilities": [...], "limits": {...}, "playbooks": [path or name, ...], "estimates": {...}, "crews": [...], ...}`.
Called by the coordinator and by whoever wants to see a plan without a run: `amas plan`, `TaskDecomposer`. It starts nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from amas.agents.context import Context
from amas.core.assignment import Assignment, Crew, assigned, assignment_problems, crews_of
from amas.core.estimate import estimated, estimates_of, over_budget
from amas.core.plan import problems
from amas.core.replan import applied
from amas.errors import GoalOverBudget, PlanRefused
from amas.model.authority import Member
from amas.model.fleet import FleetLimits, FleetSpec
from amas.model.goal import Goal, Plan, PlanChange
from amas.model.limits import Amounts
from amas.model.task import Json
from amas.orchestration.decomposer import RulesPlanner
from amas.orchestration.planner import FleetFacts, Planner, Setback
from amas.orchestration.playbooks import load_playbooks
from amas.settings import ModelSettings


class Rest(NamedTuple):
    """What a goal has left."""

    budget: Amounts | None = None
    """None: it has no budget."""
    time_s: float | None = None
    """Seconds until its deadline; None: it has none."""


class CoordinatorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet's facts, as its loader hands them over."""

    capabilities: tuple[str, ...]
    limits: FleetLimits = FleetLimits()
    playbooks: tuple[str, ...] = ()
    """Names of shipped playbooks or paths; empty for all that ship with the product."""
    members: tuple[Member, ...] = ()
    """Everybody's place in the hierarchy."""
    deliverables: str = ""
    """The folder for deliverables of goals that name none; each gets one of its own there, called by its task's id."""
    estimates: dict[str, Amounts] = msgspec.field(default_factory=dict)
    """What one attempt takes, by queue."""
    crews: tuple[Crew, ...] = ()
    """Who there is to do it."""


def options_of(fleet: FleetSpec, *, deliverables: str = "") -> dict[str, Json]:
    """Return a fleet's facts as its coordinator's options; `deliverables`: the folder for goals that name none."""
    options = CoordinatorOptions(
        capabilities=tuple(sorted(fleet.capabilities)),
        limits=fleet.limits,
        playbooks=fleet.playbooks,
        members=fleet.members,
        deliverables=deliverables,
        estimates=estimates_of(fleet.pools),
        crews=crews_of(fleet.pools),
    )
    given: dict[str, Json] = msgspec.to_builtins(options)
    return given


def facts_of(options: Mapping[str, Json]) -> FleetFacts:
    """Return the fleet's facts, its playbooks read; FleetFileInvalid when one is wrong."""
    given = msgspec.convert(dict(options), CoordinatorOptions)
    playbooks = tuple(load_playbooks(given.playbooks))
    return FleetFacts(
        capabilities=frozenset(given.capabilities),
        playbooks=playbooks,
        limits=given.limits,
        members=given.members,
        estimates=given.estimates,
        crews=given.crews,
    )


def planner(task: Context | None = None) -> Planner:
    """Return the planner with a model where AMAS_MODEL names one, else the rules planner; `task` pays for what the model uses."""
    settings = ModelSettings.read()
    if not settings.model:
        return RulesPlanner()
    from amas.orchestration.model_planner import ModelPlanner  # slow to import, and an extra

    return ModelPlanner(settings, task)


async def checked_plan(by: Planner, goal: Goal, facts: FleetFacts) -> Plan:
    """Return the planner's plan for a goal, with its estimate.

    PlanRefused when it breaks a rule, GoalOverBudget when it takes more than the goal may spend.
    """
    limit_s = facts.limits.decomposition_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            plan = await by.plan(goal, facts)
    except TimeoutError as error:
        raise PlanRefused([f"the planner took longer than {limit_s:g} s (ORCHESTRATION_DECOMPOSITION_TIMEOUT)"]) from error
    found = problems(plan, capabilities=facts.capabilities, limits=facts.limits, members=facts.members)
    if found:
        raise PlanRefused(found)
    estimate = estimated(plan.tasks, facts.estimates)  # only now: a plan with a cycle has none
    if over := over_budget(estimate, goal.budget):
        raise GoalOverBudget(over)
    assignment = assigned(plan.tasks, facts.crews, facts.estimates) if facts.crews else Assignment()
    if found := assignment_problems(assignment, deadline_s=goal.deadline_s):
        raise PlanRefused(found)
    return msgspec.structs.replace(plan, estimate=estimate, pools=assignment.pools)


async def checked_change(by: Planner, setback: Setback, facts: FleetFacts, rest: Rest) -> PlanChange:
    """Return the planner's other way for what failed, within the goal's rest; one without tasks says why there is none."""
    limit_s = facts.limits.decomposition_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            change = await by.replan(setback, facts)
    except TimeoutError:
        return PlanChange(notes=(f"not planned again: the planner took longer than {limit_s:g} s",))
    if not change.tasks:
        return change
    made = applied(setback.plan, change, done=setback.outcomes.keys())
    found = problems(made, capabilities=facts.capabilities, limits=facts.limits, members=facts.members)
    if found := found or over_rest(made, setback, facts, rest):
        return PlanChange(notes=(f"not planned again: {found[0]}",))
    # Titles go into the workflow's events, which so tell what was planned again.
    tasks = tuple(msgspec.structs.replace(task, title=f"Planned again: {task.title or task.key}") for task in change.tasks)
    return msgspec.structs.replace(change, tasks=tasks)


def over_rest(made: Plan, setback: Setback, facts: FleetFacts, rest: Rest) -> list[str]:
    """Return a sentence for each of the goal's rests for which what is to be done is too much; none when it fits."""
    open_tasks = [task for task in made.tasks if task.key not in setback.outcomes]
    estimate = estimated(open_tasks, facts.estimates)
    found = over_budget(estimate, rest.budget)
    if rest.time_s is not None and (estimate.critical_s or 0.0) >= rest.time_s:
        found.append(
            f"it takes at least {estimate.critical_s or 0:g} s, and {max(rest.time_s, 0):.0f} s are left until the deadline"
        )
    return found
