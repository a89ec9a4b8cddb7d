"""Writing: a batch of folded rows in one transaction, by statements compiled once.

Rows go to the driver as plain tuples through its `executemany`; SQLAlchemy's own handling of parameters would cost more than the
database does. Called by `store.Records.apply` only.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from amas.model.states import TaskState
from amas.records.fold import AttemptEnd, AttemptRow, Batch, EventRow, Known, TaskRow, WorkflowEnd, WorkflowRow
from amas.records.tables import attempts, events, goals, recorder, tasks, workflows

KNOWN_COLUMNS = ("id", "state", "attempt", "workflow_id", "capability", "layer", "queued_ms", "started_ms")

CHANGING = (
    *("agent_id", "host_id", "pool", "progress", "note"),
    *("queued_ms", "started_ms", "finished_ms", "result", "failure"),
)
"""Columns of a task that stay as they are where a row has None."""

Rows = Sequence[tuple[Any, ...]]


class Statements:
    """The SQL texts for one dialect, each with the order of its parameters settled."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._insert = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
        columns = ", ".join(KNOWN_COLUMNS)
        among = "IN (SELECT value FROM json_each(?))" if dialect.name == "sqlite" else "= ANY($1::text[])"
        self.known = f"SELECT {columns} FROM tasks WHERE id {among}"  # noqa: S608  constants only
        self.position = sa.select(recorder.c.position).where(recorder.c.id == 1).with_for_update()
        self.claim = self._insert(recorder).on_conflict_do_nothing()
        self.move = recorder.update().where(recorder.c.id == 1)
        # Not so tasks: that one exists which was taken for new must be noticed (see `store.Records.apply`).
        self.new_tasks = self._text(tasks.insert(), tuple(column.name for column in tasks.columns))
        self.new_attempts = self._new(attempts)
        self.new_workflows = self._new(workflows)
        self.new_goals = self._new(goals)
        self.new_events = self._new(events)
        self.changed_tasks = self._text(_change_task(), ("state", "attempt", "failed", *CHANGING, "of"))
        self.ended_attempts = self._text(_end_attempt(), ("state", "finished_ms", "failure", "of", "number"))
        self.ended_workflows = self._text(_end_workflow(), ("state", "finished_ms", "of"))

    def _new(self, table: sa.Table) -> str:
        # Nothing is inserted twice as long as the engine's data and ours are of one piece; after a restored back-up of
        # either, the first word stands.
        return self._text(self._insert(table).on_conflict_do_nothing(), tuple(column.name for column in table.columns))

    def _text(self, statement: sa.ClauseElement, order: tuple[str, ...]) -> str:
        compiled = statement.compile(dialect=self._dialect)
        assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
        found = tuple(name.removeprefix("p_") for name in compiled.positiontup or ())
        assert found == order, f"parameters come as {found}"
        return str(compiled)


def _parameter(column: sa.Column[Any], name: str = "") -> sa.BindParameter[Any]:
    return sa.bindparam(f"p_{name or column.name}", type_=column.type)


def _change_task() -> sa.Update:
    columns = tasks.c
    values: dict[str, Any] = {
        "state": _parameter(columns.state),
        "attempt": _parameter(columns.attempt),
        "failures": columns.failures + _parameter(columns.failures, "failed"),
    }
    values |= {name: sa.func.coalesce(_parameter(columns[name]), columns[name]) for name in CHANGING}
    return tasks.update().where(columns.id == _parameter(columns.id, "of")).ordered_values(*values.items())


def _end_attempt() -> sa.Update:
    columns = attempts.c
    values = [(name, _parameter(columns[name])) for name in ("state", "finished_ms", "failure")]
    one = sa.and_(columns.task_id == _parameter(columns.task_id, "of"), columns.attempt == _parameter(columns.attempt, "number"))
    return attempts.update().where(one).ordered_values(*values)


def _end_workflow() -> sa.Update:
    columns = workflows.c
    values = [(name, _parameter(columns[name])) for name in ("state", "finished_ms")]
    return workflows.update().where(columns.id == _parameter(columns.id, "of")).ordered_values(*values)


