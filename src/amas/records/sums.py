"""Sums of what was spent and of the attempts that ended, by time, pool and agent, kept so that no figure needs the history.

They are written in the transaction that writes the rows they are made of, as differences: a row that is recorded again, or whose
task runs again, changes them by what it changes the rows, so they agree with the rows at any moment. Most tasks are counted from
what the batch holds; of those whose attempts have rows of their own, the database is asked before and after the batch.

They reach back to `recorder.summed_from_ms`, and `older` lets them reach further, some tens of thousands of rows at a time and
the newest first: after tables of an earlier version were brought up to date, or a back-up was restored. Nothing waits for that,
since what they lack is still read from the rows (`costs.py`). Called by `writing.py` and `store.py`.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import add
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from amas.records.ended import FOREVER_MS, Span, ended, spent
from amas.records.fold import Batch, Known
from amas.records.tables import ENDED, SPENT, attempts, costs, tasks

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
AGENTS_MS = 4 * HOUR_MS
"""What agents did is kept by so long: few rows for many agents, and little to add up where a span cuts one."""
NOTHING_SUMMED = FOREVER_MS
"""`recorder.summed_from_ms` before anything was added up."""
OLDER_ROWS = 20_000
"""Rows that one `older` goes through, or an hour's where that has more: the recorder waits for it."""
AT_A_TIME = 500
"""Tasks in one look: SQLite takes some thousand parameters."""

_WHOSE = ("at_ms", "agent_id", "tenant", "in_workflow")
_OF_WHAT = (*_WHOSE, "provider", "model")

Key = tuple[Any, ...]
"""Values of `_WHOSE`, or of `_OF_WHAT`; the time is when an hour begins."""
Sums = dict[Key, list[int]]


class Adding(NamedTuple):
    """One statement's worth: rows that hold these columns, to be added to what the table has."""

    table: str
    keys: tuple[str, ...]
    amounts: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    """Perhaps none."""


class Tally:
    """What is to be added to the sums that reach back to `from_ms`; what is older isn't theirs."""

    def __init__(self, from_ms: int) -> None:
        self._from_ms = from_ms
        self._ended: Sums = {}
        self._spent: Sums = {}

    def end(self, whose: Sequence[Any], at_ms: int, took_ms: int | None, state: str, *, times: int = 1) -> None:
        """Count an attempt that ended; `whose`: its agent, tenant and workflow, each perhaps None."""
        if at_ms < self._from_ms:
            return
        agent_id, tenant, workflow_id = whose
        key = at_ms - at_ms % HOUR_MS, agent_id or "", tenant or "", 1 if workflow_id else 0
        held = self._ended.get(key)
        if held is None:
            held = self._ended[key] = [0, 0, 0, 0]
        held[0] += times * (took_ms or 0)
        held[1] += times
        if state == "succeeded":
            held[2] += times
        elif state == "failed":
            held[3] += times

    def spend(self, row: Mapping[str, Any]) -> None:
        """Count a new row of `costs`."""
        at_ms: int = row["at_ms"]
        if at_ms >= self._from_ms:
            whose = at_ms - at_ms % HOUR_MS, row["agent_id"] or "", row["tenant"] or "", 1 if row["workflow_id"] else 0
            _add(self._spent, (*whose, row["provider"] or "", row["model"] or ""), [*(row[name] for name in SPENT[:-1]), 1])

    def take(self, rows_spent: Iterable[Any], rows_ended: Iterable[Any]) -> None:
        """Count rows that were added up by the database: values of `_OF_WHAT` and `SPENT`, those of `_WHOSE` and `ENDED`."""
        for sums, rows, width in ((self._spent, rows_spent, len(_OF_WHAT)), (self._ended, rows_ended, len(_WHOSE))):
            for hour, *values in rows:
                _add(sums, (int(hour) * HOUR_MS, *values[: width - 1]), [int(each or 0) for each in values[width - 1 :]])

    def additions(self) -> Iterable[Adding]:
        """Yield what is to be written."""
        for sums, columns, amounts in ((self._ended, _WHOSE, ENDED), (self._spent, _OF_WHAT, SPENT)):
            if not sums:
                continue
            yield _adding("agent_sums", _WHOSE, amounts, _coarser(sums, AGENTS_MS, str, parts=len(_WHOSE)))
            by_pool = ("at_ms", "pool", *columns[2:])
            hours = _coarser(sums, HOUR_MS, pool_of)
            yield _adding("hour_sums", by_pool, amounts, hours)
            yield _adding("day_sums", by_pool, amounts, _coarser(hours, DAY_MS, str))


@lru_cache(1 << 16)
def pool_of(agent_id: str) -> str:
    """Return the pool that an agent's id names: agents are `pool-1`, `pool-2`, ..."""
    return agent_id.rstrip("0123456789").rstrip("-")


