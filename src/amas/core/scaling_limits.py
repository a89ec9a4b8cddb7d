"""How much memory a pool's isolated attempts may take: pure, for the autoscaler and its tests.

The limit goes up by a step as soon as an attempt takes more than a share of it, and back by a step when for a long time the lower
one would have done. A change rests on what was seen since the last one, and there is a cool-down after each, so it never flaps:
it can't go back before `back_s` has passed, nor up again within `cooldown_s`.
"""

from typing import NamedTuple

from amas.model.scaling import LimitView, ScalingStep, VerticalSpec

STEPS_KEPT = 10


class LimitSeen(NamedTuple):
    """What is seen of one pool's limit at a time."""

    at_ms: int
    declared_mb: int
    limit_mb: int
    """That holds now."""
    used_mb: int
    """The most that an attempt takes; 0 where none runs."""
    changed_ms: int
    """When the limit was changed last; 0 for never."""
    roomy_ms: int
    """Since when a step less would have done; 0 where it wouldn't, or nobody knows."""


class LimitTurn(NamedTuple):
    """The limit that is to be, why, and since when a step less would have done."""

    memory_mb: int
    reason: str
    roomy_ms: int


def decide_limit(rule: VerticalSpec, seen: LimitSeen) -> LimitTurn:
    """Return the memory limit that new attempts of a pool are to have."""
    limit = seen.limit_mb
    lower = max(seen.declared_mb, limit - rule.step_mb)
    roomy_ms = (max(seen.roomy_ms, seen.changed_ms) or seen.at_ms) if seen.used_mb <= rule.memory * lower < limit else 0
    roomy_ms = roomy_ms if limit > seen.declared_mb else 0
    used = f"attempts take up to {seen.used_mb} MiB of {limit}, {rule.memory:.0%} are meant" if seen.used_mb else "nothing runs"
    resting = bool(seen.changed_ms) and seen.at_ms - seen.changed_ms < rule.cooldown_s * 1000
    if seen.used_mb > rule.memory * limit:
        if limit >= rule.max_mb:
            return LimitTurn(limit, f"stays at {limit} MiB: {used}; no more than {rule.max_mb} are allowed", 0)
        if resting:
            return LimitTurn(limit, f"stays at {limit} MiB: {used}; {_rests(rule, seen)}", 0)
        higher = min(limit + rule.step_mb, rule.max_mb)
        return LimitTurn(higher, f"goes from {limit} to {higher} MiB: {used}", 0)
    if not roomy_ms or seen.at_ms - roomy_ms < rule.back_s * 1000:
        return LimitTurn(limit, f"stays at {limit} MiB: {used}", roomy_ms)
    if resting:
        return LimitTurn(limit, f"stays at {limit} MiB: {used}; {_rests(rule, seen)}", roomy_ms)
    return LimitTurn(lower, f"goes back from {limit} to {lower} MiB: that would have done for {rule.back_s:g} s", 0)


def limit_viewed(rule: VerticalSpec, seen: LimitSeen, turn: LimitTurn, before: LimitView | None, *, applied: bool) -> LimitView:
    """Return what people are shown after a decision."""
    steps, advised = (before.steps, before.recommended_mb) if before else ((), seen.limit_mb)
    if turn.memory_mb != seen.limit_mb and (applied or turn.memory_mb != advised):
        steps = (ScalingStep(at_ms=seen.at_ms, before=seen.limit_mb, replicas=turn.memory_mb, reason=turn.reason), *steps)[
            :STEPS_KEPT
        ]
    return LimitView(
        memory_mb=turn.memory_mb if applied else seen.limit_mb,
        declared_mb=seen.declared_mb,
        max_mb=rule.max_mb,
        used_mb=seen.used_mb,
        recommended_mb=turn.memory_mb,
        reason=turn.reason,
        steps=steps,
    )


def _rests(rule: VerticalSpec, seen: LimitSeen) -> str:
    return f"it was changed {(seen.at_ms - seen.changed_ms) / 1000:.0f} s ago, and rests for {rule.cooldown_s:g} s"
