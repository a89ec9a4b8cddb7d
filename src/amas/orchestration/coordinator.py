"""The Task Coordinator: plans a goal, has the plan checked, starts its graph, and hands the deliverable back.

Its pool's `options` carry the fleet's facts:
`{"capabilities": [...], "limits": {...}, "playbooks": [path or name, ...], "estimates": {...}}`.
It must never do a part's work, nor start a plan that the validator refused.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.core.estimate import estimated, over_budget
from amas.core.plan import problems
from amas.errors import AmasError, GiveUp, GoalOverBudget, PlanRefused
from amas.model.authority import Member
from amas.model.fleet import FleetLimits
from amas.model.goal import Goal, Plan
from amas.model.limits import Amounts
from amas.model.task import Json, TaskOutcome
from amas.orchestration.decomposer import RulesPlanner
from amas.orchestration.planner import FleetFacts, Planner, Spent
from amas.orchestration.playbooks import load_playbooks
from amas.settings import ModelSettings


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
    )


def planner(spent: Spent | None = None) -> Planner:
    """Return the planner with a model where AMAS_MODEL names one, else the rules planner; `spent` hears what the model used."""
    settings = ModelSettings.read()
    if not settings.model:
        return RulesPlanner()
    from amas.orchestration.model_planner import ModelPlanner  # slow to import, and an extra

    return ModelPlanner(settings, spent=spent)


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
    return msgspec.structs.replace(plan, estimate=estimate)


def with_output(goal: Goal, ctx: Context) -> Goal:
    """Return the goal with a place for its deliverable, so that a run can't fail for want of one at its end."""
    folder = str(ctx.options.get("deliverables") or "")
    place = Path(folder) / ctx.id if folder else ctx.workspace / "deliverable"
    return goal if goal.output_dir else msgspec.structs.replace(goal, output_dir=str(place))


def delivered(plan: Plan, outcomes: Mapping[str, TaskOutcome]) -> dict[str, Json]:
    """Return the deliverable with what stands behind it; GiveUp with the first cause when there is none."""
    outcome = outcomes.get(plan.deliverable)
    if outcome is None or outcome.failure is not None or outcome.result is None:
        raise _cause(plan, outcomes)
    result = outcome.result if isinstance(outcome.result, dict) else {"result": outcome.result}
    approval = outcomes["approve"].result if "approve" in outcomes else None
    kept = ("approved", "score", "signed_by", "checks", "parts", "missing", "table")
    behind = {name: approval[name] for name in kept if name in approval} if isinstance(approval, dict) else {}
    return {
        **behind,
        **result,
        "playbook": plan.playbook,
        "complexity": plan.complexity.value,
        "notes": list(plan.notes),
    }


def _cause(plan: Plan, outcomes: Mapping[str, TaskOutcome]) -> GiveUp:
    """Return the error of the task that failed first in the plan's order, not of those that it took down."""
    for task in plan.tasks:
        failed = outcomes[task.key].failure if task.key in outcomes else None
        if failed is not None and task.on_failure == "fail":
            return GiveUp(f"{task.title or task.key}: {failed.message}", code=failed.code)
    return GiveUp(f"the plan ended without its deliverable {plan.deliverable!r}", code="no_deliverable")


@agent("executive.coordinate")
async def coordinate(ctx: Context) -> Json:
    """Plan the goal, have the plan carried out, and return the deliverable."""

    async def plan_it() -> Json:
        goal = with_output(msgspec.convert(ctx.input, Goal), ctx)
        plan = await checked_plan(planner(spent=ctx.report_usage), goal, facts_of(ctx.options))
        stored: dict[str, Any] = msgspec.to_builtins(plan)
        return stored

    try:
        plan = msgspec.convert(await ctx.step("plan", plan_it), Plan)
    except msgspec.ValidationError as error:
        raise GiveUp(f"the goal or the fleet's facts are not as they must be: {error}", code="goal_error") from error
    except AmasError as error:
        if isinstance(error, GiveUp):
            raise
        raise GiveUp(str(error), code=error.code) from error
    ctx.progress(0.05, f"{plan.playbook}: {len(plan.tasks)} tasks")
    return delivered(plan, await ctx.spawn(plan.tasks))
