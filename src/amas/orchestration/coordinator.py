"""The Task Coordinator: plans a goal, has the plan checked, starts its graph, and hands the deliverable back.

Its pool's `options` carry the fleet's facts (`planning.py`).
What fails for good is planned again, alone and a bounded number of times. The change is a step, and what it adds are sub-tasks
under keys of their own, so a coordinator that is killed at any point neither plans twice nor has anything done twice.
It must never do a part's work, nor start a plan that the validator refused.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.grounds import tenant_folder
from amas.clock import now_ms
from amas.core.replan import applied, failed, first_wave, given_up
from amas.errors import AmasError, GiveUp
from amas.model.goal import Goal, Plan, PlanChange, SubTask
from amas.model.task import Json, TaskOutcome
from amas.observe import events
from amas.orchestration.planner import Setback
from amas.orchestration.planning import CoordinatorOptions, Rest, checked_change, checked_plan, facts_of, planner

APPROVE = "executive.approve"
"""The capability that signs the delivery."""


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
    except GiveUp:
        raise
    except AmasError as error:
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
