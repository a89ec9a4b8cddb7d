"""The tables. Ids are UUIDv7 text, so their order is the order of creation; times are milliseconds; payloads are msgpack.

NULL is "not yet" or "none" everywhere. The indices are those that a query of `history.py` or `analytics.py` needs and no more,
since each costs about a microsecond a task. A change here needs a migration; a test compares the two.
"""

import sqlalchemy as sa

metadata = sa.MetaData()

recorder = sa.Table(
    "recorder",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),  # one row: 1
    sa.Column("cell", sa.Text, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
)

goals = sa.Table(
    "goals",
    metadata,
    sa.Column("workflow_id", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("goal", sa.LargeBinary, nullable=False),
)

workflows = sa.Table(
    "workflows",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("root_id", sa.Text),
    sa.Column("opening", sa.LargeBinary),  # where it isn't a goal
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("finished_ms", sa.BigInteger),
    sa.Index("workflows_state", "state", "id"),
)

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("workflow_id", sa.Text),
    sa.Column("parent_id", sa.Text),
    sa.Column("capability", sa.Text, nullable=False),
    sa.Column("key", sa.Text),
    sa.Column("title", sa.Text),
    sa.Column("layer", sa.Text),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("needs", sa.LargeBinary),
    sa.Column("input", sa.LargeBinary),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("agent_id", sa.Text),
    sa.Column("host_id", sa.Text),
    sa.Column("pool", sa.Text),
    sa.Column("progress", sa.Float),
    sa.Column("note", sa.Text),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("queued_ms", sa.BigInteger),
    sa.Column("started_ms", sa.BigInteger),
    sa.Column("finished_ms", sa.BigInteger),
    sa.Column("result", sa.LargeBinary),
    sa.Column("failure", sa.LargeBinary),
    sa.Index("tasks_state", "state", "id"),
)
# Partial: tasks outside a workflow, and open ones, cost nothing here. `IS NOT NULL` follows from any comparison.
sa.Index(
    "tasks_workflow",
    tasks.c.workflow_id,
    tasks.c.id,
    sqlite_where=tasks.c.workflow_id.is_not(None),
    postgresql_where=tasks.c.workflow_id.is_not(None),
)
sa.Index(
    "tasks_finished",
    tasks.c.finished_ms,
    sqlite_where=tasks.c.finished_ms.is_not(None),
    postgresql_where=tasks.c.finished_ms.is_not(None),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("task_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("host_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started_ms", sa.BigInteger, nullable=False),
    sa.Column("finished_ms", sa.BigInteger),
    sa.Column("failure", sa.LargeBinary),
    sa.Index("attempts_agent", "agent_id", "task_id"),
    sqlite_with_rowid=False,
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("entry", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("workflow_id", sa.Text, primary_key=True),  # '' for tasks outside any
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("workflow_state", sa.Text),
    sa.Column("host_id", sa.Text),
    sa.Column("tasks", sa.LargeBinary, nullable=False),  # JSON: [TaskEvent...]
    sa.Index("events_workflow", "workflow_id", "entry"),
)

_ENTRY_BITS = 20  # entries within one millisecond: a million, twenty times what the engine can do in a second


def entry_number(entry_id: str) -> int:
    """Return a journal id `<ms>-<n>` as one number of the same order, 61 bits until the year 2248."""
    milliseconds, _, n = entry_id.partition("-")
    return int(milliseconds) << _ENTRY_BITS | int(n or 0)


def entry_id(number: int) -> str:
    """Return the journal id of an `entry_number`."""
    return f"{number >> _ENTRY_BITS}-{number & ((1 << _ENTRY_BITS) - 1)}"
