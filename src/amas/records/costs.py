"""What was spent, added up: in all, and by tenant, workflow, pool, agent, model, day or task.

Money, tokens and requests are the rows of `costs`, by the time at which they arose; agents' seconds are those of attempts that
ended (`ended.py`). Whole hours and days of them are kept as sums (`sums.py`) and read from there. What is left at the two ends of
a span of time, less than an hour each (by agent: four), and what the sums don't reach back to is added up from the rows. So a
query costs what there are hours and days, whatever was done in them. By workflow or task there are no sums: a page goes over the
rows of those that it shows. Days are UTC.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from amas.model.limits import MICRO
from amas.records.ended import FOREVER_MS, Span, ended, spent, worked_on
from amas.records.lookup import of_tasks
from amas.records.sums import AGENTS_MS, DAY_MS, HOUR_MS
from amas.records.tables import OPEN, SUMS, agent_sums, costs, day_sums, hour_sums, recorder, tasks
from amas.records.views import Cost, CostGroup, ModelCallRecord

CostsBy = Literal["tenant", "workflow", "pool", "agent", "model", "day", "task"]
NEWEST_FIRST = frozenset({"workflow", "day", "task"})
"""Those come newest first, the others by name."""
SUMMED_FROM = sa.select(recorder.c.summed_from_ms)

_CALLS_MAX = 1000
UNITS_MAX = 200
"""Parts of agents' sums that are asked for one by one, a month of them; more are cheaper in one go."""
_IDS = 500
"""Tasks or workflows that are looked at at a time, for a page of those that cost something."""
_NOBODY = sa.literal_column("''", sa.Text)  # in the text: PostgreSQL groups by no parameter
_NOTHING = sa.literal_column("0", sa.BigInteger)
_SUMMED = ("usd_micro", "tokens", "input_tokens", "output_tokens", "cached_tokens", "calls", "duration_ms")
_AMOUNTS = (*_SUMMED, "agent_ms")

Amounts = list[int]
"""Sums of `_AMOUNTS`."""


class _Found(NamedTuple):
    """What a group comes to."""

    amounts: Amounts
    provider: str


class _Cover(NamedTuple):
    """What of a span is read from sums: whole hours from one time to another; and what before and after them from rows."""

    from_ms: int
    to_ms: int
    rows: tuple[Span, ...]


def total(connection: sa.Connection, span: Span) -> Cost:
    """Return what everything in `span` cost."""
    found = _collected(connection, None, span)
    return Cost(**_cost(found[""])) if found else Cost()


def usd_of(connection: sa.Connection, span: Span) -> float:
    """Return the dollars of everything in `span`."""
    cover = _cover(connection, span)
    queries = [sa.select(_sum(table.c.usd_micro)).where(*_in_sums(table, part)) for table, part in _tables(cover, span)]
    queries += [spent(sa.select(_sum(costs.c.usd_micro)), part) for part in cover.rows]
    return sum(int(connection.execute(query).scalar() or 0) for query in queries) / MICRO


def spent_by_pool(connection: sa.Connection, span: Span) -> dict[str, tuple[float, int]]:
    """Return the dollars and tokens of everything in `span` by pool; empty for what no agent spent."""
    cover, found = _cover(connection, span), dict[str, tuple[float, int]]()

    def asked(table: sa.Table) -> sa.Select[Any]:
        pool = _name(table, "pool")
        return sa.select(pool, _sum(table.c.usd_micro), _sum(table.c.tokens)).group_by(pool)

    queries = [asked(table).where(*_in_sums(table, part)) for table, part in _tables(cover, span)]
    queries += [spent(asked(costs), part) for part in cover.rows]
    for query in queries:
        rows: Sequence[Any] = connection.execute(query).all()
        for pool, usd_micro, tokens in rows:
            usd, held = found.get(pool, (0.0, 0))
            found[pool] = usd + int(usd_micro) / MICRO, held + int(tokens)
    return found


