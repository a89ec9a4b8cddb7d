"""Figures over the history: how much ended how, and how long it took, in all and by capability, layer and pool.

Percentiles are exact (nearest rank), counted by the database with window functions, which SQLite and PostgreSQL share. The cost
is that of the tasks that ended since then, so callers ask for hours or days and not for all time. Called by `history.py`.
"""

from collections.abc import Sequence
from typing import Any

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
    total = _groups(connection, since_ms, sa.literal("all", sa.Text))
    return Analytics(
        since_ms=since_ms,
        open=still_open,
        total=total[0] if total else _NOTHING,
        capabilities=_groups(connection, since_ms, tasks.c.capability),
        layers=_groups(connection, since_ms, tasks.c.layer),
        pools=_groups(connection, since_ms, _POOL),
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


def _groups(connection: sa.Connection, since_ms: int, by: sa.ColumnElement[Any]) -> list[Group]:
    """Return a group for each value of `by`, by name; tasks that have none there belong to no group."""
    ended = (
        sa.select(by.label("name"), tasks.c.state, (tasks.c.finished_ms - tasks.c.started_ms).label("took_ms"))
        .where(tasks.c.finished_ms >= since_ms, by.is_not(None))
        .cte("ended")
    )
    within: dict[str, Any] = {"partition_by": [ended.c.name, ended.c.state]}
    ranked = sa.select(
        ended,
        sa.func.row_number().over(**within, order_by=ended.c.took_ms).label("rank"),
        sa.func.count().over(**within).label("of"),
    ).cte("ranked")

    def percentile(share: float) -> sa.ColumnElement[Any]:
        return sa.func.min(sa.case((ranked.c.rank >= ranked.c.of * share, ranked.c.took_ms)))

    query = (
        sa.select(
            ranked.c.name, ranked.c.state, sa.func.count(), sa.func.avg(ranked.c.took_ms), percentile(0.5), percentile(0.99)
        )
        .group_by(ranked.c.name, ranked.c.state)
        .order_by(ranked.c.name)
    )
    found: dict[str, dict[str, Any]] = {}
    rows: Sequence[Any] = connection.execute(query).all()
    for name, state, *figures in rows:
        found.setdefault(name, {})[state] = figures
    return [_group(name, states) for name, states in found.items()]


def _group(name: str, states: dict[str, Any]) -> Group:
    succeeded, mean, p50, p99 = states.get(_SUCCEEDED, (0, None, None, None))
    failed = states[_FAILED][0] if _FAILED in states else 0
    return Group(
        name=name,
        succeeded=succeeded,
        failed=failed,
        cancelled=states[_CANCELLED][0] if _CANCELLED in states else 0,
        success_rate=succeeded / (succeeded + failed) if succeeded + failed else None,
        mean_s=_seconds(mean),
        p50_s=_seconds(p50),
        p99_s=_seconds(p99),
    )


def _seconds(milliseconds: Any) -> float | None:
    return None if milliseconds is None else float(milliseconds) / 1000
