"""What is remembered of a pool between two decisions about its size, and what can be told from it. Pure.

All of it is bounded: sizes and recommendations as far back as the declared windows reach, arrivals for twenty minutes.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from amas.model.scaling import Observation, ScalingSpec

INTERVAL_MS = 30_000
"""Of arrivals: long enough for a rate, short enough to see a morning begin."""
MARKS_KEPT = 40
GAP_MS = 60_000
"""After a longer silence what was called for before counts for nothing: the windows begin anew."""


class Mark(NamedTuple):
    """What had arrived by a time, what waited and what ran then."""

    at_ms: int
    arrived: int
    backlog: int
    running: int


class At(NamedTuple):
    """A number of agents at a time."""

    at_ms: int
    agents: int


class ScalingMemory(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of one pool."""

    seen_ms: int = 0
    """Of the last look; 0 before the first."""
    empty_ms: int = 0
    """When its queues were last seen empty."""
    idle_ms: int = 0
    """Since when it had nothing to do; 0 while it has."""
    highs: tuple[At, ...] = ()
    """The largest recommendations since each time, falling: the first one that is young enough is the most of a window."""
    lows: tuple[At, ...] = ()
    """The smallest, rising."""
    sizes: tuple[At, ...] = ()
    """Which size it had since when."""
    marks: tuple[Mark, ...] = ()
    roomy_ms: int = 0
    """Since when a lower memory limit would have done; 0 where it wouldn't."""


def looked(memory: ScalingMemory, seen: Observation, replicas: int, spec: ScalingSpec) -> ScalingMemory:
    """Return the memory after a look at a pool of `replicas` agents, before anything is recommended."""
    now = seen.at_ms
    sizes, idle = memory.sizes, not (seen.waiting or seen.running or seen.messages)
    fresh = not sizes or now - memory.seen_ms > GAP_MS or sizes[-1].agents != replicas
    if not sizes or sizes[-1].agents != replicas:
        sizes = (*sizes, At(now, replicas))
    remembered = msgspec.structs.replace(
        memory,
        seen_ms=now,
        empty_ms=memory.empty_ms if seen.backlog else now,
        idle_ms=(memory.idle_ms or now) if idle else 0,
        sizes=_since(sizes, now - round(1000 * max(spec.up.every_s, spec.down.every_s))),
        marks=_marked(memory.marks, seen),
    )
    return recommended(remembered, At(now, replicas), spec) if fresh else remembered


def recommended(memory: ScalingMemory, made: At, spec: ScalingSpec) -> ScalingMemory:
    """Return the memory with one recommendation more."""
    high_from, low_from = (made.at_ms - round(1000 * pace.after_s) for pace in (spec.down, spec.up))
    highs = [at for at in memory.highs if at.at_ms >= high_from and at.agents > made.agents]
    lows = [at for at in memory.lows if at.at_ms >= low_from and at.agents < made.agents]
    return msgspec.structs.replace(memory, highs=(*highs, made), lows=(*lows, made))


def resized(memory: ScalingMemory, size: At) -> ScalingMemory:
    """Return the memory of a pool that has another size now."""
    return msgspec.structs.replace(memory, sizes=(*memory.sizes, size))


def least_since(sizes: Sequence[At], from_ms: int) -> int:
    """Return the smallest size that a pool had at any time since."""
    return min(at.agents for at in _since(sizes, from_ms))


def most_since(sizes: Sequence[At], from_ms: int) -> int:
    """Return the largest size that a pool had at any time since."""
    return max(at.agents for at in _since(sizes, from_ms))


def oldest_s(memory: ScalingMemory, seen: Observation) -> float | None:
    """Return how many seconds the task at the head has waited, as if each queue were served in the order of arrival.

    Queues are ordered by fair share, so no task is asked: what has left was there before what is left. None while nobody counts.
    """
    if seen.arrived is None:
        return None
    if not seen.backlog:
        return 0.0
    left = seen.arrived - seen.backlog
    came_ms = memory.marks[0].at_ms if memory.marks else seen.at_ms
    points = [*((mark.at_ms, mark.arrived) for mark in memory.marks), (seen.at_ms, seen.arrived)]
    for (from_ms, before), (to_ms, after) in pairwise(points):
        if before <= left < after:
            came_ms = round(from_ms + (to_ms - from_ms) * (left - before + 0.5) / (after - before))
            break
    return max(0, seen.at_ms - max(came_ms, memory.empty_ms)) / 1000


def arrivals(marks: Sequence[Mark]) -> list[float]:
    """Return how many tasks arrived in each interval of `INTERVAL_MS`, the oldest first."""
    return [(after.arrived - before.arrived) * INTERVAL_MS / (after.at_ms - before.at_ms) for before, after in pairwise(marks)]


def service_s(marks: Sequence[Mark]) -> float | None:
    """Return how many seconds an agent works on a task, by Little's law; None when none was begun."""
    if not marks:
        return None
    first, last = marks[0], marks[-1]
    begun = (last.arrived - last.backlog) - (first.arrived - first.backlog)
    if begun <= 0:
        return None
    busy_ms = sum((after.at_ms - before.at_ms) * (before.running + after.running) / 2 for before, after in pairwise(marks))
    return busy_ms / begun / 1000


def _marked(marks: tuple[Mark, ...], seen: Observation) -> tuple[Mark, ...]:
    if seen.arrived is None or (marks and seen.arrived < marks[-1].arrived):  # the engine began anew
        marks = ()
    if seen.arrived is None or (marks and seen.at_ms - marks[-1].at_ms < INTERVAL_MS):
        return marks
    return (*marks[1 - MARKS_KEPT :], Mark(seen.at_ms, seen.arrived, seen.backlog, seen.running))


def _since(sizes: Sequence[At], from_ms: int) -> tuple[At, ...]:
    """Return the sizes from the one that stood at `from_ms` on."""
    first = max((index for index, at in enumerate(sizes) if at.at_ms <= from_ms), default=0)
    return tuple(sizes[first:])