async def read_position(connection: AsyncConnection, statements: Statements) -> int:
    """Return the number of the last entry recorded, locked until the transaction ends."""
    return int((await connection.execute(statements.position)).scalar_one())


async def read_known(connection: AsyncConnection, statements: Statements, task_ids: Iterable[str]) -> dict[str, Known]:
    """Return what the records hold of those tasks that they hold."""
    ids = list(task_ids)
    if not ids:
        return {}
    argument: Any = msgspec.json.encode(ids).decode() if connection.dialect.name == "sqlite" else ids
    found = await connection.exec_driver_sql(statements.known, (argument,))
    rows: Iterable[tuple[Any, ...]] = map(tuple, found)
    return {task_id: Known(_STATES[state], *rest) for task_id, state, *rest in rows}


_STATES = {state.value: state for state in TaskState}
_NAMES = {state: state.value for state in TaskState}  # an enum member's `value` is ten times as slow


async def write(connection: AsyncConnection, statements: Statements, batch: Batch, *, position: int) -> None:
    """Write a batch and the position that it reaches."""

    async def run(sql: str, rows: Rows) -> None:
        if rows:
            await connection.exec_driver_sql(sql, list(rows))

    await run(statements.new_workflows, [_workflow(row) for row in batch.workflows])
    await run(statements.new_goals, [_goal(row) for row in batch.workflows if row.goal is not None])
    followed = batch.tasks.values()
    await run(statements.new_tasks, [_new_task(row) for row in followed if row.is_new])
    await run(statements.changed_tasks, [_changed_task(row) for row in followed if not row.is_new])
    await run(statements.ended_attempts, [_attempt_end(end) for end in batch.attempt_ends])
    await run(statements.new_attempts, [_attempt(row) for row in batch.attempts.values()])
    await run(statements.ended_workflows, [_workflow_end(end) for end in batch.workflow_ends])
    await run(statements.new_events, [_event(row) for row in batch.events])
    await connection.execute(statements.move, {"position": position})


# Tuples in the order of the tables' columns, or of the parameters named above.


def _workflow(row: WorkflowRow) -> tuple[Any, ...]:
    return row.id, "running", row.root_id, None if row.goal else row.opening, row.created_ms, None


def _goal(row: WorkflowRow) -> tuple[Any, ...]:
    assert row.goal is not None
    return row.id, row.goal.text, row.goal.priority, row.opening


def _new_task(row: TaskRow) -> tuple[Any, ...]:
    return (
        row.id,
        _NAMES[row.state],
        row.workflow_id,
        row.parent_id,
        row.capability,
        row.key,
        row.title,
        row.layer,
        row.priority,
        row.needs,
        row.input,
        row.attempt,
        row.failures,
        row.agent_id,
        row.host_id,
        row.pool,
        row.progress,
        row.note,
        row.created_ms,
        row.queued_ms,
        row.started_ms,
        row.finished_ms,
        row.result,
        row.failure,
    )


def _changed_task(row: TaskRow) -> tuple[Any, ...]:
    return (
        _NAMES[row.state],
        row.attempt,
        row.failures,
        row.agent_id,
        row.host_id,
        row.pool,
        row.progress,
        row.note,
        row.queued_ms,
        row.started_ms,
        row.finished_ms,
        row.result,
        row.failure,
        row.id,
    )


def _attempt(row: AttemptRow) -> tuple[Any, ...]:
    return row.task_id, row.attempt, row.agent_id, row.host_id, row.state, row.started_ms, row.finished_ms, row.failure


def _attempt_end(end: AttemptEnd) -> tuple[Any, ...]:
    return end.state, end.finished_ms, end.failure, end.task_id, end.attempt


def _workflow_end(end: WorkflowEnd) -> tuple[Any, ...]:
    return end.state.value, end.finished_ms, end.id


def _event(row: EventRow) -> tuple[Any, ...]:
    return row.entry, row.workflow_id, row.kind, row.at_ms, row.workflow_state, row.host_id, row.encoded_tasks()