def costs_of_tasks(connection: sa.Connection, task_ids: Sequence[str]) -> dict[str, Cost]:
    """Return what each of these tasks cost so far, but for the agents' seconds; those that cost nothing are missing."""
    rows = of_tasks(connection, _BY_TASK, task_ids)
    found = {task_id: _Found([*map(int, amounts), 0], "") for task_id, *amounts in rows}
    return {task_id: Cost(**_cost(each)) for task_id, each in found.items()}


def groups(connection: sa.Connection, by: CostsBy, span: Span, *, limit: int, after: str | None) -> list[CostGroup]:
    """Return what each group in `span` cost, those after the name `after`; one without a name comes where the empty one does."""
    if by in {"workflow", "task"}:
        found = _of_newest(connection, by, span, limit=limit, after=after)
    else:
        found = _collected(connection, by, span, limit=limit, after=after)
    ordered = sorted(found, reverse=by in NEWEST_FIRST)[:limit]
    return [CostGroup(name=name, provider=found[name].provider, **_cost(found[name])) for name in ordered]


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


_BY_TASK = (
    sa.select(costs.c.task_id, *(_sum(costs.c[name]).label(name) for name in _SUMMED))
    .where(costs.c.task_id.in_(sa.bindparam("task_ids", expanding=True)))
    .group_by(costs.c.task_id)
)


def _cover(connection: sa.Connection, span: Span, by: CostsBy | None = None) -> _Cover:
    if span.workflow_id or span.task_id or span.agent_id:
        return _Cover(0, 0, (span,))
    summed_from_ms = connection.execute(SUMMED_FROM).scalar()
    since_ms = max(span.since_ms, FOREVER_MS if summed_from_ms is None else summed_from_ms)
    unit_ms = AGENTS_MS if by == "agent" else HOUR_MS
    from_ms, to_ms = since_ms + -since_ms % unit_ms, span.until_ms - span.until_ms % unit_ms
    if span.until_ms >= FOREVER_MS:
        to_ms = FOREVER_MS
    if from_ms >= to_ms:
        return _Cover(0, 0, (span,))
    before, after = span._replace(until_ms=from_ms), span._replace(since_ms=to_ms)
    return _Cover(from_ms, to_ms, tuple(part for part in (before, after) if part.since_ms < part.until_ms))


def _tables(
    cover: _Cover, span: Span, by: CostsBy | None = None, units: Sequence[tuple[int, int]] = ()
) -> Iterator[tuple[sa.Table, Span]]:
    """Yield the tables of sums that cover it, and for each the part of the span that it does; by agent in these `units`."""
    if by == "agent":
        parts = [(agent_sums, *part) for part in units]
    else:
        first_ms = min(cover.to_ms, cover.from_ms + -cover.from_ms % DAY_MS)
        last_ms = max(first_ms, cover.to_ms if cover.to_ms >= FOREVER_MS else cover.to_ms - cover.to_ms % DAY_MS)
        parts = [(hour_sums, cover.from_ms, first_ms), (day_sums, first_ms, last_ms), (hour_sums, last_ms, cover.to_ms)]
    for table, since_ms, until_ms in parts:
        if since_ms < until_ms:
            yield table, span._replace(since_ms=since_ms, until_ms=until_ms)


def _units(connection: sa.Connection, cover: _Cover) -> list[tuple[int, int]]:
    """Return the parts to read what agents did in: one by one, since within each its agents stand in the order of a page."""
    begin, end = sa.func.min(agent_sums.c.at_ms), sa.func.max(agent_sums.c.at_ms)
    first_ms, last_ms = (connection.execute(sa.select(each)).scalar() for each in (begin, end))
    if first_ms is None or last_ms is None:
        return []
    from_ms, to_ms = max(cover.from_ms, first_ms), min(cover.to_ms, last_ms + AGENTS_MS)
    if to_ms - from_ms > UNITS_MAX * AGENTS_MS:
        return [(from_ms, to_ms)]
    return [(at_ms, at_ms + AGENTS_MS) for at_ms in range(from_ms, to_ms, AGENTS_MS)]


def _in_sums(table: sa.Table, part: Span) -> Iterator[Any]:
    if table is agent_sums and part.until_ms - part.since_ms == AGENTS_MS:
        yield table.c.at_ms == part.since_ms
    elif part.since_ms > 0:
        yield table.c.at_ms >= part.since_ms
    if part.until_ms < FOREVER_MS:
        yield table.c.at_ms < part.until_ms
    if part.tenant:
        yield table.c.tenant == part.tenant


