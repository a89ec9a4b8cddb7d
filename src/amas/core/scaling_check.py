"""What makes a declaration of scaling sound. Pure; `fleet/` tells the mistakes with file and line."""

from collections.abc import Iterator

from amas.core.windows import week, zone
from amas.model.scaling import ScalingPace, ScalingSpec, ScalingTargets, ScalingWindow, VerticalSpec

Mistake = tuple[str, str]
"""The field as fleet files write it, and what is wrong and how to mend it."""

DAY_S = 86_400.0
FIGURE_MAX = 1e9
PERCENT_MAX = 1e6


def mistakes(spec: ScalingSpec) -> Iterator[Mistake]:
    """Return what is wrong with a declaration; nothing when it is sound."""
    if spec.min < 0:
        yield "min", f"is {spec.min}, but must be at least 0"
    if spec.max < max(spec.min, 1):
        yield "max", f"is {spec.max}, but must be at least {max(spec.min, 1)}"
    yield from _of_targets(spec.targets)
    if spec.targets == ScalingTargets() and not spec.windows and not spec.vertical:
        yield "targets", "are missing: say what the size follows, such as {queue_depth: 10}"
    for name, pace in (("up", spec.up), ("down", spec.down)):
        yield from ((f"{name}.{field}", message) for field, message in _of_pace(pace))
    if not 0 <= spec.tolerance < 1:
        yield "tolerance", f"is {spec.tolerance:g}, but must be a share from 0 to less than 1"
    for field in ("usd_per_hour", "agent_usd_per_hour"):
        if (usd := getattr(spec, field)) is not None and not 0 < usd <= FIGURE_MAX:
            yield field, f"is {usd:g}, but must be more than 0"
    if spec.vertical:
        yield from ((f"vertical.{field}", message) for field, message in _of_vertical(spec.vertical))
    for index, window in enumerate(spec.windows):
        yield from ((f"schedules[{index}]{field}", message) for field, message in _of_window(window, spec))


def _of_targets(targets: ScalingTargets) -> Iterator[Mistake]:
    for name in targets.__struct_fields__:
        target, most = getattr(targets, name), 1.0 if name == "utilisation" else FIGURE_MAX
        if target is not None and not 0 < target <= most:
            wanted = "a share over 0, up to 1" if name == "utilisation" else "more than 0"
            yield f"targets.{name.removesuffix('_s')}", f"is {target:g}, but must be {wanted}"


def _of_pace(pace: ScalingPace) -> Iterator[Mistake]:
    if pace.count < 1:
        yield "count", f"is {pace.count}, but must be at least 1: a share of a small pool is no whole agent"
    if not 0 <= pace.percent <= PERCENT_MAX:
        yield "percent", f"is {pace.percent:g}, but must be from 0 to {PERCENT_MAX:.0f}"
    for field in ("every_s", "after_s", "cooldown_s"):
        if getattr(pace, field) > DAY_S:
            yield field.removesuffix("_s"), "is longer than a day"


def _of_vertical(rule: VerticalSpec) -> Iterator[Mistake]:
    if not 0 < rule.memory < 1:
        yield "memory", f"is {rule.memory:g}, but must be a share of the limit over 0 and less than 1"
    if rule.step_mb < 1:
        yield "step_mb", f"is {rule.step_mb}, but must be at least 1"


def _of_window(window: ScalingWindow, spec: ScalingSpec) -> Iterator[Mistake]:
    for check, words, name in ((week, window.when, ".when"), (zone, window.zone, ".zone")):
        try:
            check(words)
        except ValueError as error:
            yield name, str(error)
    if window.min is None and window.max is None:
        yield "", "changes nothing: say min or max"
    low, high = (spec.min if window.min is None else window.min), (spec.max if window.max is None else window.max)
    if not 0 <= low <= high <= spec.max or high < 1:
        yield "", f"has from {low} to {high} agents, but must stay within 0 and max ({spec.max})"
