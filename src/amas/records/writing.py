"""Writing: a batch of folded rows in one transaction.

Rows that hold the same columns go to the driver together, as plain tuples through its `executemany`, with a text that names no
other columns; SQLAlchemy's own handling of parameters would cost more than the database does. Called by `store.py` only.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from amas.records import outcomes
from amas.records.fold import AttemptEnd, Batch, EventRow, Followed, Known, WorkflowEnd, WorkflowRow, storable
from amas.records.packed import count_done, write_packed
from amas.records.spending import write_spending
from amas.records.sums import Tally, count_ended, tally
from amas.records.tables import metadata

KNOWN = (
    "id, state, attempt, workflow_id, capability, layer, COALESCE(queued_ms, created_ms), started_ms, finished_ms, "
    "agent_id, tenant, created_ms, attempt > 0 AND EXISTS (SELECT 1 FROM attempts WHERE attempts.task_id = tasks.id)"
)
"""What `Known` holds, after the id."""

ATTEMPT_COLUMNS = "agent_id, host_id, state, started_ms, finished_ms, failure"

Rows = Sequence[tuple[Any, ...]]
Shapes = dict[tuple[str, ...], list[tuple[Any, ...]]]
"""Tuples by the columns that they hold, in order."""


class Statements:
    """The SQL texts for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self.sqlite = dialect.name == "sqlite"
        self.insert, self.change, self.add = cache(self._insert), cache(self._change), cache(self._add)
        among = "IN (SELECT value FROM json_each(?))" if self.sqlite else "= ANY($1::text[])"
        self.known = f"SELECT {KNOWN} FROM tasks WHERE id {among}"  # noqa: S608  constants only
        lock = "" if self.sqlite else " FOR UPDATE"
        self.position = f"SELECT position, summed_from_ms FROM recorder WHERE id = 1{lock}"  # noqa: S608
        self.keep_attempts = (
            f"INSERT INTO attempts (task_id, attempt, {ATTEMPT_COLUMNS}) SELECT id, 1, {ATTEMPT_COLUMNS} "  # noqa: S608
            f"FROM tasks WHERE id = {self._at(1)} AND agent_id IS NOT NULL ON CONFLICT DO NOTHING"
        )
        self.forget_steps = f"DELETE FROM steps WHERE task_id = {self._at(1)}"  # noqa: S608
        self.move = f"UPDATE recorder SET position = {self._at(1)} WHERE id = 1"  # noqa: S608
        self.reach_back = f"UPDATE recorder SET summed_from_ms = {self._at(1)} WHERE id = 1"  # noqa: S608

    def _at(self, number: int) -> str:
        return "?" if self.sqlite else f"${number}"

    def _insert(self, table: str, columns: tuple[str, ...], *, anew: bool = True) -> str:
        """Return the insertion of a row; unless `anew`, one that exists stands."""
        # Nothing but tasks is inserted twice as long as the engine's data and ours are of one piece; after a restored
        # back-up of either, the first word stands. Not so tasks: that one exists which was taken for new must be noticed.
        places = ", ".join(map(self._at, range(1, len(columns) + 1)))
        text = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608  names of ours only
        return text if anew else f"{text} ON CONFLICT DO NOTHING"

    def _change(self, table: str, columns: tuple[str, ...], keys: tuple[str, ...]) -> str:
        """Return the change of a row: first the columns' values, then the keys'."""
        numbers = iter(range(1, len(columns) + len(keys) + 1))
        adds = {"failures": "failures + "}
        values = ", ".join(f"{name} = {adds.get(name, '')}{self._at(next(numbers))}" for name in columns)
        one = " AND ".join(f"{name} = {self._at(next(numbers))}" for name in keys)
        return f"UPDATE {table} SET {values} WHERE {one}"  # noqa: S608  names of ours only

    def _add(self, table: str, keys: tuple[str, ...], amounts: tuple[str, ...]) -> str:
        """Return the addition of amounts to a row, which is made where it isn't there: first the keys' values, then theirs."""
        columns = (*keys, *amounts)
        places = ", ".join(map(self._at, range(1, len(columns) + 1)))
        sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in amounts)
        unique = ", ".join(column.name for column in metadata.tables[table].primary_key)
        into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608  names of ours only
        return f"{into} ON CONFLICT ({unique}) DO UPDATE SET {sums}"


class Place(NamedTuple):
    """Where the recorder is."""

    position: int
    """The number of the last entry recorded."""
    summed_from_ms: int
    """Since when the sums hold all that there is."""


async def read_place(connection: AsyncConnection, statements: Statements) -> Place:
    """Return where the recorder is, locked until the transaction ends."""
    found: Any = (await connection.exec_driver_sql(statements.position)).one()
    return Place(*found)


async def read_known(connection: AsyncConnection, statements: Statements, task_ids: Iterable[str]) -> dict[str, Known]:
    """Return what the records hold of those tasks that they hold."""
    ids = list(task_ids)
    if not ids:
        return {}
    argument: Any = msgspec.json.encode(ids).decode() if statements.sqlite else ids
    found = await connection.exec_driver_sql(statements.known, (argument,))
    rows: Iterable[tuple[Any, ...]] = map(tuple, found)
    return {task_id: Known(*held) for task_id, *held in rows}


