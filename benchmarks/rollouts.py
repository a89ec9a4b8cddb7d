"""The picture of `docs/rollouts.md`: the shares of three new versions as `core/rollout.py` decides on them.

Run it with `python -m benchmarks.rollouts`. Tasks are drawn with a seed, a hundred a minute; no fleet runs.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pygal
from pygal.style import CleanStyle

from amas.core.rollout import Move, Side, decide
from amas.core.routing import Belief
from amas.model.fleet import PoolSpec
from amas.model.rollout import Phase, Rollout
from amas.model.rollout_spec import RolloutSpec

PICTURE = Path(__file__).parents[1] / "docs" / "rollouts.svg"
STABLE = 0.97
"""Success of the version that runs."""
TASK_MS = 600
LOOK_EVERY, TASKS_MAX = 10, 20_000
SPEC = RolloutSpec(steps=(0.05, 0.25, 0.5), min_tasks=30, min_time_s=60.0)


class Point(NamedTuple):
    """The new version's share after so many tasks, and what was decided there."""

    tasks: int
    share: float
    move: Move
    why: str


def simulated(canary: float, *, seed: int) -> Iterator[Point]:
    """Yield a roll-out's shares for a version that succeeds with rate `canary`, at every change and at its end."""
    rng = random.Random(seed)
    pool = PoolSpec(name="coder", agent="a:b", capabilities=("development.code",), version="2")
    rollout = Rollout(pool="coder", to=pool, was="1", spec=SPEC, phase=Phase.CANARY)
    won, lost = [0.0, 0.0], [0.0, 0.0]
    yield Point(0, rollout.share, Move.CONTINUE, "")
    for tasks in range(1, TASKS_MAX):
        new = rng.random() < rollout.share
        (won if rng.random() < (canary if new else STABLE) else lost)[new] += 1
        if tasks % LOOK_EVERY:
            continue
        stable, trial = (Side(outcomes=Belief(won[side], lost[side])) for side in (0, 1))
        decision = decide(rollout, stable, trial, now_ms=tasks * TASK_MS)
        if decision.move is Move.CONTINUE:
            continue
        yield Point(tasks, rollout.share, Move.CONTINUE, "")
        if decision.move is Move.STEP_UP:
            changes = {"step": rollout.step + 1, "step_trials": trial.outcomes.trials, "phase_ms": tasks * TASK_MS}
            rollout = msgspec.structs.replace(rollout, **changes)
            yield Point(tasks, rollout.share, decision.move, decision.reason)
        else:
            yield Point(tasks, float(decision.move is Move.PROMOTE), decision.move, decision.reason)
            return


def main() -> None:
    """Draw it, and print how each ended."""
    chart = pygal.XY(
        title=f"A new version's share of the tasks (the old one succeeds {STABLE:.0%} of the time)",
        x_title="tasks of the pool since the roll-out began",
        y_title="share, %",
        style=CleanStyle(),
        js=[],
        legend_at_bottom=True,
        no_prefix=True,
        width=800,
        height=400,
    )
    for rate in (0.97, 0.85, 0.6):
        points = list(simulated(rate, seed=5))
        chart.add(
            f"succeeds {rate:.0%}: {points[-1].move.replace('_', ' ')}", [(each.tasks, 100 * each.share) for each in points]
        )
        print(f"{rate:.0%}: {points[-1].move} after {points[-1].tasks} tasks: {points[-1].why}")
    svg = chart.render(is_unicode=True, pretty_print=True)
    PICTURE.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


if __name__ == "__main__":
    main()
