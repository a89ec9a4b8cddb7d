"""Which workflows are a tenant's own: those that have a task of it, newest first.

A workflow's row doesn't say; its tasks do, by an index that has a tenant's workflows in order, each as often as it has tasks. The
walk jumps from one to the next and looks at no other tenant's.
Source: https://wiki.postgresql.org/wiki/Loose_indexscan
"""

from typing import Any

import sqlalchemy as sa

from amas.model.states import WorkflowState
from amas.records.tables import tasks, workflows

WALKED = 500
"""Workflows of a tenant that are looked at together for those in a state."""


def own_workflows(
    connection: sa.Connection, tenant: str, *, limit: int, cursor: str = "", state: WorkflowState | None = None
) -> list[str]:
    """Return the ids of at most `limit` workflows of `tenant` that are older than `cursor`."""
    found: list[str] = []
    while len(found) < limit:
        walked = _walked(connection, tenant, limit if state is None else WALKED, cursor)
        if not walked:
            break
        found += walked if state is None else _in_state(connection, walked, state)
        cursor = walked[-1]
    return found[:limit]


def _walked(connection: sa.Connection, tenant: str, limit: int, cursor: str) -> list[str]:
    newest = _newest(tenant)
    first = newest.where(tasks.c.workflow_id < cursor) if cursor else newest
    walk = sa.select(first.scalar_subquery().label("id"), sa.literal(1).label("number")).cte("walk", recursive=True)
    older = newest.where(tasks.c.workflow_id < walk.c.id).scalar_subquery()
    walk = walk.union_all(sa.select(older, walk.c.number + 1).where(walk.c.id.is_not(None), walk.c.number < limit))
    asked = sa.select(walk.c.id).where(walk.c.id.is_not(None)).order_by(walk.c.number)
    return list(connection.execute(asked).scalars())


def _newest(tenant: str) -> sa.Select[Any]:
    return sa.select(sa.func.max(tasks.c.workflow_id)).where(tasks.c.tenant == tenant, tasks.c.workflow_id.is_not(None))


def _in_state(connection: sa.Connection, ids: list[str], state: WorkflowState) -> list[str]:
    asked = sa.select(workflows.c.id).where(workflows.c.id.in_(ids), workflows.c.state == state.value)
    return list(connection.execute(asked.order_by(workflows.c.id.desc())).scalars())
