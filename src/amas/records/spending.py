"""Writing what was spent: the requests to models, and for each attempt that ended what it used besides.

An attempt says what it used in all. Its requests came along with the steps that they were made for, perhaps in an earlier batch;
the row with step '' is the difference, so that an attempt's rows always add up to its word. A row that exists stands: whatever is
recorded again, from the same engine or another, counts once. Called by `writing.py` within its transaction, and only for work
that used something.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from amas.model.limits import MICRO, Usage
from amas.records.fold import CallRow, UsageRow, storable
from amas.records.sums import AT_A_TIME, Tally
from amas.records.tables import attempts, costs, tasks
from amas.records.views import Cost

Row = dict[str, Any]
Attempt = tuple[str, int]
Amount = tuple[int, int, int]
"""Tokens, calls, micro-dollars."""


async def write_spending(connection: AsyncConnection, calls: list[CallRow], usages: list[UsageRow], found: Tally) -> Cost:
    """Write the rows, count them and return their sum; the tasks and attempts that they are about have been written before."""
    concerned = {call.task_id for call in calls} | {used.task_id for used in usages}
    accounts = await _accounts(connection, concerned)
    held = await _held(connection, concerned)
    new: list[Row] = []

    def add(row: Row) -> None:
        place = row["task_id"], row["attempt"]
        told = held.setdefault(place, {})
        if (row["step"], row["number"]) not in told:
            told[row["step"], row["number"]] = row["tokens"], row["calls"], row["usd_micro"]
            new.append(row | accounts.get(place, _NOBODY))

    for call in calls:
        add(_call(call))
    for used in usages:
        told = held.get((used.task_id, used.attempt), {})
        if any(more := _more(used.usage, told.values())):
            add(_besides(used, more))
    if new:
        await connection.execute(sa.insert(costs), new)
    for row in new:
        found.spend(row)
    return _sum(new)


_NOBODY: Row = {"workflow_id": None, "tenant": None, "agent_id": None}


async def _accounts(connection: AsyncConnection, task_ids: set[str]) -> dict[Attempt, Row]:
    """Return whom to account the attempts at these tasks to."""
    found: dict[Attempt, Row] = {}
    for ids in _portions(task_ids):
        columns = (tasks.c.id, tasks.c.attempt, tasks.c.workflow_id, tasks.c.tenant, tasks.c.agent_id)
        whose: dict[str, Row] = {}
        for row in await connection.execute(sa.select(*columns).where(tasks.c.id.in_(ids))):
            whose[row.id] = {"workflow_id": row.workflow_id, "tenant": row.tenant, "agent_id": row.agent_id}
            found.update(((row.id, attempt), whose[row.id]) for attempt in range(1, row.attempt + 1))
        tried = sa.select(attempts.c.task_id, attempts.c.attempt, attempts.c.agent_id).where(attempts.c.task_id.in_(ids))
        for row in await connection.execute(tried):  # of an attempt that a restored engine hasn't come to again, too
            found[row.task_id, row.attempt] = {**whose[row.task_id], "agent_id": row.agent_id}
    return found


async def _held(connection: AsyncConnection, task_ids: set[str]) -> dict[Attempt, dict[tuple[str, int], Amount]]:
    """Return the rows that there are: tokens, calls and micro-dollars by step and number."""
    columns = (costs.c.task_id, costs.c.attempt, costs.c.step, costs.c.number, costs.c.tokens, costs.c.calls, costs.c.usd_micro)
    found: dict[Attempt, dict[tuple[str, int], Amount]] = {}
    for ids in _portions(task_ids):
        rows: Sequence[Any] = (await connection.execute(sa.select(*columns).where(costs.c.task_id.in_(ids)))).all()
        for row in rows:
            found.setdefault((row.task_id, row.attempt), {})[row.step, row.number] = (row.tokens, row.calls, row.usd_micro)
    return found


def _sum(rows: list[Row]) -> Cost:
    names = ("tokens", "input_tokens", "output_tokens", "cached_tokens", "calls")
    return Cost(
        usd=sum(row["usd_micro"] for row in rows) / MICRO,
        model_s=sum(row["duration_ms"] for row in rows) / 1000,
        **{name: sum(row[name] for row in rows) for name in names},
    )


def _call(row: CallRow) -> Row:
    call = row.call
    return {
        "task_id": row.task_id,
        "attempt": row.attempt,
        "step": storable(row.step),
        "number": row.number,
        "at_ms": row.at_ms,
        "provider": storable(call.provider) or None,
        "model": storable(call.model) or None,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cached_tokens": call.cached_tokens,
        "tokens": call.input_tokens + call.output_tokens,
        "calls": 1,
        "usd_micro": call.usd_micro,
        "duration_ms": call.duration_ms,
    }


def _more(used: Usage, told: Iterable[Amount]) -> Amount:
    """Return what an attempt used besides what is told; less than 0 where its agent took something of it back."""
    sums = [sum(each) for each in zip((0, 0, 0), *told, strict=True)]
    return used.tokens - sums[0], used.calls - sums[1], used.usd_micro - sums[2]


def _besides(row: UsageRow, more: Amount) -> Row:
    tokens, calls, usd_micro = more
    return {
        "task_id": row.task_id,
        "attempt": row.attempt,
        "step": "",
        "number": 0,
        "at_ms": row.at_ms,
        "provider": None,
        "model": None,
        "input_tokens": 0,
        "output_tokens": 0,
        "cached_tokens": 0,
        "tokens": tokens,
        "calls": calls,
        "usd_micro": usd_micro,
        "duration_ms": 0,
    }


def _portions(ids: set[str]) -> Iterable[list[str]]:
    ordered = sorted(ids)
    return (ordered[first : first + AT_A_TIME] for first in range(0, len(ordered), AT_A_TIME))
