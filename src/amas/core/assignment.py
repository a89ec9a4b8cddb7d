"""Which pools' specialists a plan's tasks go to, all tasks at once.

A task, and each capability that it is known to spawn, goes to a pool that can do it: the one that is done with its share
soonest, largest tasks first (Graham's LPT rule), then the cheaper one. So a pool of five gets five times what a pool of one gets.
It is what the plan is checked with: nobody for a task, or a pool that is busy beyond the goal's deadline, refuses it. At run time
work is pulled, and a pool that is slower than declared gets less. Called by the coordinator's check and `amas plan`. Pure; a task
costs a logarithm of the pools that can do it.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heapreplace

import msgspec

from amas.core.estimate import amounts_of
from amas.model.fleet import PoolSpec
from amas.model.flow import BUILT_IN
from amas.model.goal import SubTask
from amas.model.limits import Amounts

UNIT_S = 1.0
"""What a task counts for whose time nobody declares: all alike, so that pools get work by their size."""


class Crew(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as an assignment sees it."""

    pool: str
    capabilities: tuple[str, ...]
    slots: int
    """Tasks at a time: agents times tasks of each."""
    usd: float = 0.0
    """What one attempt costs."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Who does what."""

    pools: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """By task: the pool that it goes to, then one for each capability that it spawns."""
    unassigned: tuple[str, ...] = ()
    """Keys of tasks for which there is nobody."""
    busiest: str = ""
    """The pool that is busy longest with this plan, as far as times are declared; empty where none is."""
    busiest_s: float = 0.0
    """Seconds that it is busy at least, all its agents at work."""


def crews_of(pools: Iterable[PoolSpec]) -> tuple[Crew, ...]:
    """Return the crews of a fleet's pools."""
    return tuple(
        Crew(
            pool=pool.name,
            capabilities=pool.capabilities,
            slots=max(1, pool.replicas * pool.tasks_per_agent),
            usd=(pool.estimate.usd or 0.0) if pool.estimate else 0.0,
        )
        for pool in pools
    )


def assigned(tasks: Sequence[SubTask], crews: Sequence[Crew], estimates: Mapping[str, Amounts]) -> Assignment:
    """Return the pools that `tasks` go to; `estimates` are by queue."""
    able: dict[str, list[tuple[float, float, str]]] = {}
    slots = {crew.pool: crew.slots for crew in crews}
    for crew in crews:
        for queue in (*crew.capabilities, f"@{crew.pool}"):
            able.setdefault(queue, []).append((0.0, crew.usd, crew.pool))
    for waiting in able.values():
        heapify(waiting)
    load_s = dict.fromkeys(slots, 0.0)
    declared_s = dict.fromkeys(slots, 0.0)
    shares: list[tuple[float, int, int, str]] = []  # seconds, task, place in the task, queue
    for index, task in enumerate(tasks):
        if task.kind == "work" and task.capability not in BUILT_IN:
            each = amounts_of(task, estimates)
            queues = (f"@{task.pool}" if task.pool else task.capability, *task.spawns)
            shares += [
                (amounts.agent_s or 0.0, index, place, queue)
                for place, (queue, amounts) in enumerate(zip(queues, each, strict=True))
            ]
    pools: dict[int, dict[int, str]] = {}
    nobody: dict[str, None] = {}
    for seconds, index, place, queue in sorted(shares, key=lambda share: -share[0]):
        waiting = able.get(queue, [])
        if not waiting:
            if place == 0:  # what a lead may spawn is its own business: it leaves out what nobody can do
                nobody[tasks[index].key] = None
            continue
        pool = _soonest(waiting, load_s, slots)
        load_s[pool] += seconds or UNIT_S
        declared_s[pool] += seconds
        pools.setdefault(index, {})[place] = pool
    busiest = max(declared_s, key=lambda pool: declared_s[pool] / slots[pool], default="")
    busiest_s = declared_s[busiest] / slots[busiest] if busiest else 0.0
    return Assignment(
        pools={tasks[index].key: tuple(pool for _, pool in sorted(places.items())) for index, places in sorted(pools.items())},
        unassigned=tuple(nobody),
        busiest=busiest if busiest_s else "",
        busiest_s=busiest_s,
    )


def assignment_problems(found: Assignment, *, deadline_s: float) -> list[str]:
    """Return a sentence for each reason why a plan can't be done by those whom it is assigned to; `deadline_s` 0 for none."""
    problems = [f"there is nobody for task {key!r}" for key in found.unassigned]
    if deadline_s and found.busiest_s > deadline_s:
        problems.append(
            f"the pool {found.busiest!r} is busy with the plan for at least {found.busiest_s:g} s, "
            f"over the deadline of {deadline_s:g} s"
        )
    return problems


def _soonest(waiting: list[tuple[float, float, str]], load_s: Mapping[str, float], slots: Mapping[str, int]) -> str:
    """Return the pool that is done first. A pool stands in several heaps, so what is on top may have got more meanwhile."""
    while True:
        known, usd, pool = waiting[0]
        until_s = load_s[pool] / slots[pool]
        if known == until_s:
            return pool
        heapreplace(waiting, (until_s, usd, pool))
