"""What a window of the history adds up to, for `core/report.py`: counted by the database, so that only numbers travel.

Each query goes over the tasks that ended in the window, by the index on their ends, or over the open ones, by that of those; what
ended before costs nothing. Attempts other than a task's first are found from their tasks. Called by `history.py`.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from amas.core.report import Ended, Ends, Slots, Spent, Stretch, Work
from amas.model.limits import MICRO
from amas.records.tables import OPEN, attempts, costs, tasks

OPEN_MAX = 20_000
"""Open tasks that are named at a time."""
_FINE_MS = 1000
"""Responses up to this are told apart by the millisecond, longer ones by a hundredth of their power of ten."""

_HANDLED = tasks.c.agent_id.is_not(None)
_FIRST = tasks.c.attempt == 1
_READY_MS = sa.func.coalesce(tasks.c.queued_ms, tasks.c.created_ms)


async def work_in(connection: AsyncConnection, slots: Slots) -> Work:
    """Return what the tasks did that ended in a window, or are open."""
    ended = tasks.c.finished_ms >= slots.from_ms
    again = await _again(connection, slots)
    accepted, still_open = await _accepted(connection, slots)
    return Work(
        slots=slots,
        first_ms=(await connection.execute(sa.select(tasks.c.created_ms).order_by(tasks.c.id).limit(1))).scalar() or 0,
        accepted=accepted,
        open=still_open,
        ended=[*await _ended(connection, ended), *again.busy],
        ends=[
            Ends(*row) for row in await _rows(connection, _grouped(_slot(tasks.c.finished_ms, slots), tasks.c.state, where=ended))
        ],
        worked=[*await _worked(connection, slots), *again.worked],
        asked=[*await _asked(connection, slots), *again.asked],
        spent=await _spent(connection, slots),
    )


async def open_ids(connection: AsyncConnection, *, limit: int = OPEN_MAX) -> list[str]:
    """Return the ids of open tasks, the oldest first."""
    query = sa.select(tasks.c.id).where(OPEN).order_by(tasks.c.id).limit(limit)
    return list((await connection.execute(query)).scalars())


class _Again:
    """Attempts that have rows of their own: those of tasks that were tried more than once."""

    def __init__(self) -> None:
        self.busy: list[Ended] = []
        self.worked: list[Stretch] = []
        self.asked: list[Stretch] = []


async def _rows(connection: AsyncConnection, query: sa.Select[Any]) -> Sequence[Any]:
    found: Sequence[Any] = (await connection.execute(query)).all()
    return found


async def _accepted(connection: AsyncConnection, slots: Slots) -> tuple[int, dict[str, int]]:
    """Return how many tasks were accepted in the window, and the open ones by state."""
    new = tasks.c.created_ms >= slots.from_ms
    here = sa.select(sa.func.count()).where(tasks.c.finished_ms >= slots.from_ms, new)
    rows = await _rows(connection, _grouped(tasks.c.state, sa.case((new, 1), else_=0), where=OPEN))
    accepted = (await connection.execute(here)).scalar_one() + sum(row[2] for row in rows if row[1])
    still_open: dict[str, int] = {}
    for state, _, count in rows:
        still_open[state] = still_open.get(state, 0) + count
    return accepted, still_open


async def _ended(connection: AsyncConnection, ended: sa.ColumnElement[bool]) -> list[Ended]:
    # a task that was tried again waited from its acceptance; else from when its needs were met or its time had come
    since_ms = sa.case((_FIRST, _READY_MS), else_=tasks.c.created_ms)
    responded = sa.case((_HANDLED, _rounded(tasks.c.finished_ms - since_ms)), else_=_whole(-1))
    busy_ms = sa.case((_FIRST, tasks.c.finished_ms - tasks.c.started_ms), else_=_whole(0))
    inner = sa.select(
        _pool(tasks.c.agent_id).label("pool"), tasks.c.state, responded.label("took_ms"), busy_ms.label("busy_ms")
    ).where(ended)
    found = inner.subquery()
    names = (found.c.pool, found.c.state, found.c.took_ms)
    total = sa.cast(sa.func.coalesce(sa.func.sum(found.c.busy_ms), 0), sa.BigInteger)
    rows = await _rows(connection, sa.select(*names, sa.func.count(), total).group_by(*names))
    return [Ended(_base(pool), state, took_ms, count, busy) for pool, state, took_ms, count, busy in rows]


async def _spent(connection: AsyncConnection, slots: Slots) -> dict[str, Spent]:
    """Return what was spent on models in the window, by pool."""
    found = sa.select(_pool(costs.c.agent_id).label("pool"), costs.c.usd_micro, costs.c.tokens)
    inner = found.where(costs.c.at_ms >= slots.from_ms).subquery()
    sums = (sa.cast(sa.func.sum(column), sa.BigInteger) for column in (inner.c.usd_micro, inner.c.tokens))
    spent: dict[str, Spent] = {}
    for pool, usd_micro, tokens in await _rows(connection, sa.select(inner.c.pool, *sums).group_by(inner.c.pool)):
        held = spent.get(_base(pool), Spent(0.0, 0))
        spent[_base(pool)] = Spent(held.usd + int(usd_micro) / MICRO, held.tokens + int(tokens))
    return spent


async def _worked(connection: AsyncConnection, slots: Slots) -> list[Stretch]:
    """Return first attempts that ended with their tasks, or run."""
    first, now = _slot(tasks.c.started_ms, slots), _whole(slots.total - 1)
    ended = _grouped(first, _slot(tasks.c.finished_ms, slots), where=sa.and_(tasks.c.finished_ms >= slots.from_ms, _FIRST))
    running = _grouped(first, now, where=sa.and_(OPEN, _FIRST, tasks.c.state == "running"))
    return [Stretch(*row) for query in (ended, running) for row in await _rows(connection, query)]


async def _asked(connection: AsyncConnection, slots: Slots) -> list[Stretch]:
    """Return how long tasks could be claimed before their first attempt, or can be by now."""
    ready = _slot_after(_READY_MS, slots)
    begun = _slot(tasks.c.started_ms, slots) - 1
    waited = sa.and_(tasks.c.finished_ms >= slots.from_ms, _FIRST, begun >= ready)
    running = sa.and_(OPEN, _FIRST, tasks.c.state == "running", begun >= ready)
    waiting = sa.and_(OPEN, tasks.c.state == "queued")
    queries = (
        _grouped(ready, begun, where=waited),
        _grouped(ready, begun, where=running),
        _grouped(ready, _whole(slots.total - 1), where=waiting),
    )
    return [Stretch(*row) for query in queries for row in await _rows(connection, query)]


async def _again(connection: AsyncConnection, slots: Slots) -> _Again:
    """Return what is known of tasks that were tried more than once."""
    found = _Again()
    end_ms = sa.func.coalesce(attempts.c.finished_ms, _whole(slots.to_ms))
    lost, last = attempts.c.state == "lost", attempts.c.attempt == tasks.c.attempt
    for which in (tasks.c.finished_ms >= slots.from_ms, OPEN):
        of = sa.and_(which, tasks.c.attempt > 1)
        spans = _grouped(
            _slot(attempts.c.started_ms, slots), _slot(end_ms, slots), sa.case((lost, 1), else_=0), where=of, joined=True
        )
        for first, until, is_lost, count in await _rows(connection, spans):
            if is_lost:  # the slots that it covered
                found.asked.append(Stretch(first + 1, until - 1, count))
            else:
                found.worked.append(Stretch(first, until, count))
        ready, begun = _slot_after(_READY_MS, slots), _slot(attempts.c.started_ms, slots) - 1
        waited = _grouped(ready, begun, where=sa.and_(of, last, begun >= ready), joined=True)
        found.asked += [Stretch(*row) for row in await _rows(connection, waited)]
        pool = _pool(attempts.c.agent_id)
        busy_ms = sa.cast(sa.func.sum(end_ms - attempts.c.started_ms), sa.BigInteger)
        spent = sa.select(pool, busy_ms).join_from(tasks, attempts, attempts.c.task_id == tasks.c.id)
        rows = await _rows(connection, spent.where(of).group_by(pool))
        found.busy += [Ended(_base(name), "", -1, 0, int(took or 0)) for name, took in rows]
    return found


def _grouped(*columns: Any, where: Any, joined: bool = False) -> sa.Select[Any]:
    """Return a query that counts the tasks, or their attempts, that are alike in these columns."""
    named = [column.label(f"c{number}") for number, column in enumerate(columns)]
    source = tasks.join(attempts, attempts.c.task_id == tasks.c.id) if joined else tasks
    inner = sa.select(*named).select_from(source).where(where).subquery()
    return sa.select(*inner.c, sa.func.count()).group_by(
        *inner.c
    )  # by columns: PostgreSQL groups by no expression with parameters


def _slot(at_ms: Any, slots: Slots) -> Any:
    """Return the slot of a time; -1 for one before the window."""
    return sa.case((at_ms < slots.from_ms, _whole(-1)), else_=(at_ms - _whole(slots.from_ms)) // _whole(slots.slot_ms))


def _slot_after(at_ms: Any, slots: Slots) -> Any:
    """Return the first slot that a time doesn't cut; 0 for one before the window."""
    later = (at_ms - _whole(slots.from_ms) + _whole(slots.slot_ms - 1)) // _whole(slots.slot_ms)
    return sa.case((at_ms <= slots.from_ms, _whole(0)), else_=later)


def _rounded(took_ms: Any) -> Any:
    """Return milliseconds, longer ones without what is below a hundredth of their power of ten."""
    coarse = [(took_ms < _FINE_MS * step_ms, took_ms // _whole(step_ms) * _whole(step_ms)) for step_ms in (10, 100, 1000)]
    return sa.case((took_ms < _FINE_MS, took_ms), *coarse, else_=took_ms // _whole(10_000) * _whole(10_000))


def _pool(agent_id: Any) -> Any:
    """Return the pool that an agent's id names; agents are `pool-1`, `pool-2`, ..."""
    digits, hyphen, nobody = (sa.literal_column(text, sa.Text) for text in ("'0123456789'", "'-'", "''"))
    return sa.func.rtrim(sa.func.rtrim(sa.func.coalesce(agent_id, nobody), digits), hyphen)


def _base(pool: str) -> str:
    return pool.partition("~")[0]


def _whole(number: int) -> Any:
    return sa.literal_column(str(number), sa.BigInteger)  # in the text: the databases then agree on its type
