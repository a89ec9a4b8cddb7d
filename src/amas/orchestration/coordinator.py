"""The Task Coordinator: plans a goal, has the plan checked, starts its graph, and hands the deliverable back.

Its pool's `options` carry the fleet's facts:
`{"capabilities": [...], "limits": {...}, "playbooks": [path or name, ...], "estimates": {...}, "crews": [...], ...}`.
What fails for good is planned again, alone and a bounded number of times. The change is a step, and what it adds are sub-tasks
under keys of their own, so a coordinator that is killed at any point neither plans twice nor has anything done twice.
It must never do a part's work, nor start a plan that the validator refused.
"""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.grounds import tenant_folder
from amas.clock import now_ms
from amas.core.assignment import Assignment, Crew, assigned, assignment_problems, crews_of
from amas.core.estimate import estimated, estimates_of, over_budget
from amas.core.plan import problems
from amas.core.replan import applied, failed, first_wave, given_up
from amas.errors import AmasError, GiveUp, GoalOverBudget, PlanRefused
from amas.model.authority import Member
from amas.model.fleet import FleetLimits, FleetSpec
from amas.model.goal import Goal, Plan, PlanChange, SubTask
from amas.model.limits import Amounts
from amas.model.task import Json, TaskOutcome
from amas.observe import events
from amas.orchestration.decomposer import RulesPlanner
from amas.orchestration.planner import FleetFacts, Planner, Setback
from amas.orchestration.playbooks import load_playbooks
from amas.settings import ModelSettings

APPROVE = "executive.approve"
"""The capability that signs the delivery."""


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


def with_output(goal: Goal, ctx: Context) -> Goal:
    """Return the goal with a place for its deliverable, so that a run can't fail for want of one at its end."""
    folder = str(ctx.options.get("deliverables") or "")
    below = Path(folder) / tenant_folder(ctx.spec.tenant) if ctx.spec.tenant else Path(folder)
    place = below / ctx.id if folder else ctx.workspace / "deliverable"
    return goal if goal.output_dir else msgspec.structs.replace(goal, output_dir=str(place))


def delivered(plan: Plan, outcomes: Mapping[str, TaskOutcome]) -> dict[str, Json]:
    """Return the deliverable with what stands behind it; GiveUp with the first cause when there is none."""
    outcome = outcomes.get(plan.deliverable)
    if outcome is None or outcome.failure is not None or outcome.result is None:
        raise _cause(plan, outcomes)
    result = outcome.result if isinstance(outcome.result, dict) else {"result": outcome.result}
    approval = next((outcomes[task.key].result for task in plan.tasks if _approves(task, outcomes)), None)
    kept = ("approved", "score", "signed_by", "checks", "parts", "missing", "table")
    behind = {name: approval[name] for name in kept if name in approval} if isinstance(approval, dict) else {}
    return {
        **behind,
        **result,
        "playbook": plan.playbook,
        "complexity": plan.complexity.value,
        "notes": list(plan.notes),
    }


def _approves(task: SubTask, outcomes: Mapping[str, TaskOutcome]) -> bool:
    return task.capability == APPROVE and task.key in outcomes


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
        plan = await checked_plan(planner(ctx), goal, facts_of(ctx.options))
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
    return await carry_out(ctx, plan)


async def carry_out(ctx: Context, plan: Plan) -> Json:
    """Have a plan's tasks done, plan again what fails for good, and return the deliverable."""
    replans_max = msgspec.convert(ctx.options, CoordinatorOptions).limits.replans_max
    goal = with_output(msgspec.convert(ctx.input, Goal), ctx)
    outcomes: dict[str, TaskOutcome] = {}
    left_out: set[str] = set()
    started: set[str] = set()
    number = 0
    todo = first_wave(plan) if replans_max else list(plan.tasks)
    while todo:
        outcomes |= await ctx.spawn(todo)
        setback = _setback(ctx, goal, plan, outcomes, number=number + 1, but=left_out)
        if number < replans_max and (setback.failed or setback.given_up):
            number += 1
            change = await _replanned(ctx, setback)
            left_out |= {task.key for task in (*setback.failed, *setback.given_up) if task.key not in change.instead}
            plan = applied(plan, change, done=outcomes.keys())
            if change.tasks:
                started |= {task.key for task in todo}
                todo = list(change.tasks)
                continue
        started |= {task.key for task in todo}
        todo = [task for task in plan.tasks if task.key not in started]
    return delivered(plan, outcomes)


def _setback(
    ctx: Context, goal: Goal, plan: Plan, outcomes: Mapping[str, TaskOutcome], *, number: int, but: Collection[str]
) -> Setback:
    return Setback(
        goal=goal,
        plan=plan,
        outcomes=outcomes,
        failed=[task for task in failed(plan, outcomes) if task.key not in but],
        given_up=[task for task in given_up(plan, outcomes) if task.key not in but],
        number=number,
        artifacts=ctx.artifacts,
    )


async def _replanned(ctx: Context, setback: Setback) -> PlanChange:
    """Return the change, from the journal where it was made before: it is made, and paid for, once."""

    async def replan_it() -> Json:
        deadline_ms = ctx.spec.deadline_ms
        rest = Rest(await ctx.budget_left(), (deadline_ms - now_ms()) / 1000 if deadline_ms else None)
        change = await checked_change(planner(ctx), setback, facts_of(ctx.options), rest)
        ctx.log.info("planned again", event=events.PLAN_CHANGED, number=setback.number, tasks=len(change.tasks))
        ctx.progress(0.5, "; ".join(change.notes))
        stored: dict[str, Any] = msgspec.to_builtins(change)
        return stored

    return msgspec.convert(await ctx.step(f"replan-{setback.number}", replan_it), PlanChange)
