"""What of a plan failed for good, and what the plan is once that was planned again.

A `PlanChange` names what leaves the plan, what stands in its place, and what is new; everything else stays as it is, so what is
done is never done again. Called by the coordinator, with the outcomes so far by key, and by planners. Pure: it must never choose
another way.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from amas.model.goal import Plan, PlanChange, SubTask
from amas.model.states import TaskState
from amas.model.task import Json, TaskOutcome

FALLEN = "dependency_failed"
"""The code of a task that never ran, because one that it needs failed."""
FINAL = frozenset({"budget_exhausted", "deadline_exceeded", "not_allowed", "goal_error"})
"""Codes of failures that no other plan gets round."""

Outcomes = Mapping[str, TaskOutcome]


def failed(plan: Plan, outcomes: Outcomes) -> list[SubTask]:
    """Return the tasks that failed for good by themselves and take others down, in the plan's order."""
    return [task for task in plan.tasks if task.on_failure == "fail" and _code(task.key, outcomes) not in {"", FALLEN, *FINAL}]


def fallen(plan: Plan, outcomes: Outcomes) -> list[SubTask]:
    """Return the tasks that never ran, because of those."""
    return [task for task in plan.tasks if _code(task.key, outcomes) == FALLEN]


def given_up(plan: Plan, outcomes: Outcomes) -> list[SubTask]:
    """Return the gates that passed a part on below the threshold."""
    return [task for task in plan.tasks if (part := part_of(outcomes.get(task.key))) and part["accepted"] is False]


def part_of(outcome: TaskOutcome | None) -> dict[str, Any] | None:
    """Return the part that a gate passed on; None where an outcome is none."""
    result = outcome.result if outcome is not None and outcome.state is TaskState.SUCCEEDED else None
    return result if isinstance(result, dict) and {"accepted", "missing", "judged_by"} <= result.keys() else None


def first_wave(plan: Plan) -> list[SubTask]:
    """Return what starts at once: all but what puts parts together, which waits until they are what they are going to be."""
    later = set(plan.joins)
    while more := {task.key for task in plan.tasks if task.key not in later and later & {*task.needs, *task.runs_after}}:
        later |= more
    return [task for task in plan.tasks if task.key not in later]


def applied(plan: Plan, change: PlanChange, *, done: Collection[str]) -> Plan:
    """Return the plan as it is after a change; `done`: keys of tasks that ran, which are aside where nobody needs them any more.

    What hasn't started yet and carries the plan's notes to people (`notes` of its input) gets the new ones too.
    """
    out = {*change.instead, *change.gone}
    kept = [_renamed(task, change, notes=task.key not in done) for task in plan.tasks if task.key not in out]
    return msgspec.structs.replace(
        plan,
        tasks=(*kept, *change.tasks),
        deliverable=change.deliverable or change.instead.get(plan.deliverable, plan.deliverable),
        aside=tuple(dict.fromkeys((*plan.aside, *(key for key in done if key not in out)))),
        notes=(*plan.notes, *change.notes),
    )


def again(tasks: Sequence[SubTask], number: int, capabilities: Mapping[str, str]) -> PlanChange:
    """Return the change that has `tasks` done once more under other keys, some with another capability (by key)."""
    renamed = {task.key: f"replan-{number}/{task.key}" for task in tasks}
    moved = PlanChange(instead=renamed)
    return PlanChange(
        tasks=tuple(
            msgspec.structs.replace(
                _renamed(task, moved, notes=False), key=renamed[task.key], capability=capabilities.get(task.key, task.capability)
            )
            for task in tasks
        ),
        instead=renamed,
    )


def _code(key: str, outcomes: Outcomes) -> str:
    outcome = outcomes.get(key)
    return outcome.failure.code if outcome is not None and outcome.failure is not None else ""


def _renamed(task: SubTask, change: PlanChange, *, notes: bool) -> SubTask:
    def names(keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(change.instead.get(key, key) for key in keys)

    given: Json = task.input
    if notes and isinstance(given, dict) and isinstance(given.get("notes"), list):
        given = {**given, "notes": [*given["notes"], *change.notes]}
    return msgspec.structs.replace(task, needs=names(task.needs), runs_after=names(task.runs_after), input=given)