def tally(batch: Batch, known: Mapping[str, Known], from_ms: int) -> tuple[Tally, list[str]]:
    """Return what a batch adds, but for its costs and for those tasks of which the database must be asked: these are named."""
    found = Tally(from_ms)
    asked = {task_id for task_id, _ in batch.attempts}
    asked.update(batch.kept_attempts, (end.task_id for end in batch.attempt_ends))
    for task_id, task in batch.tasks.items():
        row = task.row
        if "finished_ms" not in row or task_id in asked:
            continue
        held = known.get(task_id)
        if held is None:
            if task.attempt == 1 and (at_ms := row["finished_ms"]):
                found.end((row["agent_id"], row.get("tenant"), task.workflow_id), at_ms, at_ms - row["started_ms"], task.state)
        elif held.tried:
            continue  # its attempts' rows say it all, and none of them changes
        elif held.attempt == 1 and held.finished_ms is not None:
            asked.add(task_id)
        elif task.attempt == 1 and (at_ms := row["finished_ms"]):
            whose = row.get("agent_id") or held.agent_id, held.tenant, held.workflow_id
            started_ms = row.get("started_ms", held.started_ms)
            found.end(whose, at_ms, None if started_ms is None else at_ms - started_ms, task.state)
    return found, sorted(asked)


async def count_ended(connection: AsyncConnection, found: Tally, task_ids: Sequence[str], *, times: int) -> None:
    """Count the attempts at these tasks as the database has them now, `times` 1 or -1."""
    for first in range(0, len(task_ids), AT_A_TIME):
        for row in await connection.execute(_ENDED_OF, {"task_ids": task_ids[first : first + AT_A_TIME]}):
            whose = row.agent_id, row.tenant, row.workflow_id
            found.end(whose, row.at_ms, row.took_ms, row.state, times=times)


async def older(connection: AsyncConnection, until_ms: int) -> tuple[Tally, int]:
    """Return what the newest rows from before a time come to, and since when they do: 0 when those were the last.

    The transaction must hold the recorder's place, and write both.
    """
    from_ms = await _next_from(connection, until_ms)
    span, found = Span(from_ms, until_ms), Tally(from_ms)
    of_costs: Sequence[Any] = (await connection.execute(_spent_by_hour(span))).all()
    of_attempts: Sequence[Any] = (await connection.execute(_ended_by_hour(span))).all()
    await asyncio.to_thread(found.take, of_costs, of_attempts)
    return found, from_ms


async def _next_from(connection: AsyncConnection, until_ms: int) -> int:
    """Return the whole hour since which there are about `OLDER_ROWS` rows until a time, or those of one hour; 0 for all."""
    found = 0
    for at_ms in (tasks.c.finished_ms, attempts.c.finished_ms, costs.c.at_ms):
        query = sa.select(at_ms).where(at_ms < until_ms).order_by(at_ms.desc()).offset(OLDER_ROWS).limit(1)
        found = max(found, (await connection.execute(query)).scalar() or 0)
    return found - found % HOUR_MS


_ENDED_OF = sa.select(ended(Span(), tasks.c.id.in_(sa.bindparam("task_ids", expanding=True)), by_time=False))


def _ended_by_hour(span: Span) -> sa.Select[Any]:
    rows = ended(span)
    states = [
        sa.case((rows.c.state == state, _ONE), else_=sa.literal_column("0", sa.BigInteger)) for state in ("succeeded", "failed")
    ]
    return _by_hour(rows, _WHOSE, [rows.c.took_ms, _ONE, *states])


def _spent_by_hour(span: Span) -> sa.Select[Any]:
    rows = spent(sa.select(costs), span).subquery("spent")
    return _by_hour(rows, _OF_WHAT, [*(rows.c[name] for name in SPENT[:-1]), _ONE])


def _by_hour(rows: Any, columns: Sequence[str], amounts: Sequence[Any]) -> sa.Select[Any]:
    """Return a query of sums, by the number of the hour and the other `columns`."""
    keys = [_key(rows, column).label(column) for column in columns]
    named = [amount.label(f"a{number}") for number, amount in enumerate(amounts)]
    inner = sa.select(*keys, *named).subquery()  # by columns: PostgreSQL groups by no expression with parameters
    by = [inner.c[column] for column in columns]
    return sa.select(*by, *(sa.func.sum(inner.c[each.name]) for each in named)).group_by(*by)


def _key(rows: Any, column: str) -> Any:
    match column:
        case "at_ms":
            return rows.c.at_ms // sa.literal_column(str(HOUR_MS), sa.BigInteger)
        case "in_workflow":
            return sa.case((rows.c.workflow_id.is_not(None), 1), else_=0)
        case _:
            return sa.func.coalesce(rows.c[column], "")


_ONE = sa.literal_column("1", sa.BigInteger)


def _add(sums: Sums, key: Key, amounts: Sequence[int]) -> None:
    held = sums.get(key)
    if held is None:
        sums[key] = list(amounts)
    else:
        held[:] = map(add, held, amounts)


def _coarser(sums: Sums, span_ms: int, name: Callable[[str], str], *, parts: int | None = None) -> Sums:
    """Return sums by a longer time, by what `name` makes of the second part of their keys, and by their first `parts` alone."""
    found: Sums = {}
    for key, amounts in sums.items():
        _add(found, (key[0] - key[0] % span_ms, name(key[1]), *key[2:parts]), amounts)
    return found


def _adding(table: str, columns: tuple[str, ...], amounts: tuple[str, ...], sums: Sums) -> Adding:
    rows = [(*key, *sums[key]) for key in sorted(sums) if any(sums[key])]  # in the order in which they lie in the table
    return Adding(table, columns, amounts, rows)
