"""Figures over the history: how much ended how, and how long it took, in all and by capability, layer and pool.

They are read from what is kept of how tasks ended (`outcomes.py`): counts and means are exact, percentiles (nearest rank) are to
within a sixty-fourth of themselves. Of what lies at the window's begin, less than ten minutes, and of what the sums don't reach
back to, the tasks themselves are read. Called by `history.py` and, for the outcomes, by `report.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from amas.model.states import TaskState
from amas.records.costs import SUMMED_FROM
from amas.records.ended import FOREVER_MS
from amas.records.outcomes import FINE_MS, Outcome, Outcomes, add_rows, decode_outcome, middle_ms
from amas.records.sums import DAY_MS
from amas.records.tables import OPEN, attempts, outcome_sums, tasks
from amas.records.views import Analytics, Group

Names = tuple[str, str, str]
"""A capability, a layer and a pool; each empty for none."""

_SUCCEEDED, _FAILED = (state.value for state in (TaskState.SUCCEEDED, TaskState.FAILED))


def analyse(connection: sa.Connection, since_ms: int) -> Analytics:
    """Return the figures of what ended at `since_ms` or later."""
    counted = sa.select(tasks.c.state, sa.func.count()).where(OPEN).group_by(tasks.c.state)
    rows: Sequence[Any] = connection.execute(counted).all()
    found = outcomes_since(connection, since_ms)
    total = added(found, lambda _: "all")
    return Analytics(
        since_ms=since_ms,
        open={TaskState(name): count for name, count in rows},
        total=_group("all", total.get("all", Outcome())),
        capabilities=_groups(found, 0),
        layers=_groups(found, 1),
        pools=_groups(found, 2),
    )


def outcomes_since(connection: sa.Connection, since_ms: int) -> dict[Names, Outcome]:
    """Return what the tasks come to that ended at `since_ms` or later."""
    summed_from_ms = connection.execute(SUMMED_FROM).scalar()
    from_ms = max(since_ms, FOREVER_MS if summed_from_ms is None else summed_from_ms)
    from_ms += -from_ms % FINE_MS
    rest = Outcomes()
    add_rows(connection, rest, since_ms, from_ms)
    found: dict[Names, Outcome] = {}
    for (_, _, *own), outcome in rest.settled()[0].items():
        _add(found, tuple(own), outcome)
    for names, outcome in _kept(connection, from_ms):
        _add(found, names, outcome)
    return found


def _kept(connection: sa.Connection, from_ms: int) -> Iterator[tuple[Names, Outcome]]:
    """Yield the sums of whole spans since a time: the days' from the first whole one on."""
    day_ms, kept = from_ms + -from_ms % DAY_MS, outcome_sums.c
    query = sa.select(kept.capability, kept.layer, kept.pool, kept.sums)
    for span_ms, first_ms, last_ms in ((FINE_MS, from_ms, day_ms), (DAY_MS, day_ms, FOREVER_MS)):
        these = query.where(kept.span_ms == span_ms, kept.at_ms >= first_ms, kept.at_ms < last_ms)
        rows: Iterable[Any] = connection.execute(these)
        for capability, layer, pool, stored in rows:
            yield (capability, layer, pool), decode_outcome(stored)


def added(found: Mapping[Names, Outcome], name: Callable[[Names], str]) -> dict[str, Outcome]:
    """Return the outcomes added up by what `name` makes of theirs."""
    sums: dict[str, Outcome] = {}
    for names, outcome in found.items():
        _add(sums, name(names), outcome)
    return sums


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


def _add(sums: dict[Any, Outcome], key: Any, outcome: Outcome) -> None:
    held = sums.get(key)
    if held is None:
        held = sums[key] = Outcome()
    held.add(outcome)


def _groups(found: Mapping[Names, Outcome], place: int) -> list[Group]:
    """Return the figures by capability, layer or pool, in order; those without one are in none."""
    sums = added(found, lambda names: names[place])
    return [_group(name, outcome) for name, outcome in sorted(sums.items()) if name and _tasks(outcome)]


def _tasks(outcome: Outcome) -> int:
    return outcome.succeeded + outcome.failed + outcome.cancelled


def _group(name: str, outcome: Outcome) -> Group:
    taken = [(middle_ms(bucket), count) for bucket, count in sorted(outcome.took.items())]
    timed = sum(outcome.took.values())
    succeeded, failed = outcome.succeeded, outcome.failed
    return Group(
        name=name,
        succeeded=succeeded,
        failed=failed,
        cancelled=outcome.cancelled,
        success_rate=succeeded / (succeeded + failed) if succeeded + failed else None,
        mean_s=_seconds(outcome.took_ms / timed) if timed else None,
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
