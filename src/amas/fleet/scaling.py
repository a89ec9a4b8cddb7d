"""A pool's `scaling:` block, and the fleet's `hosts:`: from what its file says to what the autoscaler decides from."""

from collections.abc import Callable

import msgspec

from amas.fleet.declared import DeclaredHosts, DeclaredPace, DeclaredScaling, DeclaredVertical, Time
from amas.model.scaling import HostScaling, ScalingPace, ScalingSpec, ScalingTargets, VerticalSpec

DEFAULTS = ScalingSpec(max=1)
HOSTS_UP, HOSTS_DOWN = ScalingPace(count=1, after_s=60.0), ScalingPace(count=1, after_s=300.0)
"""A host is a whole process with thousands of agents: one at a time."""

Seconds = Callable[[Time, str], float]
"""Returns a time in seconds; the field is named where it is none."""


def scaling_spec(said: DeclaredScaling, at: str, seconds: Seconds) -> ScalingSpec:
    """Return what a block says; `at` is its place in the file."""
    targets = msgspec.structs.asdict(said.targets)
    oldest = targets.pop("oldest")
    return ScalingSpec(
        min=said.min,
        max=said.max,
        targets=ScalingTargets(**targets, oldest_s=None if oldest is None else seconds(oldest, f"{at}.targets.oldest")),
        up=_pace(said.up, DEFAULTS.up, f"{at}.up", seconds),
        down=_pace(said.down, DEFAULTS.down, f"{at}.down", seconds),
        tolerance=said.tolerance,
        idle_s=seconds(said.to_zero_after, f"{at}.to_zero_after"),
        windows=said.schedules,
        usd_per_hour=said.usd_per_hour,
        agent_usd_per_hour=said.agent_usd_per_hour,
        forecast=said.forecast,
        recommend_only=said.recommend_only,
        vertical=_vertical(said.vertical, f"{at}.vertical", seconds),
    )


def _vertical(said: DeclaredVertical | None, at: str, seconds: Seconds) -> VerticalSpec | None:
    if said is None:
        return None
    return VerticalSpec(
        memory=said.memory,
        step_mb=said.step_mb,
        max_mb=said.max_mb,
        cooldown_s=seconds(said.cooldown, f"{at}.cooldown"),
        back_s=seconds(said.back, f"{at}.back"),
    )


def host_scaling(said: DeclaredHosts, at: str, seconds: Seconds) -> HostScaling | None:
    """Return how the number of hosts follows load; None where it is fixed."""
    if said.max is None:
        return None
    spec = ScalingSpec(
        min=said.min,
        max=said.max,
        targets=ScalingTargets(cpu=said.cpu),
        up=_pace(said.up, HOSTS_UP, f"{at}.up", seconds),
        down=_pace(said.down, HOSTS_DOWN, f"{at}.down", seconds),
    )
    return HostScaling(agents=said.agents, scaling=spec)


def _pace(said: DeclaredPace, default: ScalingPace, at: str, seconds: Seconds) -> ScalingPace:
    """Return a pace: one that says by how much means that, and not the default's percent besides."""
    percent = said.percent if said.percent is not None else 0.0 if said.count is not None else default.percent
    times = {
        f"{name}_s": seconds(time, f"{at}.{name}")
        for name in ("every", "after", "cooldown")
        if (time := getattr(said, name)) is not None
    }
    count = default.count if said.count is None else said.count
    return msgspec.structs.replace(default, count=count, percent=percent, **times)
