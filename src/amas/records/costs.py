"""What was spent, added up: in all, and by tenant, workflow, pool, agent, model, day or task.

Money, tokens and requests are the rows of `costs`, by the time at which they arose. Agents' seconds are those of attempts that
ended: from `tasks` where a first attempt ended as its task did, else from `attempts`. The cost of a query is that of what lies in
its span of time, or of its task or workflow. Days are UTC.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from amas.model.limits import MICRO
from amas.records.lookup import of_tasks
from amas.records.tables import attempts, costs, tasks
from amas.records.views import Cost, CostGroup, ModelCallRecord

CostsBy = Literal["tenant", "workflow", "pool", "agent", "model", "day", "task"]
NEWEST_FIRST = frozenset({"workflow", "day", "task"})
"""Those come newest first, the others by name."""

_DAY_MS = 86_400_000
_CALLS_MAX = 1000
_NOBODY = sa.literal_column("''", sa.Text)  # in the text: PostgreSQL groups by no parameter
_SUMMED = ("usd_micro", "tokens", "input_tokens", "output_tokens", "cached_tokens", "calls", "duration_ms")


class Span(NamedTuple):
    """Which costs to add up."""

    since_ms: int = 0
    until_ms: int = 1 << 62
    tenant: str = ""
    workflow_id: str = ""
    task_id: str = ""
    agent_id: str = ""


def total(connection: sa.Connection, span: Span) -> Cost:
    """Return what everything in `span` cost."""
    summed: Any = connection.execute(_within(sa.select(*_sums()), span)).one()
    busy = _busy(span)
    busy_ms = connection.execute(sa.select(_sum(busy.c.took_ms))).scalar()
    return Cost(**_amounts(summed), agent_s=int(busy_ms or 0) / 1000)


def usd_of(connection: sa.Connection, span: Span) -> float:
    """Return the dollars of everything in `span`."""
    return int(connection.execute(_within(sa.select(_sum(costs.c.usd_micro)), span)).scalar() or 0) / MICRO


def costs_of_tasks(connection: sa.Connection, task_ids: Sequence[str]) -> dict[str, Cost]:
    """Return what each of these tasks cost so far, but for the agents' seconds; those that cost nothing are missing."""
    rows = of_tasks(connection, _BY_TASK, task_ids)
    return {row.task_id: Cost(**_amounts(row)) for row in rows}


def groups(connection: sa.Connection, by: CostsBy, span: Span, *, limit: int, after: str | None) -> list[CostGroup]:
    """Return what each group in `span` cost, those after the name `after`; one without a name comes where the empty one does."""
    spent = _within(sa.select(_name(costs, by).label("name"), *_sums(), sa.func.max(costs.c.provider).label("provider")), span)
    rows: Sequence[Any] = _page(connection, spent, _name(costs, by), by, limit=limit, after=after)
    found = {_shown(row.name, by): _amounts(row) | ({"provider": row.provider or ""} if by == "model" else {}) for row in rows}
    if by != "model":
        busy = _busy(span)
        taken = sa.select(_name(busy, by).label("name"), _sum(busy.c.took_ms).label("took_ms"))
        for row in _page(connection, taken, _name(busy, by), by, limit=limit, after=after):
            found.setdefault(_shown(row.name, by), {})["agent_s"] = int(row.took_ms or 0) / 1000
    ordered = sorted(found, reverse=by in NEWEST_FIRST)[:limit]
    return [CostGroup(name=name, **found[name]) for name in ordered]


def calls_of(connection: sa.Connection, task_id: str) -> list[ModelCallRecord]:
    """Return a task's requests to models, first to last, a thousand at most."""
    query = sa.select(costs).where(costs.c.task_id == task_id, costs.c.step != "")
    rows: Sequence[Any] = connection.execute(query.order_by(costs.c.at_ms, costs.c.step, costs.c.number).limit(_CALLS_MAX)).all()
    return [
        ModelCallRecord(
            attempt=row.attempt,
            step=row.step,
            model=row.model or "",
            provider=row.provider or "",
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cached_tokens=row.cached_tokens,
            usd=row.usd_micro / MICRO,
            seconds=row.duration_ms / 1000,
            at_ms=row.at_ms,
        )
        for row in rows
    ]


