"""Writing the sums that are packed: what is there is read, added to, and written back.

Nobody else does so meanwhile, since whoever writes holds the recorder's place. Called by `writing.py` and `store.py`, within
their transactions.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from amas.records.outcomes import (
    Key,
    Minutes,
    Outcome,
    Outcomes,
    add_tasks,
    decode_minute,
    decode_outcome,
    encode_minute,
    with_days,
)
from amas.records.sums import AT_A_TIME
from amas.records.tables import minute_sums, outcome_sums

AT_ONCE = 200
"""Rows in one look: each is named by five values, and SQLite takes some thousand."""


async def count_done(connection: AsyncConnection, found: Outcomes, task_ids: Sequence[str], *, times: int) -> None:
    """Count those of these tasks that have ended, as the database has them now, `times` 1 or -1."""
    for first in range(0, len(task_ids), AT_A_TIME):
        await connection.run_sync(add_tasks, found, task_ids[first : first + AT_A_TIME], times=times)


async def write_packed(connection: AsyncConnection, found: Outcomes) -> None:
    """Add to the sums."""
    sums, minutes = await asyncio.to_thread(_settled, found)
    held = [row async for row in _held(connection, outcome_sums, list(sums))]
    await _write(connection, outcome_sums, await asyncio.to_thread(_outcomes, sums, held))
    held = [row async for row in _held(connection, minute_sums, [(minute,) for minute in minutes])]
    await _write(connection, minute_sums, await asyncio.to_thread(_minutes, minutes, held))


def _settled(found: Outcomes) -> tuple[dict[Key, Outcome], Minutes]:
    fine, minutes = found.settled()
    return with_days(fine), minutes


def _outcomes(sums: dict[Key, Outcome], held: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    for span_ms, at_ms, capability, layer, pool, stored in held:
        sums[span_ms, at_ms, capability, layer, pool].add(decode_outcome(stored))
    return [(*key, outcome.encoded()) for key, outcome in sorted(sums.items())]


def _minutes(minutes: Minutes, held: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    for minute, stored in held:
        minutes[minute] = [a + b for a, b in zip(minutes[minute], decode_minute(stored), strict=True)]
    return [(minute, encode_minute(numbers)) for minute, numbers in sorted(minutes.items())]


async def _held(connection: AsyncConnection, table: sa.Table, keys: Sequence[tuple[Any, ...]]) -> Any:
    """Yield the rows that there are."""
    for first in range(0, len(keys), AT_ONCE):
        some = keys[first : first + AT_ONCE]
        asked = _look(table, len(some), connection.dialect.name)
        for row in await connection.exec_driver_sql(asked, tuple(value for key in some for value in key)):
            yield tuple(row)


async def _write(connection: AsyncConnection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write rows; those of nothing go."""
    put, drop = _change(table, connection.dialect.name)
    if kept := [row for row in rows if row[-1]]:
        await connection.exec_driver_sql(put, kept)
    if empty := [row[:-1] for row in rows if not row[-1]]:
        await connection.exec_driver_sql(drop, empty)


@cache
def _look(table: sa.Table, many: int, dialect: str) -> str:
    names = [column.name for column in table.primary_key]
    places = _places(dialect, len(names) * many)
    wanted = ", ".join(f"({', '.join(next(places) for _ in names)})" for _ in range(many))
    shown = ", ".join(names)
    if dialect != "sqlite":
        return f"SELECT {shown}, sums FROM {table.name} WHERE ({shown}) IN ({wanted})"  # noqa: S608  names of ours only
    # which would go over the whole table for that, and so is told which of the two to begin with
    begun = f"WITH wanted ({shown}) AS (VALUES {wanted})"
    return f"{begun} SELECT {shown}, sums FROM wanted CROSS JOIN {table.name} USING ({shown})"  # noqa: S608


@cache
def _change(table: sa.Table, dialect: str) -> tuple[str, str]:
    names = [column.name for column in table.primary_key]
    shown, all_places = ", ".join(names), ", ".join(_places(dialect, len(names) + 1))
    into = f"INSERT INTO {table.name} ({shown}, sums) VALUES ({all_places})"  # noqa: S608  names of ours only
    one = " AND ".join(f"{name} = {place}" for name, place in zip(names, _places(dialect, len(names)), strict=True))
    return f"{into} ON CONFLICT ({shown}) DO UPDATE SET sums = excluded.sums", f"DELETE FROM {table.name} WHERE {one}"  # noqa: S608


def _places(dialect: str, many: int) -> Iterator[str]:
    return iter("?" if dialect == "sqlite" else f"${number}" for number in range(1, many + 1))
