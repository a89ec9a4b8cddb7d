"""The records as they stood at one moment, row by row in words that any database understands, and back into an empty one.

Reading takes place in one transaction that sees one state (SQLite: a read transaction on the WAL; PostgreSQL: repeatable read),
so nobody waits for it. Rows go in pieces that are cut by their ids: an old row stands in the same piece each time, and pieces
that are the same need be stored once. Sums aren't among them: a restored fleet adds up its rows anew. Nothing of the dialect is
in them: what was read from SQLite can be put into PostgreSQL.
"""

import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from amas.errors import RecordsError, RestoreRefused
from amas.records.database import Database
from amas.records.lost import Place
from amas.records.migrate import HEAD, migrate
from amas.records.sums import NOTHING_SUMMED
from amas.records.tables import (
    OPEN,
    attempts,
    costs,
    entry_id,
    entry_number,
    events,
    goals,
    lost,
    metadata,
    recorder,
    steps,
    tasks,
    workflows,
)
from amas.records.writing import Statements

TABLES: tuple[sa.Table, ...] = (recorder, workflows, goals, tasks, attempts, costs, events, steps, lost)
WHOLE = frozenset({"recorder", "steps", "lost"})
"""Tables whose rows go away or change with nothing to tell by: an incremental back-up has them in full."""
CUT_MASK = 1023
"""A row begins a new piece when its id's checksum has none of these bits: every 1024th does."""
ROWS_MAX, BYTES_MAX = 4096, 4 << 20
FETCH = 250
"""Rows between two turns of the event loop, which others share: a millisecond."""


class Piece(NamedTuple):
    """Rows of one table, encoded."""

    table: str
    rows: int
    content: bytes


class _Rows(msgspec.Struct, array_like=True):
    table: str
    columns: tuple[str, ...]
    rows: list[Any]


class Dump:
    """What can be read at that moment."""

    def __init__(self, connection: AsyncConnection, place: Place, cell: str) -> None:
        self._connection, self.place, self.cell = connection, place, cell

    async def pieces(self, *, since: str | None = None) -> AsyncIterator[Piece]:
        """Yield every row, or with the position of an earlier dump those that may have changed since, and the `WHOLE` tables."""
        for table in TABLES:
            asked = _all(table) if since is None or table.name in WHOLE else _changed(table, since)
            blobs = [at for at, column in enumerate(table.columns) if isinstance(column.type, sa.LargeBinary)]
            async for rows in self._cut(asked, blobs):
                name, *columns = (_plain(each) for each in (table.name, *table.columns.keys()))
                yield Piece(name, len(rows), msgspec.msgpack.encode(_Rows(name, tuple(columns), rows)))

    async def counts(self) -> dict[str, int]:
        """Return how many tasks and workflows there are."""
        asked = {"tasks": tasks, "workflows": workflows}
        return {
            name: (await self._connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()
            for name, table in asked.items()
        }

    async def _cut(self, query: "sa.Select[Any]", blobs: Sequence[int]) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Yield a query's rows in pieces; `blobs`: the columns that count for their size."""
        rows: list[tuple[Any, ...]] = []
        size = 0
        async with self._connection.stream(query) as found:
            async for page in found.partitions(FETCH):
                for row in map(tuple, page):
                    starts = not zlib.crc32(str(row[0]).encode()) & CUT_MASK
                    if rows and (starts or len(rows) >= ROWS_MAX or size >= BYTES_MAX):
                        yield rows
                        rows, size = [], 0
                    rows.append(row)
                    for at in blobs:
                        if value := row[at]:
                            size += len(value)
        if rows:
            yield rows


def _plain(name: str) -> str:
    """Return a name as the encoder takes it: SQLAlchemy's are of a class of its own."""
    return name.encode().decode()


def _all(table: sa.Table) -> "sa.Select[Any]":
    return sa.select(table).order_by(*table.primary_key)


def _changed(table: sa.Table, since: str) -> "sa.Select[Any]":
    """Return the rows that entries after a position may have written: an open task's, and what ended or began after it."""
    ended = int(since.partition("-")[0])
    changed_tasks = sa.select(tasks.c.id).where(sa.or_(OPEN, tasks.c.finished_ms >= ended))
    changed_workflows = sa.select(workflows.c.id).where(
        sa.or_(workflows.c.finished_ms.is_(None), workflows.c.finished_ms >= ended)
    )
    conditions: dict[str, sa.ColumnElement[bool]] = {
        "workflows": workflows.c.id.in_(changed_workflows),
        "goals": goals.c.workflow_id.in_(changed_workflows),
        "tasks": tasks.c.id.in_(changed_tasks),
        "attempts": attempts.c.task_id.in_(changed_tasks),
        "costs": costs.c.at_ms >= ended,
        "events": events.c.entry > entry_number(since),
    }
    return _all(table).where(conditions[table.name])


@asynccontextmanager
async def frozen(database: Database) -> AsyncIterator[Dump]:
    """Give the records as they stand now, for as long as the block lasts; SQLite's WAL grows meanwhile."""
    async with database.reading() as connection:
        if not database.is_sqlite:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        row: Any = (await connection.execute(sa.select(recorder).where(recorder.c.id == 1))).one()
        yield Dump(connection, Place(row.engine or "", entry_id(row.position)), row.cell)


async def fill(url: str, pieces: AsyncIterator[bytes]) -> dict[str, int]:
    """Put pieces into the empty database at `url`, all or none, and return the rows of each table.

    The newest come first: a row that is there already stands. RestoreRefused when the database holds a history.
    """
    database = Database(url)
    try:
        await migrate(database)
        statements = Statements(database.dialect)
        counted: dict[str, int] = {}
        async with database.writing() as connection:
            if (await connection.execute(sa.select(recorder.c.cell))).first() is not None:
                raise RestoreRefused(f"the records in {database.shown} hold a history already: give an empty database")
            async for content in pieces:
                piece = msgspec.msgpack.decode(content, type=_Rows)
                sql = statements.insert(_known(piece), piece.columns, anew=False)
                await connection.exec_driver_sql(sql, [tuple(row) for row in piece.rows])
            await connection.exec_driver_sql(statements.reach_back, (NOTHING_SUMMED,))  # the recorder adds them up
            for table in TABLES:
                counted[table.name] = (await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()
    finally:
        await database.close()
    return counted


async def open_states(database: Database) -> tuple[dict[str, str], dict[str, str]]:
    """Return the state of every open task and of every open workflow, by id; not of those that an engine has lost."""
    gone = sa.select(lost.c.id)
    queries: Iterable[sa.Select[Any]] = (
        sa.select(tasks.c.id, tasks.c.state).where(OPEN, tasks.c.id.not_in(gone)),
        sa.select(workflows.c.id, workflows.c.state).where(workflows.c.finished_ms.is_(None), workflows.c.id.not_in(gone)),
    )
    async with database.reading() as connection:
        found: Sequence[dict[str, str]] = [{row[0]: row[1] for row in await connection.execute(query)} for query in queries]
    return found[0], found[1]


def _known(piece: _Rows) -> str:
    """Return the piece's table; RecordsError when it has columns that ours lacks."""
    table = metadata.tables.get(piece.table)
    if table is None or not set(piece.columns) <= set(table.columns.keys()):
        raise RecordsError(
            f"the back-up has a table {piece.table!r} that version {HEAD} of the tables doesn't know: upgrade amas"
        )
    return piece.table