def _sum(column: Any) -> Any:
    return sa.cast(sa.func.sum(column), sa.BigInteger)  # PostgreSQL's sums are decimals


def _sums() -> list[Any]:
    return [_sum(costs.c[name]).label(name) for name in _SUMMED]


_BY_TASK = (
    sa.select(costs.c.task_id, *_sums())
    .where(costs.c.task_id.in_(sa.bindparam("task_ids", expanding=True)))
    .group_by(costs.c.task_id)
)


def _within(query: sa.Select[Any], span: Span) -> sa.Select[Any]:
    query = query.select_from(costs).where(costs.c.at_ms >= span.since_ms, costs.c.at_ms < span.until_ms)
    for name in ("tenant", "workflow_id", "task_id", "agent_id"):
        if wanted := getattr(span, name):
            query = query.where(costs.c[name] == wanted)
    return query


def _busy(span: Span) -> Any:
    """Return attempts that ended within `span`: when, how long they took, and whose they were."""
    whose = (tasks.c.id.label("task_id"), tasks.c.workflow_id, tasks.c.tenant)
    kept = sa.exists().where(attempts.c.task_id == tasks.c.id)
    alone = sa.select(*whose, *_stretch(tasks)).where(tasks.c.attempt == 1, ~kept)
    others = sa.select(*whose, *_stretch(attempts)).join(attempts, attempts.c.task_id == tasks.c.id)
    parts = []
    for table, query in ((tasks, alone), (attempts, others)):
        part = query.where(table.c.finished_ms >= span.since_ms, table.c.finished_ms < span.until_ms)
        for column, wanted in ((tasks.c.id, span.task_id), (tasks.c.workflow_id, span.workflow_id)):
            part = part.where(column == wanted) if wanted else part
        for column, wanted in ((tasks.c.tenant, span.tenant), (table.c.agent_id, span.agent_id)):
            part = part.where(column == wanted) if wanted else part
        parts.append(part)
    return sa.union_all(*parts).subquery("busy")


def _stretch(table: sa.Table) -> tuple[Any, ...]:
    took_ms = (table.c.finished_ms - table.c.started_ms).label("took_ms")
    return table.c.agent_id, table.c.finished_ms.label("at_ms"), took_ms


def _name(source: Any, by: CostsBy) -> Any:
    """Return the name of a row's group: text, or for days a number, so that both databases agree on it and its order."""
    match by:
        case "day":
            return source.c.at_ms // sa.literal_column(str(_DAY_MS), sa.BigInteger)
        case "pool":
            agents = sa.func.coalesce(source.c.agent_id, _NOBODY)
            return sa.func.rtrim(
                sa.func.rtrim(agents, sa.literal_column("'0123456789'")), sa.literal_column("'-'")
            )  # agents are `pool-1`, `pool-2`, ...
        case "workflow" | "task" | "agent":
            return sa.func.coalesce(source.c[f"{by}_id"], _NOBODY)
        case _:
            return sa.func.coalesce(source.c[by], _NOBODY)


def _page(
    connection: sa.Connection, query: sa.Select[Any], name: Any, by: CostsBy, *, limit: int, after: str | None
) -> Sequence[Any]:
    newest_first = by in NEWEST_FIRST
    ordered = name if by == "day" else sa.collate(name, "C" if connection.dialect.name == "postgresql" else "BINARY")
    query = query.group_by(name).order_by(ordered.desc() if newest_first else ordered.asc()).limit(limit)
    if after is not None:
        last = _day_number(after) if by == "day" else after
        query = query.where(ordered < last if newest_first else ordered > last)
    found: Sequence[Any] = connection.execute(query).all()
    return found


def _shown(name: Any, by: CostsBy) -> str:
    return datetime.fromtimestamp(int(name) * _DAY_MS / 1000, UTC).date().isoformat() if by == "day" else str(name)


def _day_number(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000) // _DAY_MS


def _amounts(row: Any) -> dict[str, Any]:
    held = {name: int(getattr(row, name) or 0) for name in _SUMMED}
    return {
        "usd": held.pop("usd_micro") / MICRO,
        "model_s": held.pop("duration_ms") / 1000,
        **held,
    }
