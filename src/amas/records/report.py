"""What a window of the history adds up to, for `core/report.py`.

What ended is read from what is kept of how tasks ended (`outcomes.py`): by second, and by capability, layer and pool. Only less
than ten minutes of it at the window's begin, and what the sums don't reach back to, is added up from the tasks. The open ones are
counted by the database, by their index; attempts other than a task's first are found from their tasks. Called by `history.py`.
"""

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import add
from typing import Any, NamedTuple

import sqlalchemy as sa

from amas.core.report import Ended, Slots, Spent, Stretch, Work, covered
from amas.records.analytics import added, outcomes_since
from amas.records.costs import SUMMED_FROM, spent_by_pool
from amas.records.ended import FOREVER_MS, Span
from amas.records.outcomes import (
    ACCEPTED,
    ASKED,
    FAILED,
    MEASURES,
    MINUTE_S,
    SUCCEEDED,
    WORKED,
    Outcomes,
    add_rows,
    decode_minute,
    middle_ms,
)
from amas.records.sums import pool_of
from amas.records.tables import OPEN, attempts, minute_sums, tasks

OPEN_MAX = 20_000
"""Open tasks that are named at a time."""

_FIRST = tasks.c.attempt == 1
_READY_MS = sa.func.coalesce(tasks.c.queued_ms, tasks.c.created_ms)


def work_in(connection: sa.Connection, slots: Slots) -> Work:
    """Return what the tasks did that ended in a window, or are open."""
    ended, still_open = _seconds(connection, slots), _still_open(connection, slots)
    return Work(
        slots=slots,
        first_ms=connection.execute(sa.select(tasks.c.created_ms).order_by(tasks.c.id).limit(1)).scalar() or 0,
        accepted=ended.accepted + still_open.accepted,
        open=still_open.states,
        ended=[*_ended(connection, slots), *still_open.busy],
        succeeded=ended.succeeded,
        failed=ended.failed,
        worked=[a + b for a, b in zip(ended.worked, covered(still_open.worked, slots.total), strict=True)],
        asked=[a + b for a, b in zip(ended.asked, covered(still_open.asked, slots.total), strict=True)],
        spent=_spent(connection, slots),
    )


def open_ids(connection: sa.Connection, *, limit: int = OPEN_MAX) -> list[str]:
    """Return the ids of open tasks, the oldest first."""
    query = sa.select(tasks.c.id).where(OPEN).order_by(tasks.c.id).limit(limit)
    return list((connection.execute(query)).scalars())


class _Seconds(NamedTuple):
    """What the tasks that ended come to, by slot."""

    accepted: int
    """In all, since the window began."""
    worked: list[int]
    asked: list[int]
    succeeded: list[int]
    failed: list[int]


def _seconds(connection: sa.Connection, slots: Slots) -> _Seconds:
    """Return what each slot has of the tasks that ended, read from the window's begin on."""
    numbers = _numbers(connection, slots)
    seconds, width = slots.total * slots.slot_ms // 1000, slots.slot_ms // 1000
    accepted, worked, asked, succeeded, failed = (
        numbers[measure::MEASURES] for measure in (ACCEPTED, WORKED, ASKED, SUCCEEDED, FAILED)
    )
    levels = [list(accumulate(each, initial=-sum(each)))[1 : seconds + 1] for each in (worked, asked)]  # all that began has ended
    return _Seconds(
        sum(accepted),
        _by_slot(levels[0], width, max),
        _by_slot(levels[1], width, min),
        _by_slot(succeeded[:seconds], width, sum),
        _by_slot(failed[:seconds], width, sum),
    )


def _by_slot(seconds: Sequence[int], width: int, of: Callable[[Sequence[int]], int]) -> list[int]:
    return list(seconds) if width == 1 else [of(seconds[first : first + width]) for first in range(0, len(seconds), width)]


