"""How many agents a pool is to have: pure, for the autoscaler, simulators and tests.

Signals recommend a size (`scaling_signals.py`); a pool follows a recommendation when it has stood for as long as its pace says:
it grows to the least that was recommended lately, and shrinks to the most. Since what it grew to was recommended when it grew, it
can't shrink below that before the time has passed, and the other way round: so it never goes up, down and up again within the
windows, whatever the load does. The ways round that are few: bounds hold at once, and a pool without agents gets some
as soon as something waits. After Kubernetes' HorizontalPodAutoscaler (KEP-853), whose windows and policies these are.
"""

from math import ceil, floor
from typing import NamedTuple

import msgspec

from amas.core.scaling_history import (
    At,
    ScalingMemory,
    least_since,
    looked,
    most_since,
    recommended,
    resized,
)
from amas.core.scaling_signals import signals
from amas.core.windows import holds
from amas.model.scaling import (
    Observation,
    PoolScaling,
    ScalingDecision,
    ScalingPace,
    ScalingSpec,
    ScalingStep,
    Signal,
)

STEPS_KEPT = 10
"""Of the last changes, for people to look at."""


class Turn(NamedTuple):
    """A decision, and what is to be remembered with it."""

    decision: ScalingDecision
    memory: ScalingMemory


class _Bounds(NamedTuple):
    """Between which sizes a pool may be now."""

    low: int
    high: int
    grow_to: int
    """It doesn't grow beyond this, but needn't shrink to it."""
    least: str
    """Why there are no fewer."""
    most: str
    """Why there are no more."""


def decide(  # noqa: PLR0913  one for each thing that it follows from
    spec: ScalingSpec,
    memory: ScalingMemory,
    seen: Observation,
    *,
    replicas: int,
    slots: int = 1,
    room: int | None = None,
    agent_usd_per_hour: float | None = None,
) -> Turn:
    """Return the size of a pool that has `replicas` agents now, each with `slots` tasks at a time.

    `room`: agents that the fleet's limit leaves beyond those; None for no limit. `agent_usd_per_hour`: what was learned, for a
    pool that doesn't declare it. cost: a few dozen microseconds.
    """
    memory = looked(memory, seen, replicas, spec)
    found = signals(spec, memory, seen, replicas=replicas, slots=slots)
    bounds = _bounds(spec, seen.at_ms, replicas, room=room, usd=spec.agent_usd_per_hour or agent_usd_per_hour)
    return _settled(spec, memory, found, replicas, bounds)


def settled(spec: ScalingSpec, memory: ScalingMemory, found: tuple[Signal, ...], size: int, *, what: str) -> Turn:
    """Return the size of something else that is `size` of `what` now, such as hosts, by the same bounds, windows and paces.

    `memory`: after this look at it. `found`: what its signals ask for, the neediest first.
    """
    return _settled(spec, memory, found, size, _bounds(spec, memory.seen_ms, size, room=None, usd=None), what=what)


def _settled(
    spec: ScalingSpec, memory: ScalingMemory, found: tuple[Signal, ...], before: int, bounds: _Bounds, *, what: str = "agent"
) -> Turn:
    at_ms, asked = memory.seen_ms, _asked(spec, found, before)
    wanted = min(max(asked, bounds.low), bounds.grow_to)
    memory = recommended(memory, At(at_ms, wanted), spec)
    replicas, why = _moved(spec, memory, wanted, before)
    if replicas == 0 < before and not (memory.idle_ms and at_ms - memory.idle_ms >= spec.idle_s * 1000):
        replicas, why = 1, f"the last one goes after {spec.idle_s:g} s without work"
    replicas, why = _held(bounds, replicas, asked, why)
    if replicas != before:
        memory = resized(memory, At(at_ms, replicas))
    reason = _sentence(before, replicas, asked, found[0], why, what=what)
    return Turn(ScalingDecision(at_ms=at_ms, before=before, replicas=replicas, reason=reason, signals=found), memory)


def viewed(made: ScalingDecision, before: PoolScaling | None, now: PoolScaling) -> PoolScaling:
    """Return what people are shown after a decision: `now` with the changes that were made, or advised, so far.

    It was carried out where `now` has the size that was decided on.
    """
    applied = not now.recommend_only and not now.pinned_by
    steps, grown, shrunk = (before.steps, before.grown, before.shrunk) if before else ((), 0, 0)
    new_advice = now.recommend_only and made.replicas != (before.recommended if before else made.before)
    if made.replicas != made.before and (applied or new_advice):
        step = ScalingStep(at_ms=made.at_ms, before=made.before, replicas=made.replicas, reason=made.reason)
        steps = (step, *steps)[:STEPS_KEPT]
    if applied:
        grown, shrunk = grown + (made.replicas > made.before), shrunk + (made.replicas < made.before)
    return msgspec.structs.replace(
        now,
        recommended=made.replicas,
        reason=made.reason,
        at_ms=made.at_ms,
        signals=made.signals,
        steps=steps,
        grown=grown,
        shrunk=shrunk,
    )


