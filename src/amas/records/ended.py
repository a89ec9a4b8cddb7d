"""Attempts that ended, wherever they stand: a first one that ended as its task did in the task's row, all others in their own.

The one place that says so in SQL: for what is added up from rows (`costs.py`), and for the sums that are kept (`sums.py`).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa

from amas.records.tables import attempts, costs, tasks

FOREVER_MS = 1 << 62


class Span(NamedTuple):
    """Which costs and attempts to add up."""

    since_ms: int = 0
    until_ms: int = FOREVER_MS
    tenant: str = ""
    workflow_id: str = ""
    task_id: str = ""
    agent_id: str = ""


def ended(span: Span, *more: Any, by_time: bool = True) -> Any:
    """Return attempts that ended within `span`: when, how, how long they took, and whose they were.

    `more`: conditions on `tasks`. Unless `by_time`, they aren't found by the indices on times, since another way is shorter.
    """
    whose = (tasks.c.id.label("task_id"), tasks.c.workflow_id, tasks.c.tenant)
    kept = sa.exists().where(attempts.c.task_id == tasks.c.id)
    alone = sa.select(*whose, *_stretch(tasks)).where(tasks.c.attempt == 1, ~kept, *more)
    others = sa.select(*whose, *_stretch(attempts)).join(attempts, attempts.c.task_id == tasks.c.id).where(*more)
    parts = []
    for table, query in ((tasks, alone), (attempts, others)):
        part = query.where(*_within(table.c.finished_ms, span, by_time=by_time))
        for column, wanted in (
            (tasks.c.id, span.task_id),
            (tasks.c.workflow_id, span.workflow_id),
            (tasks.c.tenant, span.tenant),
            (table.c.agent_id, span.agent_id),
        ):
            part = part.where(column == wanted) if wanted else part
        parts.append(part)
    return sa.union_all(*parts).subquery("ended")


def spent(query: sa.Select[Any], span: Span, *more: Any, by_time: bool = True) -> sa.Select[Any]:
    """Return a query of the costs within `span`; the rest as with `ended`, but that the conditions are on `costs`."""
    query = query.select_from(costs).where(*_within(costs.c.at_ms, span, by_time=by_time), *more)
    for name in ("tenant", "workflow_id", "task_id", "agent_id"):
        if wanted := getattr(span, name):
            query = query.where(costs.c[name] == wanted)
    if span.agent_id:  # by its tasks, since costs have no index of agents
        query = query.where(costs.c.task_id.in_(worked_on(span.agent_id)))
    return query


def worked_on(agent_id: str) -> Any:
    """Return the ids of the tasks that an agent worked on."""
    earlier = sa.select(attempts.c.task_id).where(attempts.c.agent_id == agent_id)
    return sa.select(tasks.c.id).where(tasks.c.agent_id == agent_id).union(earlier)


def _stretch(table: sa.Table) -> tuple[Any, ...]:
    took_ms = (table.c.finished_ms - table.c.started_ms).label("took_ms")
    return table.c.agent_id, table.c.finished_ms.label("at_ms"), took_ms, table.c.state


def _within(at_ms: Any, span: Span, *, by_time: bool) -> Iterable[Any]:
    if not by_time:
        at_ms += sa.literal_column("0", sa.BigInteger)  # what is worked out is in no index
    yield at_ms >= span.since_ms  # what hasn't ended has no time
    if span.until_ms < FOREVER_MS:
        yield at_ms < span.until_ms
