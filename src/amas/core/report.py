"""How a fleet did in a window of time: the arithmetic of `amas report`, from counts that the records add up.

The window is cut into slots of a second (longer in windows of over a day). A stretch of time comes as the slots that it touches
or covers, so a million short tasks are a few thousand numbers. Called by `server/reporting.py`; what availability means is said
in `model/report.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from amas.model.healing import CAUSES, Recovery
from amas.model.report import Availability, FamilyFigures, Outage, RecoveryTimes, ReportPoint, ResponseTimes, TaskCounts

SLOTS_MAX = 86_400
"""A day of seconds: a tenth of a second of arithmetic."""
POINTS = 60
"""Of the timeline: as many as a plot of a page's width shows apart."""
OUTAGES_MAX = 20


class Slots(NamedTuple):
    """How a window is cut up."""

    from_ms: int
    to_ms: int
    slot_ms: int

    @property
    def total(self) -> int:
        """How many there are; the last one may end beyond the window."""
        return -(-(self.to_ms - self.from_ms) // self.slot_ms)


class Ended(NamedTuple):
    """Tasks that ended alike."""

    pool: str
    """Of the agent that had them last; empty where none had."""
    state: str
    response_ms: int
    """To within a sixty-fourth of itself; -1 where no agent had them, or it doesn't matter."""
    tasks: int
    busy_ms: int
    """Of their attempts, together."""


class Stretch(NamedTuple):
    """Tasks that were in the same state over the same slots."""

    first: int
    last: int
    """Included; before `first` where no slot is meant."""
    tasks: int


class PoolNow(NamedTuple):
    """A pool as it is declared and runs."""

    name: str
    family: str
    agents: int
    slots: int
    """Tasks that its agents take at a time."""


class Spent(NamedTuple):
    """What a pool's agents spent on models."""

    usd: float
    tokens: int


class Work(NamedTuple):
    """What the records say of a window."""

    slots: Slots
    first_ms: int
    """When the first task of all was accepted; 0 when none was."""
    accepted: int
    open: Mapping[str, int]
    ended: Sequence[Ended]
    succeeded: Sequence[int]
    """Tasks that ended so, by slot; so are the next three."""
    failed: Sequence[int]
    worked: Sequence[int]
    """Attempts that touched the slot which their hosts saw through, or which run."""
    asked: Sequence[int]
    """Tasks that could be claimed, or hung on a host that was lost, for the whole of each second of the slot."""
    spent: Mapping[str, Spent]
    """By pool; empty for what no agent spent."""


def slots_of(from_ms: int, to_ms: int) -> Slots:
    """Return a window cut into seconds of the clock, or multiples where these were too many; two reports cut alike agree."""
    seconds = -(-(to_ms - from_ms) // 1000)
    slot_ms = 1000 * max(1, -(-seconds // SLOTS_MAX))
    return Slots(from_ms // slot_ms * slot_ms, to_ms, slot_ms)


def availability(work: Work, recoveries: Iterable[Recovery]) -> Availability:
    """Return the share of the slots with work to do in which work was done, and the outages."""
    slots, away = work.slots, _away(recoveries, work.slots)
    down = _down(work, away)
    answered = sum(1 for busy, is_down in zip(work.worked, down, strict=True) if busy and not is_down)
    slot_s = slots.slot_ms / 1000
    return Availability(
        share=answered / (answered + sum(down)) if answered or any(down) else None,
        answered_s=answered * slot_s,
        down_s=sum(down) * slot_s,
        idle_s=(slots.total - answered - sum(down)) * slot_s,
        slot_s=slot_s,
        outages=tuple(_outages(down, away, slots)),
    )


def timeline(work: Work, recoveries: Iterable[Recovery]) -> tuple[ReportPoint, ...]:
    """Return the window in `POINTS` stretches, or as many as it has slots."""
    slots = work.slots
    down = _down(work, _away(recoveries, slots))
    width = max(1, -(-slots.total // POINTS))
    points = []
    for first in range(0, slots.total, width):
        these = slice(first, min(first + width, slots.total))
        points.append(
            ReportPoint(
                at_ms=slots.from_ms + first * slots.slot_ms,
                succeeded=sum(work.succeeded[these]),
                failed=sum(work.failed[these]),
                waiting=sum(work.asked[these]) / (these.stop - first),
                down_s=sum(down[these]) * slots.slot_ms / 1000,
            )
        )
    return tuple(points)


def task_counts(work: Work, *, checked: int, lost: Sequence[str]) -> TaskCounts:
    """Return what became of tasks."""
    by_state = _states(work.ended)
    return TaskCounts(
        accepted=work.accepted,
        succeeded=by_state["succeeded"],
        failed=by_state["failed"],
        cancelled=by_state["cancelled"],
        success_rate=_success(by_state),
        open={state: count for state, count in work.open.items() if count},
        checked=checked,
        lost=tuple(lost),
    )


def response(ended: Iterable[Ended]) -> ResponseTimes:
    """Return the percentiles (nearest rank) of those that succeeded."""
    found = sorted((each.response_ms, each.tasks) for each in ended if each.state == "succeeded" and each.response_ms >= 0)
    return ResponseTimes(
        p50_s=_percentile(found, 0.5), p99_s=_percentile(found, 0.99), max_s=found[-1][0] / 1000 if found else None
    )


def recovery_times(recoveries: Iterable[Recovery]) -> tuple[RecoveryTimes, ...]:
    """Return how long recoveries took, by cause; causes that never happened are left out."""
    by_cause: dict[str, list[Recovery]] = defaultdict(list)
    for each in recoveries:
        by_cause[each.cause].append(each)
    return tuple(
        RecoveryTimes(
            cause=cause,
            count=len(found),
            p50_s=_percentile(sorted((each.duration_ms, 1) for each in found), 0.5) or 0.0,
            max_s=max(each.duration_ms for each in found) / 1000,
            tasks=sum(each.tasks for each in found),
        )
        for cause in CAUSES
        if (found := by_cause.get(cause, []))
    )


def families(work: Work, pools: Iterable[PoolNow]) -> tuple[FamilyFigures, ...]:
    """Return what the pools of each family did and cost, by name; one that did nothing is listed, too."""
    now = {pool.name: pool for pool in pools}
    members: dict[str, set[str]] = defaultdict(set)
    for name in {*now, *(each.pool for each in work.ended if each.pool), *(name for name in work.spent if name)}:
        members[now[name].family if name in now else name].add(name)
    ended: dict[str, list[Ended]] = defaultdict(list)
    for each in work.ended:
        ended[each.pool].append(each)
    seconds = observed_s(work)
    return tuple(
        _family(
            family,
            sorted(names),
            [each for name in names for each in ended.get(name, ())],
            [now[name] for name in names if name in now],
            [work.spent[name] for name in names if name in work.spent],
            seconds,
        )
        for family, names in sorted(members.items())
    )


def utilisation(ended: Iterable[Ended], pools: Iterable[PoolNow], seconds: float) -> float | None:
    """Return the share of `seconds` for which the agents that there are now were busy; None without agents or time."""
    room_s = sum(pool.slots for pool in pools) * seconds
    return sum(each.busy_ms for each in ended) / 1000 / room_s if room_s else None


def observed_s(work: Work) -> float:
    """Return the seconds of the window since the fleet first accepted a task."""
    if not work.first_ms:
        return 0.0
    return max(0, work.slots.to_ms - max(work.slots.from_ms, work.first_ms)) / 1000


def _family(
    family: str, names: list[str], ended: list[Ended], pools: list[PoolNow], spent: list[Spent], seconds: float
) -> FamilyFigures:
    by_state = _states(ended)
    return FamilyFigures(
        family=family,
        pools=tuple(names),
        agents=sum(pool.agents for pool in pools),
        succeeded=by_state["succeeded"],
        failed=by_state["failed"],
        cancelled=by_state["cancelled"],
        success_rate=_success(by_state),
        p99_s=response(ended).p99_s,
        agent_s=sum(each.busy_ms for each in ended) / 1000,
        utilisation=utilisation(ended, pools, seconds),
        usd=sum(each.usd for each in spent),
        tokens=sum(each.tokens for each in spent),
    )


def _states(ended: Iterable[Ended]) -> Counter[str]:
    by_state = Counter[str]()
    for each in ended:
        by_state[each.state] += each.tasks
    return by_state


def _success(by_state: Mapping[str, int]) -> float | None:
    tried = by_state["succeeded"] + by_state["failed"]
    return by_state["succeeded"] / tried if tried else None


def _percentile(ordered: Sequence[tuple[int, int]], share: float) -> float | None:
    """Return the seconds that `share` of the tasks took at most, of (milliseconds, tasks) in order."""
    total = sum(tasks for _, tasks in ordered)
    reached = 0
    for took_ms, tasks in ordered:
        reached += tasks
        if reached >= total * share:
            return took_ms / 1000
    return None


def covered(stretches: Iterable[Stretch], count: int) -> list[int]:
    """Return how many tasks each of so many slots has."""
    changes = [0] * (count + 1)
    for first, last, tasks in stretches:
        begin, end = max(first, 0), min(last + 1, count)
        if begin < end:
            changes[begin] += tasks
            changes[end] -= tasks
    return list(accumulate(changes))[:count]


def _away(recoveries: Iterable[Recovery], slots: Slots) -> list[bool]:
    """Return which slots the engine was away for as a whole."""
    stretches = []
    for each in recoveries:
        if each.cause == "engine_away":
            begin_ms, end_ms = each.at_ms - each.duration_ms - slots.from_ms, each.at_ms - slots.from_ms
            stretches.append(Stretch(-(-begin_ms // slots.slot_ms), end_ms // slots.slot_ms - 1, 1))
    return [tasks > 0 for tasks in covered(stretches, slots.total)]


def _down(work: Work, away: Sequence[bool]) -> list[bool]:
    """Return which slots were down."""
    return [gone or (waiting > 0 and not busy) for gone, waiting, busy in zip(away, work.asked, work.worked, strict=True)]


def _outages(down: Sequence[bool], away: Sequence[bool], slots: Slots) -> list[Outage]:
    found: list[Outage] = []
    begun: int | None = None
    for slot, is_down in enumerate((*down, False)):
        if is_down and begun is None:
            begun = slot
        elif not is_down and begun is not None:
            at_ms, to_ms = (slots.from_ms + each * slots.slot_ms for each in (begun, slot))
            found.append(Outage(from_ms=at_ms, to_ms=min(to_ms, slots.to_ms), engine_away=any(away[begun:slot])))
            begun = None
    return sorted(found, key=lambda each: (each.from_ms - each.to_ms, each.from_ms))[:OUTAGES_MAX]
