"""Figures over the history: how much ended how, and how long it took, in all and by capability, layer and pool.

Percentiles are exact (nearest rank). The database counts the tasks that are alike, in one pass; the rest is arithmetic. The cost
is that of the tasks that ended since then, so callers ask for hours or days and not for all time. Called by `history.py`.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import sqlalchemy as sa

from amas.model.states import TaskState
from amas.records.tables import OPEN, attempts, tasks
from amas.records.views import Analytics, Group

_SUCCEEDED, _FAILED, _CANCELLED = (state.value for state in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED))
_POOL = sa.func.rtrim(sa.func.rtrim(tasks.c.agent_id, "0123456789"), "-")  # agents are `pool-1`, `pool-2`, ...


def analyse(connection: sa.Connection, since_ms: int) -> Analytics:
    """Return the figures of what ended at `since_ms` or later."""
    counted = sa.select(tasks.c.state, sa.func.count()).where(OPEN).group_by(tasks.c.state)
    rows: Sequence[Any] = connection.execute(counted).all()
    still_open = {TaskState(name): count for name, count in rows}
    found = _Found({}, {}, {}, {})
    alike: Sequence[Any] = connection.execute(_alike(since_ms)).all()
    for capability, layer, pool, state, took_ms, count in alike:
        for groups, name in zip(found, ("all", capability, layer, pool), strict=True):
            if name is not None:
                groups.setdefault(name, {}).setdefault(state, Counter())[took_ms] += count
    total, capabilities, layers, pools = ([_group(name, groups[name]) for name in sorted(groups)] for groups in found)
    return Analytics(
        since_ms=since_ms,
        open=still_open,
        total=total[0] if total else _NOTHING,
        capabilities=capabilities,
        layers=layers,
        pools=pools,
    )


def mean_of_newest(connection: sa.Connection, since_ms: int, *, limit: int) -> float | None:
    """Return the mean seconds of those that succeeded of the newest `limit` tasks that ended since a time, or None."""
    newest = (
        sa.select(tasks.c.state, (tasks.c.finished_ms - tasks.c.started_ms).label("took_ms"))
        .where(tasks.c.finished_ms >= since_ms)
        .order_by(tasks.c.finished_ms.desc())
        .limit(limit)
        .subquery()
    )
    mean = sa.select(sa.func.avg(newest.c.took_ms)).where(newest.c.state == _SUCCEEDED)
    return _seconds(connection.execute(mean).scalar())


def work_of(connection: sa.Connection, agent_id: str) -> tuple[int, int]:
    """Return how many tasks an agent has done, and how many of its attempts failed, found by the agent's indexes."""
    here = attempts.c.task_id == tasks.c.id, attempts.c.attempt == tasks.c.attempt
    succeeded = sa.select(sa.func.count()).where(tasks.c.agent_id == agent_id, tasks.c.state == _SUCCEEDED)
    in_tasks = sa.select(sa.func.count()).where(tasks.c.agent_id == agent_id, tasks.c.state == _FAILED, ~sa.exists().where(*here))
    in_attempts = sa.select(sa.func.count()).where(attempts.c.agent_id == agent_id, attempts.c.state == _FAILED)
    row = connection.execute(
        sa.select(succeeded.scalar_subquery(), (in_tasks.scalar_subquery() + in_attempts.scalar_subquery()))
    ).one()
    return row[0], row[1]


_NOTHING = Group(name="all", succeeded=0, failed=0, cancelled=0, success_rate=None, mean_s=None, p50_s=None, p99_s=None)


Times = Counter[int | None]
"""How many tasks took so many milliseconds; None for those that never began."""


class _Found(NamedTuple):
    """Times by state, by the names of groups."""

    all: dict[str, dict[str, Times]]
    capabilities: dict[str, dict[str, Times]]
    layers: dict[str, dict[str, Times]]
    pools: dict[str, dict[str, Times]]


def _alike(since_ms: int) -> sa.Select[Any]:
    """Return a query of how many tasks ended that are alike in all that groups and percentiles are made of: one pass for all."""
    took_ms = (tasks.c.finished_ms - tasks.c.started_ms).label("took_ms")
    ended = sa.select(tasks.c.capability, tasks.c.layer, _POOL.label("pool"), tasks.c.state, took_ms)
    rows = ended.where(tasks.c.finished_ms >= since_ms).subquery()  # by columns: PostgreSQL groups by no parameter
    return sa.select(*rows.c, sa.func.count()).group_by(*rows.c)


def _group(name: str, states: dict[str, Times]) -> Group:
    counts = {state: times.total() for state, times in states.items()}
    succeeded, failed = counts.get(_SUCCEEDED, 0), counts.get(_FAILED, 0)
    taken = sorted((took_ms, count) for took_ms, count in states.get(_SUCCEEDED, Times()).items() if took_ms is not None)
    timed = sum(count for _, count in taken)
    return Group(
        name=name,
        succeeded=succeeded,
        failed=failed,
        cancelled=counts.get(_CANCELLED, 0),
        success_rate=succeeded / (succeeded + failed) if succeeded + failed else None,
        mean_s=_seconds(sum(took_ms * count for took_ms, count in taken) / timed) if timed else None,
        p50_s=_percentile(taken, 0.5 * timed),
        p99_s=_percentile(taken, 0.99 * timed),
    )


def _percentile(taken: Sequence[tuple[int, int]], rank: float) -> float | None:
    """Return the seconds of the first whose rank, from 1 on, is this one or above; None of nothing."""
    for (took_ms, _), reached in zip(taken, accumulate(count for _, count in taken), strict=True):
        if reached >= rank:
            return _seconds(took_ms)
    return None


def _seconds(milliseconds: Any) -> float | None:
    return None if milliseconds is None else float(milliseconds) / 1000