def _numbers(connection: sa.Connection, slots: Slots) -> "array[int]":
    """Return the numbers of each second from the window's begin to the last that any task tells of, past the window's end."""
    from_s = slots.from_ms // 1000
    minute = from_s // MINUTE_S
    query = sa.select(minute_sums.c.minute, minute_sums.c.sums).where(minute_sums.c.minute >= minute)
    parts = [(row[0], decode_minute(row[1])) for row in connection.execute(query)]
    rest = Outcomes()
    summed_from_ms = connection.execute(SUMMED_FROM).scalar()
    add_rows(connection, rest, slots.from_ms, FOREVER_MS if summed_from_ms is None else summed_from_ms)
    parts += [part for part in rest.settled()[1].items() if part[0] >= minute]
    last = max([minute + 1 + slots.total * slots.slot_ms // 60_000, *(number for number, _ in parts)])
    size = MINUTE_S * MEASURES
    numbers = array("q", bytes(8 * size * (last - minute + 1)))
    for number, told in parts:
        first = (number - minute) * size
        held = numbers[first : first + size]
        numbers[first : first + size] = array("q", map(add, held, told))
    return numbers[(from_s - minute * MINUTE_S) * MEASURES :]


def _ended(connection: sa.Connection, slots: Slots) -> list[Ended]:
    found: list[Ended] = []
    for pool, outcome in added(outcomes_since(connection, slots.from_ms), lambda names: _base(names[2])).items():
        found += [Ended(pool, "succeeded", middle_ms(bucket), count, 0) for bucket, count in outcome.responses.items()]
        others = outcome.succeeded - sum(outcome.responses.values())
        for state, count in (("succeeded", others), ("failed", outcome.failed), ("cancelled", outcome.cancelled)):
            if count:
                found.append(Ended(pool, state, -1, count, 0))
        if outcome.busy_ms:
            found.append(Ended(pool, "", -1, 0, outcome.busy_ms))
    return found


def _spent(connection: sa.Connection, slots: Slots) -> dict[str, Spent]:
    """Return what was spent on models in the window, by pool."""
    spent: dict[str, Spent] = {}
    for pool, (usd, tokens) in spent_by_pool(connection, Span(since_ms=slots.from_ms)).items():
        held = spent.get(_base(pool), Spent(0.0, 0))
        spent[_base(pool)] = Spent(held.usd + usd, held.tokens + tokens)
    return spent


class _Open:
    """What the open tasks come to."""

    def __init__(self) -> None:
        self.accepted = 0
        """Of them, in the window."""
        self.states: dict[str, int] = {}
        self.busy: list[Ended] = []
        self.worked: list[Stretch] = []
        self.asked: list[Stretch] = []


def _still_open(connection: sa.Connection, slots: Slots) -> _Open:
    found = _Open()
    new = sa.case((tasks.c.created_ms >= slots.from_ms, 1), else_=0)
    for state, is_new, count in _rows(connection, _grouped(tasks.c.state, new, where=OPEN)):
        found.accepted += count if is_new else 0
        found.states[state] = found.states.get(state, 0) + count
    first, ready, now = _slot(tasks.c.started_ms, slots), _slot_after(_READY_MS, slots), _whole(slots.total - 1)
    running, began = sa.and_(OPEN, _FIRST, tasks.c.state == "running"), first - 1
    found.worked += _stretches(connection, _grouped(first, now, where=running))
    found.asked += _stretches(connection, _grouped(ready, began, where=sa.and_(running, began >= ready)))
    found.asked += _stretches(connection, _grouped(ready, now, where=sa.and_(OPEN, tasks.c.state == "queued")))
    _add_tried(connection, slots, found)
    return found


def _add_tried(connection: sa.Connection, slots: Slots, found: _Open) -> None:
    """Add the attempts that have rows of their own: those of tasks that were tried more than once."""
    of = attempts.c.task_id.in_(sa.select(tasks.c.id).where(OPEN, tasks.c.attempt > 1))  # else SQLite goes over all attempts
    end_ms = sa.func.coalesce(attempts.c.finished_ms, _whole(slots.to_ms))
    first, until = _slot(attempts.c.started_ms, slots), _slot(end_ms, slots)
    lost = sa.case((attempts.c.state == "lost", 1), else_=0)
    for begin, end, is_lost, count in _rows(connection, _grouped(first, until, lost, where=of, joined=True)):
        if is_lost:  # the slots that it covered
            found.asked.append(Stretch(begin + 1, end - 1, count))
        else:
            found.worked.append(Stretch(begin, end, count))
    ready, last = _slot_after(_READY_MS, slots), attempts.c.attempt == tasks.c.attempt
    waited = _grouped(ready, first - 1, where=sa.and_(of, last, first - 1 >= ready), joined=True)
    found.asked += _stretches(connection, waited)
    busy = _grouped(attempts.c.agent_id, end_ms - attempts.c.started_ms, where=of, joined=True)
    found.busy += [Ended(_base(pool_of(name)), "", -1, 0, took * count) for name, took, count in _rows(connection, busy)]


def _stretches(connection: sa.Connection, query: sa.Select[Any]) -> list[Stretch]:
    return [Stretch(*row) for row in _rows(connection, query)]


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> Sequence[Any]:
    found: Sequence[Any] = (connection.execute(query)).all()
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


def _base(pool: str) -> str:
    return pool.partition("~")[0]


def _whole(number: int) -> Any:
    return sa.literal_column(str(number), sa.BigInteger)  # in the text: the databases then agree on its type
