"""`amas plan`: how a goal would be met, by the planner and the checks of a real run; nothing is started, no fleet need run."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from amas.cli.output import console, print_json
from amas.cli.run import check_input
from amas.core.estimate import AMOUNTS, estimated
from amas.fleet.load import load_fleet
from amas.model.goal import Estimate, Goal, Plan, SubTask
from amas.model.limits import Amounts
from amas.orchestration.planner import FleetFacts
from amas.orchestration.planning import checked_plan, facts_of, options_of, planner
from amas.orchestration.submission import check_goal, check_takes_goals
from amas.platforms.local.model import for_this_process


class Asked(NamedTuple):
    """What was asked on the command line."""

    goal: str
    input: Path | None
    fleet: str
    budget_usd: float | None


def plan(asked: Asked, *, as_json: bool) -> None:
    """Print the plan for a goal; GoalError says why there is none, as the real run would."""
    check_input(asked.input)
    fleet = load_fleet(asked.fleet)
    check_takes_goals(fleet)
    goal = Goal(
        text=asked.goal,
        input_dir=str(asked.input.absolute()) if asked.input else "",
        budget=None if asked.budget_usd is None else Amounts(usd=asked.budget_usd),
    )
    check_goal(goal)
    facts = facts_of(options_of(fleet))
    with for_this_process():
        made = asyncio.run(checked_plan(planner(), goal, facts))
    print_json(_as_json(made, facts)) if as_json else _show(made, goal, facts)


def _alone(task: SubTask, facts: FleetFacts) -> Estimate:
    """Return one task's own estimate."""
    return estimated([msgspec.structs.replace(task, needs=(), runs_after=())], facts.estimates)


def _as_json(made: Plan, facts: FleetFacts) -> dict[str, Any]:
    whole: dict[str, Any] = msgspec.to_builtins(made)
    for task, said in zip(made.tasks, whole["tasks"], strict=True):
        said["estimate"] = msgspec.to_builtins(_alone(task, facts).total)
    return whole


def _show(made: Plan, goal: Goal, facts: FleetFacts) -> None:
    from rich.table import Table
    from rich.text import Text

    shown = console()
    estimate = made.estimate or estimated(made.tasks, facts.estimates)
    shown.print(Text(goal.text.strip(), style="bold"))
    shown.print(f"{made.playbook}: {len(made.tasks)} tasks, {made.complexity.value.replace('_', ' ')}")
    graph = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("", "layer", "task", "capability", "pools", "needs", "estimate"):
        graph.add_column(column, no_wrap=column == "task", overflow="fold")
    for task in ordered(made.tasks):
        graph.add_row(
            Text("*" if task.key in estimate.critical_path else "", style="cyan"),
            Text(task.layer.value if task.layer else ""),
            Text(task.key, style="bold" if task.key == made.deliverable else ""),
            Text(", ".join((task.capability, *(f"+{each}" for each in task.spawns)))),
            Text(_pools(made.pools.get(task.key, ()))),
            Text(", ".join((*task.needs, *task.runs_after)), style="dim"),
            Text(amounts(_alone(task, facts).total)),
        )
    shown.print(graph)
    shown.print(Text("\n".join(_sums(estimate)), style="dim"))
    for note in made.notes:
        shown.print(Text(f"note: {note}"))


def ordered(tasks: tuple[SubTask, ...]) -> list[SubTask]:
    """Return the tasks with each one after those that it needs, else in the plan's order; the graph has no cycle."""
    done: dict[str, SubTask] = {}
    waiting = list(tasks)
    while waiting:
        ready = [task for task in waiting if all(need in done for need in (*task.needs, *task.runs_after))]
        done |= {task.key: task for task in ready}
        waiting = [task for task in waiting if task.key not in done]
    return list(done.values())


def amounts(said: Amounts) -> str:
    """Return amounts as people read them: `0.25 USD, 1200 tokens`; `unknown` for none."""
    values = ((getattr(said, name), unit) for name, unit in AMOUNTS.items())
    return ", ".join(f"{value:.12g} {unit}" for value, unit in values if value is not None) or "unknown"


def _pools(pools: tuple[str, ...]) -> str:
    """Return who a task is assigned to; with a `+` who does what it spawns."""
    return ", ".join((*pools[:1], *(f"+{pool}" for pool in dict.fromkeys(pools[1:]))))


def _sums(estimate: Estimate) -> list[str]:
    time = "time unknown" if estimate.critical_s is None else f"at least {estimate.critical_s:g} s"
    lines = [
        f"* critical path, {time}: {' > '.join(estimate.critical_path)}",
        f"estimate, one attempt each: {'' if estimate.total == Amounts() else 'at least '}{amounts(estimate.total)}",
    ]
    for name, capabilities in estimate.unknown.items():
        if getattr(estimate.total, name) is not None:  # an amount that nobody declares is no gap in a sum
            lines.append(f"not in that sum, {AMOUNTS[name]} unknown: {', '.join(capabilities)}")
    return lines
