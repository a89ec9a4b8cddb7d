"""A day of the pool in `docs/scaling.md`, simulated with the autoscaler's own decisions, and drawn.

Tasks of 20 seconds arrive by chance around a day's curve, with a rush at three; agents are there as soon as they are wanted.
`python -m benchmarks.scaling_day` draws `docs/scaling.svg`, the same each time.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from html import escape
from math import exp
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from zoneinfo import ZoneInfo

from amas.core.scaling import decide
from amas.core.scaling_history import ScalingMemory
from amas.fleet.load import load_fleet
from amas.model.scaling import Observation, ScalingDecision, ScalingSpec

DOCS = Path(__file__).parents[1] / "docs"
BEGIN = datetime(2026, 3, 27, tzinfo=ZoneInfo("Europe/Berlin"))  # a Friday
STEP_S, WORK_S, DAY_S = 5, 20, 86_400
PEAK_PER_S = 1.4

WIDTH, LEFT, RIGHT, TOP, LOAD_HEIGHT, SIZE_HEIGHT, GAP = 960, 52, 16, 30, 110, 240, 34
MARKS: tuple[tuple[str, Callable[[ScalingDecision], bool]], ...] = (
    ("something comes", lambda made: made.before == 0 < made.replicas),
    ("a schedule", lambda made: "at this time" in made.reason and made.before > 0),
    ("a forecast", lambda made: "expected" in made.reason and made.replicas > made.before > 10),
    ("a rush", lambda made: made.at_ms > _at(15) and made.replicas > made.before),
    ("the budget", lambda made: "USD" in made.reason),
    ("an evening", lambda made: made.at_ms > _at(17) and made.replicas < made.before),
    ("nothing left", lambda made: made.at_ms > _at(12) and made.replicas == 0 < made.before),
)
"""What is pointed out: the first decision of each kind."""


class Moment(NamedTuple):
    """The pool at a time."""

    per_s: float
    running: int
    waiting: int
    decision: ScalingDecision


def spec() -> ScalingSpec:
    """Return the pool's scaling as the page declares it."""
    block, *_ = re.findall(r"```yaml\n(.*?)```", (DOCS / "scaling.md").read_text(), re.DOTALL)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.yaml"
        path.write_text(block)
        found = load_fleet(path, environ={}).pools[0].scaling
    assert found is not None
    return found


def _at(hour: float) -> int:
    return round((BEGIN.timestamp() + hour * 3600) * 1000)


def _per_s(hour: float) -> float:
    """Return what arrives on average: nothing at night, most at eleven, a rush at three."""
    if not 6 <= hour < 22:
        return 0.0
    rush = 1.0 if 15 <= hour < 15.5 else 0.0
    return PEAK_PER_S * (exp(-(((hour - 11) / 3) ** 2)) + 0.45 * exp(-(((hour - 17) / 2) ** 2)) + 0.8 * rush)


def simulated(spec: ScalingSpec) -> Iterator[Moment]:
    """Yield the pool at each step of the day."""
    chance, memory, size, arrived, waiting = random.Random(3), ScalingMemory(), 0, 0, 0
    begun = [0] * (WORK_S // STEP_S)
    for step in range(DAY_S // STEP_S):
        per_s = _per_s(step * STEP_S / 3600)
        came = sum(chance.random() < per_s / 20 for _ in range(20 * STEP_S))
        free = max(0, size - sum(begun[1:]))
        begun = [*begun[1:], min(free, waiting + came)]
        waiting, arrived = waiting + came - begun[-1], arrived + came
        at_ms = _at(step * STEP_S / 3600)
        seen = Observation(at_ms=at_ms, waiting=waiting, backlog=waiting, arrived=arrived, running=sum(begun))
        decision, memory = decide(spec, memory, seen, replicas=size)
        size = decision.replicas
        yield Moment(per_s, sum(begun), waiting, decision)


def _line(points: Sequence[tuple[float, float]], style: str) -> str:
    return f'<polyline fill="none" {style} points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _words(text: str, x: float, y: float, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'


def _axis(base: float, height: float, top: float, step: float) -> Iterator[str]:
    value = 0.0
    while value <= top:
        y = base - height * value / top
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>'
        yield _words(f"{value:g}", LEFT - 6, y + 4, 'text-anchor="end" fill="#666"')
        value += step


def drawn(day: Sequence[Moment]) -> str:
    """Return the picture."""
    every = 60 // STEP_S
    load_base, size_base = TOP + LOAD_HEIGHT, TOP + LOAD_HEIGHT + GAP + SIZE_HEIGHT
    most = 10 * (max(max(each.decision.replicas, each.running + each.waiting) for each in day) // 10 + 1)
    top_load = max(each.per_s for each in day) * 1.15

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / len(day)

    def y(agents: float) -> float:
        return size_base - SIZE_HEIGHT * agents / most

    load = [(x(step), load_base - LOAD_HEIGHT * day[step].per_s / top_load) for step in range(0, len(day), every)]
    needed = [(x(step), y(max(m.running + m.waiting for m in day[step : step + every]))) for step in range(0, len(day), every)]
    sizes: list[tuple[float, float]] = []
    for step, each in enumerate(day):
        if each.decision.replicas != each.decision.before or step == 0:
            sizes += [(x(step), y(each.decision.before)), (x(step), y(each.decision.replicas))]
    sizes.append((x(len(day)), sizes[-1][1]))
    marks = [(name, next((step for step, each in enumerate(day) if found(each.decision)), None)) for name, found in MARKS]
    noted = sorted((step, name) for name, step in marks if step is not None)
    height = size_base + 40 + 34 * len(noted)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        *_axis(load_base, LOAD_HEIGHT, top_load, 0.5),
        *_axis(size_base, SIZE_HEIGHT, most, 10),
        _words("tasks a second that arrive", LEFT, TOP - 10, 'fill="#444" font-weight="bold"'),
        _words("agents (blue), tasks that run or wait (orange)", LEFT, load_base + GAP - 10, 'fill="#444" font-weight="bold"'),
        _line(load, 'stroke="#2a9d63" stroke-width="2"'),
        _line(needed, 'stroke="#e8973a" stroke-width="1"'),
        _line(sizes, 'stroke="#2563b0" stroke-width="2"'),
    ]
    lines += [
        _words(f"{hour:02}:00", x(hour * 3600 / STEP_S), size_base + 16, 'text-anchor="middle" fill="#666"')
        for hour in range(0, 25, 2)
    ]
    for number, (step, name) in enumerate(noted, start=1):
        made, below = day[step].decision, size_base + 44 + 34 * (number - 1)
        clock = f"{step * STEP_S // 3600:02}:{step * STEP_S // 60 % 60:02}"
        at_x, at_y = x(step), y(made.replicas)
        lines.append(f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="8" fill="#2563b0"/>')
        lines.append(_words(str(number), at_x, at_y + 4, 'text-anchor="middle" fill="#fff"'))
        lines.append(_words(f"{number}  {clock}  {name}", LEFT, below, 'fill="#222" font-weight="bold"'))
        lines.append(_words(made.reason, LEFT + 16, below + 15, 'fill="#444" font-size="11"'))
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    moments = list(simulated(spec()))
    (DOCS / "scaling.svg").write_text(drawn(moments))
    changes = sum(each.decision.replicas != each.decision.before for each in moments)
    print(f"{changes} changes of size; at most {max(each.waiting for each in moments)} tasks waited")