def _collected(
    connection: sa.Connection, by: CostsBy | None, span: Span, *, limit: int = 1, after: str | None = None, loose: bool = False
) -> dict[str, _Found]:
    """Return the groups of a page, each from all places where something of it stands; None: all as one group without a name.

    `loose`: of what belongs to no workflow.

    Each place gives the first `limit` names that it has, so all of those that are among the first of all.
    """
    cover = _cover(connection, span, by)
    by_time = not (span.workflow_id or span.task_id or span.agent_id)
    upto: Any = None
    found: dict[str, _Found] = {}
    units = _units(connection, cover) if by == "agent" else []
    queries = [
        *((table, _of_sums(table, by, part, loose=loose)) for table, part in _tables(cover, span, by, units)),
        *(each for part in cover.rows for each in _of_rows(by, part, *([_loose] if loose else []), by_time=by_time)),
    ]
    for source, query in queries:
        if by is None:
            _gather(found, connection.execute(query), by)
            continue
        rows: Sequence[Any] = connection.execute(_page(connection, query, source, by, limit=limit, after=after, upto=upto)).all()
        _gather(found, rows, by)
        if len(rows) == limit:
            upto = rows[-1][0]  # enough are found by then
    return found


def _gather(found: dict[str, _Found], rows: Iterable[Any], by: CostsBy | None) -> None:
    for name, provider, count, *amounts in rows:
        if not count:
            continue  # the sum of nothing at all
        shown = "" if by is None else _shown(name, by)
        more = [int(each or 0) for each in amounts]
        held = found.get(shown)
        if held is not None:
            more = [a + b for a, b in zip(held.amounts, more, strict=True)]
        found[shown] = _Found(more, max(held.provider if held else "", provider or ""))


def _of_sums(table: sa.Table, by: CostsBy | None, part: Span, *, loose: bool) -> sa.Select[Any]:
    provider = sa.func.max(table.c.provider) if by == "model" else _NOBODY
    count = sa.func.sum(table.c.entries if by == "model" else table.c.entries + table.c.attempts)
    amounts = (_NOTHING if by == "model" and name == "agent_ms" else _sum(table.c[name]) for name in _AMOUNTS)
    query = sa.select(_NOBODY if by is None else _name(table, by), provider, count, *amounts).where(*_in_sums(table, part))
    if loose:
        query = query.where(table.c.in_workflow == 0)
    return query if by is None else query.having(count > 0)  # what is taken back leaves sums of nothing


def _of_rows(by: CostsBy | None, span: Span, *more: Callable[[Any], Any], by_time: bool) -> Iterator[tuple[Any, sa.Select[Any]]]:
    """Yield the queries of costs and of attempts; `more`: conditions, made for a table that has tasks' and workflows' ids."""
    provider = sa.func.max(costs.c.provider) if by == "model" else _NOBODY
    name = _NOBODY if by is None else _name(costs, by)
    asked = sa.select(name, provider, sa.func.count(), *(_sum(costs.c[name]) for name in _SUMMED), _NOTHING)
    yield costs, spent(asked, span, *(each(costs) for each in more), by_time=by_time)
    if by != "model":
        found = ended(span, *(each(tasks) for each in more), by_time=by_time)
        name = _NOBODY if by is None else _name(found, by)
        yield found, sa.select(name, _NOBODY, sa.func.count(), *[_NOTHING] * len(_SUMMED), _sum(found.c.took_ms))


def _loose(table: sa.Table) -> Any:
    return table.c.workflow_id.is_(None)


def _of_newest(connection: sa.Connection, by: CostsBy, span: Span, *, limit: int, after: str | None) -> dict[str, _Found]:
    """Return the newest workflows or tasks that cost something, and in the end what belongs to no workflow."""
    found: dict[str, _Found] = {}
    cursor = after
    while len(found) < limit and cursor != "" and (ids := _ids(connection, by, span, cursor)):
        for source, query in _of_rows(by, span, lambda table: _id(table, by).in_(ids), by_time=False):
            _gather(found, connection.execute(query.group_by(_name(source, by))), by)
        cursor = ids[-1] if len(ids) == _IDS else ""
    if by == "workflow" and len(found) < limit and after != "" and not span.workflow_id:
        found |= _collected(connection, None, span, loose=True)
    return found