async def write_sums(connection: AsyncConnection, statements: Statements, found: Tally) -> None:
    """Add to the sums."""
    for each in await asyncio.to_thread(lambda: list(found.additions())):
        if each.rows:
            await connection.exec_driver_sql(statements.add(each.table, each.keys, each.amounts), each.rows)


async def write(
    connection: AsyncConnection, statements: Statements, batch: Batch, *, known: Mapping[str, Known], place: Place
) -> None:
    """Write a batch, what it adds to the sums, and the place that it reaches; `known` is what it was folded with."""
    (found, asked), (done, before, after) = await asyncio.to_thread(_tallied, batch, known, place.summed_from_ms)
    await count_ended(connection, found, asked, times=-1)
    await count_done(connection, done, before, times=-1)
    await _write_rows(connection, statements, batch, found)
    await count_ended(connection, found, asked, times=1)
    await count_done(connection, done, after, times=1)
    await write_sums(connection, statements, found)
    await write_packed(connection, done)
    await connection.exec_driver_sql(statements.move, (place.position,))


def _tallied(batch: Batch, known: Mapping[str, Known], from_ms: int) -> tuple[Any, Any]:
    return tally(batch, known, from_ms), outcomes.tally(batch, known, from_ms)


async def _write_rows(connection: AsyncConnection, statements: Statements, batch: Batch, found: Tally) -> None:
    async def run(sql: str, rows: Rows) -> None:
        if rows:
            await connection.exec_driver_sql(sql, list(rows))

    def insert(table: str, columns: str) -> str:
        return statements.insert(table, tuple(columns.split()), anew=False)

    await run(insert("workflows", "id state root_id opening created_ms"), [_workflow(row) for row in batch.workflows])
    await run(insert("goals", "workflow_id text priority goal"), [_goal(row) for row in batch.workflows if row.goal is not None])
    new, changed = _shapes(batch.tasks.values())
    for columns, rows in new.items():
        await run(statements.insert("tasks", columns), rows)
    await run(statements.keep_attempts, [(task_id,) for task_id in dict.fromkeys(batch.kept_attempts)])
    for columns, rows in changed.items():
        await run(statements.change("tasks", columns, ("id",)), rows)
    ends = statements.change("attempts", ("state", "finished_ms", "failure"), ("task_id", "attempt"))
    await run(ends, [_attempt_end(end) for end in batch.attempt_ends])
    for columns, rows in _by_columns(batch.attempts.values()).items():
        await run(statements.insert("attempts", columns, anew=False), rows)
    await _write_steps(connection, statements, batch)
    if batch.calls or batch.usages:
        batch.spent = await write_spending(connection, batch.calls, batch.usages, found)
    ended = statements.change("workflows", ("state", "finished_ms"), ("id",))
    await run(ended, [_workflow_end(end) for end in batch.workflow_ends])
    told = "entry workflow_id kind at_ms workflow_state host_id tasks"
    await run(insert("events", told), [_event(row) for row in batch.events])


async def _write_steps(connection: AsyncConnection, statements: Statements, batch: Batch) -> None:
    """Keep the steps of tasks that are open, and drop those of the tasks that ended."""
    ended = {task.id for task in batch.tasks.values() if "finished_ms" in task.row}
    steps = [step for step in batch.steps if step[0] not in ended]
    if steps:
        columns = ("task_id", "name", "result")
        await connection.exec_driver_sql(statements.insert("steps", columns, anew=False), steps)
    old = [(task_id,) for task_id in ended if not batch.tasks[task_id].is_new]
    if old and (await connection.exec_driver_sql("SELECT 1 FROM steps LIMIT 1")).first() is not None:
        await connection.exec_driver_sql(statements.forget_steps, old)


def _shapes(tasks: Iterable[Followed]) -> tuple[Shapes, Shapes]:
    """Return the rows of new tasks and the changes of known ones."""
    new: Shapes = {}
    changed: Shapes = {}
    for task in tasks:
        row = task.row
        if task.failed_attempts:
            row["failures"] = task.failed_attempts
        columns = tuple(row)
        if task.is_new:
            new.setdefault(columns, []).append(tuple(row.values()))
        elif columns:
            changed.setdefault(columns, []).append((*row.values(), task.id))
    return new, changed


def _by_columns(rows: Iterable[dict[str, Any]]) -> Shapes:
    shapes: Shapes = {}
    for row in rows:
        shapes.setdefault(tuple(row), []).append(tuple(row.values()))
    return shapes


def _workflow(row: WorkflowRow) -> tuple[Any, ...]:
    return row.id, "running", row.root_id, None if row.goal else row.opening, row.created_ms


def _goal(row: WorkflowRow) -> tuple[Any, ...]:
    assert row.goal is not None
    return row.id, storable(row.goal.text), row.goal.priority, row.opening


def _attempt_end(end: AttemptEnd) -> tuple[Any, ...]:
    return end.state, end.finished_ms, end.failure, end.task_id, end.attempt


def _workflow_end(end: WorkflowEnd) -> tuple[Any, ...]:
    return end.state.value, end.finished_ms, end.id


def _event(row: EventRow) -> tuple[Any, ...]:
    return row.entry, row.workflow_id, row.kind, row.at_ms, row.workflow_state, row.host_id, row.encoded_tasks()