def _asked(spec: ScalingSpec, found: tuple[Signal, ...], replicas: int) -> int:
    """Return the size that the neediest signal asks for; one that is only a little off is no reason to change."""
    agents = found[0].agents
    return replicas if abs(agents - replicas) <= spec.tolerance * replicas else agents


def _bounds(spec: ScalingSpec, at_ms: int, replicas: int, *, room: int | None, usd: float | None) -> _Bounds:
    held = [window for window in spec.windows if holds(window.when, window.zone, at_ms)]
    low = max((window.min for window in held if window.min is not None), default=spec.min)
    high = min((window.max for window in held if window.max is not None), default=spec.max)
    low = min(low, high)
    least = f"{low} are to be there at least" + ("" if low == spec.min else " at this time")
    grow_to, most = high, f"no more than {high} are allowed" + ("" if high == spec.max else " at this time")
    if spec.usd_per_hour is not None and usd and (paid := floor(spec.usd_per_hour / usd)) < grow_to:
        grow_to, most = paid, f"{spec.usd_per_hour:g} USD an hour pay for {paid} at {usd:.3g} USD each"
    if room is not None and replicas + room < grow_to:
        grow_to, most = replicas + room, "the fleet has no room for more (max_total_agents)"
    return _Bounds(low, high, max(grow_to, low, min(replicas, high)), least, most)


def _held(bounds: _Bounds, replicas: int, asked: int, why: str) -> tuple[int, str]:
    """Return the size within the bounds, which hold at once, and why it isn't another."""
    if replicas < bounds.low or (replicas == bounds.low and asked < replicas):
        return bounds.low, bounds.least
    if replicas > bounds.high or (replicas == bounds.grow_to and asked > replicas):
        return min(replicas, bounds.high), bounds.most
    return replicas, why


def _moved(spec: ScalingSpec, memory: ScalingMemory, wanted: int, size: int) -> tuple[int, str]:
    """Return the size after as much of a move as windows, pace and cool-downs allow, and why it isn't another."""
    if size == 0 and wanted:
        return min(wanted, _up_to(spec.up, memory)), f"it had none, and {_pace_words(spec.up)}"
    lowest, highest = memory.lows[0].agents, memory.highs[0].agents
    if lowest > size:
        return _step(spec.up, memory, size, min(lowest, max(_up_to(spec.up, memory), size)), lowest)
    if highest < size:
        return _step(spec.down, memory, size, max(highest, min(_down_to(spec.down, memory), size)), highest)
    if wanted > size:
        return size, f"more have to be asked for during {spec.up.after_s:g} s"
    return size, f"{highest} were asked for within {spec.down.after_s:g} s" if wanted < size else ""


def _step(pace: ScalingPace, memory: ScalingMemory, size: int, reached: int, wanted: int) -> tuple[int, str]:
    since_s = (memory.seen_ms - memory.sizes[-1].at_ms) / 1000
    if since_s < pace.cooldown_s:
        return size, f"its size was changed {since_s:.0f} s ago, and it rests for {pace.cooldown_s:g} s"
    return reached, "" if reached == wanted else _pace_words(pace)


def _up_to(pace: ScalingPace, memory: ScalingMemory) -> int:
    base = least_since(memory.sizes, memory.seen_ms - round(pace.every_s * 1000))
    return max(base + pace.count, floor(base * (1 + pace.percent / 100)))


def _down_to(pace: ScalingPace, memory: ScalingMemory) -> int:
    base = most_since(memory.sizes, memory.seen_ms - round(pace.every_s * 1000))
    return max(0, min(base - pace.count, ceil(base * (1 - pace.percent / 100))))


def _pace_words(pace: ScalingPace) -> str:
    percent = f" or {pace.percent:g} %" if pace.percent else ""
    return f"it may change by {pace.count}{percent} in {pace.every_s:g} s"


def _sentence(before: int, after: int, asked: int, signal: Signal, why: str, *, what: str) -> str:
    moves = f"{'grows' if after > before else 'shrinks'} from {before} to {after}"
    near = "" if asked == signal.agents else ", near enough"
    takes = f"{signal.agents} {what}{'' if signal.agents == 1 else 's'}"
    said = f"{f'stays at {after}' if after == before else moves}: {signal.words}, which takes {takes}{near}"
    return f"{said}; {why}" if why else said
