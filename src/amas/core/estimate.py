"""What a plan will take: money, tokens, calls, agents' time and the longest way through it, before anything runs.

`estimated` adds up what sub-tasks and pools declare as their `estimate`. What nobody declares is unknown and is named so, never
counted as nothing in silence: every sum is what the goal takes at least. Called by the coordinator and `amas plan`. Pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from amas.model.fleet import PoolSpec
from amas.model.goal import Estimate, SubTask
from amas.model.limits import Amounts

AMOUNTS: dict[str, str] = {"usd": "USD", "tokens": "tokens", "calls": "calls", "agent_s": "s of agents' time"}
"""Each amount and its unit as people read it."""

_NOTHING = Amounts()


def estimates_of(pools: Iterable[PoolSpec]) -> dict[str, Amounts]:
    """Return by queue (`capability` or `@pool`) what one attempt takes; of pools that share one, the dearest of each amount."""
    found: dict[str, Amounts] = {}
    for pool in pools:
        if pool.estimate is not None:
            for queue in pool.queues:
                found[queue] = _joined(max, [found.get(queue, _NOTHING), pool.estimate])
    return found


def estimated(tasks: Sequence[SubTask], estimates: Mapping[str, Amounts]) -> Estimate:
    """Return what `tasks` take at least, one attempt each; `estimates` are by queue. The graph must be without cycles.

    What a sub-task spawns for sure (`spawns`) counts too, once for each capability and side by side in time.
    """
    shares = {task.key: _shares(task, estimates) for task in tasks}
    total = _joined(sum, (amounts for share in shares.values() for _, amounts in share))
    unknown = {
        name: tuple(sorted({who for share in shares.values() for who, amounts in share if getattr(amounts, name) is None}))
        for name in AMOUNTS
    }
    path, critical_s = _critical({task.key: task for task in tasks}, {key: _lasts(share) for key, share in shares.items()})
    timed = any(amounts.agent_s is not None for key in path for _, amounts in shares[key]) or critical_s > 0
    return Estimate(
        total=total,
        unknown={name: capabilities for name, capabilities in unknown.items() if capabilities},
        critical_path=path,
        critical_s=critical_s if timed else None,
    )


def over_budget(estimate: Estimate, budget: Amounts | None) -> list[str]:
    """Return a sentence for each amount of which the plan takes more than the budget; none when it fits."""
    if budget is None:
        return []
    return [
        f"the plan takes at least {needed:.12g} {unit}, over the budget of {allowed:.12g} {unit}"
        for name, unit in AMOUNTS.items()
        if (needed := getattr(estimate.total, name)) is not None
        and (allowed := getattr(budget, name)) is not None
        and needed > allowed
    ]


def amounts_of(task: SubTask, estimates: Mapping[str, Amounts]) -> list[Amounts]:
    """Return what one attempt at the task takes, then what each capability that it spawns takes; empty for a wait."""
    return [amounts for _, amounts in _shares(task, estimates)]


def _shares(task: SubTask, estimates: Mapping[str, Amounts]) -> list[tuple[str, Amounts]]:
    """Return what the task itself and each capability that it spawns take; the first is the task's own."""
    if task.kind != "work":
        return []
    declared = estimates.get(f"@{task.pool}" if task.pool else task.capability, _NOTHING)
    own = msgspec.structs.replace(declared, **_said(task.estimate or _NOTHING))
    return [(task.capability, own), *((each, estimates.get(each, _NOTHING)) for each in task.spawns)]


def _said(amounts: Amounts) -> dict[str, float]:
    return {name: value for name in AMOUNTS if (value := getattr(amounts, name)) is not None}


def _joined(join: Callable[[list[float]], float], each: Iterable[Amounts]) -> Amounts:
    """Return the sum, or the largest, of each amount; None where nobody says it."""
    values: dict[str, list[float]] = {}
    for amounts in each:
        for name, value in _said(amounts).items():
            values.setdefault(name, []).append(value)
    return msgspec.convert({name: join(some) for name, some in values.items()}, Amounts)


def _lasts(share: Sequence[tuple[str, Amounts]]) -> float:
    """Return a task's seconds: its own, and the longest of what it spawns."""
    seconds = [amounts.agent_s or 0.0 for _, amounts in share]
    return sum(seconds[:1]) + max(seconds[1:], default=0.0)


def _critical(tasks: Mapping[str, SubTask], lasts: Mapping[str, float]) -> tuple[tuple[str, ...], float]:
    """Return the keys of the chain that takes longest, and its seconds; of equal ones the chain with most tasks."""
    ends: dict[str, tuple[float, int, str]] = {}  # seconds and tasks up to its end, and who stands before it
    stack = list(tasks)
    while stack:
        key = stack[-1]
        before = [need for need in chain(tasks[key].needs, tasks[key].runs_after) if need in tasks]
        missing = [need for need in before if need not in ends]
        if missing:
            stack += missing
            continue
        stack.pop()
        until_s, length, last = max(((*ends[need][:2], need) for need in before), default=(0.0, 0, ""))
        ends[key] = until_s + tasks[key].delay_s + lasts[key], length + 1, last
    key = max(ends, key=lambda each: ends[each][:2], default="")
    seconds, path = (ends[key][0] if key else 0.0), []
    while key:
        path.append(key)
        key = ends[key][2]
    return tuple(reversed(path)), seconds