def _ids(connection: sa.Connection, by: CostsBy, span: Span, cursor: str | None) -> list[str]:
    """Return the newest ids before `cursor` of workflows or tasks that may have cost something in `span`."""
    column = _id(tasks, by)
    query = sa.select(column).distinct().where(column.is_not(None))
    if span.since_ms > 0:
        query = query.where(sa.or_(OPEN, tasks.c.finished_ms >= span.since_ms))
    if span.until_ms < FOREVER_MS:
        query = query.where(tasks.c.created_ms < span.until_ms)
    for other, wanted in ((tasks.c.tenant, span.tenant), (tasks.c.workflow_id, span.workflow_id), (tasks.c.id, span.task_id)):
        query = query.where(other == wanted) if wanted else query
    if span.agent_id:
        query = query.where(tasks.c.id.in_(worked_on(span.agent_id)))
    pages = [(query, column)]
    if by == "task" and not any((span.tenant, span.workflow_id, span.task_id, span.agent_id)):
        pages.append((spent(sa.select(costs.c.task_id).distinct(), span, by_time=False), costs.c.task_id))  # of tasks unknown
    ids: set[str] = set()
    for page, key in pages:
        rest = page if cursor is None else page.where(key < cursor)
        ids.update(connection.execute(rest.order_by(key.desc()).limit(_IDS)).scalars())
    return sorted(ids, reverse=True)[:_IDS]


def _id(table: sa.Table, by: CostsBy) -> Any:
    if by == "workflow":
        return table.c.workflow_id
    return table.c.id if table is tasks else table.c.task_id


def _name(source: Any, by: CostsBy) -> Any:
    """Return the name of a row's group: text, or for days a number, so that both databases agree on it and its order."""
    match by:
        case "day":
            return source.c.at_ms // sa.literal_column(str(DAY_MS), sa.BigInteger)
        case "pool" if "pool" not in source.c:  # agents are `pool-1`, `pool-2`, ...
            agents = sa.func.coalesce(source.c.agent_id, _NOBODY)
            return sa.func.rtrim(sa.func.rtrim(agents, sa.literal_column("'0123456789'")), sa.literal_column("'-'"))
        case "workflow" | "task" | "agent":
            column = source.c[f"{by}_id"]
        case _:
            column = source.c[by]
    return column if source in SUMS else sa.func.coalesce(column, _NOBODY)


def _page(  # noqa: PLR0913
    connection: sa.Connection, query: sa.Select[Any], source: Any, by: CostsBy, *, limit: int, after: str | None, upto: Any
) -> sa.Select[Any]:
    """Return a query of a page's groups: after a name, and none beyond the last that is needed, `upto`."""
    name, newest_first = _name(source, by), by in NEWEST_FIRST
    ordered = (
        name if by == "day" or source in SUMS else sa.collate(name, "C" if connection.dialect.name == "postgresql" else "BINARY")
    )
    query = query.group_by(name).order_by(ordered.desc() if newest_first else ordered.asc()).limit(limit)
    if after is not None:
        last = _day_number(after) if by == "day" else after
        query = query.where(ordered < last if newest_first else ordered > last)
    if upto is not None:
        query = query.where(ordered >= upto if newest_first else ordered <= upto)
    return query


def _shown(name: Any, by: CostsBy) -> str:
    return datetime.fromtimestamp(int(name) * DAY_MS / 1000, UTC).date().isoformat() if by == "day" else str(name)


def _day_number(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000) // DAY_MS


def _cost(found: _Found) -> dict[str, Any]:
    """Return what a `Cost` is made of."""
    held = dict(zip(_AMOUNTS, found.amounts, strict=True))
    return {
        "usd": held.pop("usd_micro") / MICRO,
        "model_s": held.pop("duration_ms") / 1000,
        "agent_s": held.pop("agent_ms") / 1000,
        **held,
    }
