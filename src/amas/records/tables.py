"""The tables. Ids are UUIDv7 text, so their order is the order of creation; times are milliseconds; payloads are msgpack.

NULL is "not yet" or "none" everywhere. The indices are those that a query of `history.py` or `analytics.py` needs and no more,
since each costs about a microsecond a task. A change here needs a migration; a test compares the two.
"""

from typing import Any

import sqlalchemy as sa

from amas.model.journal import position_of

metadata = sa.MetaData()

recorder = sa.Table(
    "recorder",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),  # one row: 1
    sa.Column("cell", sa.Text, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("engine", sa.Text),  # the mark of the engine whose journal that is (see 70_recover.lua)
    sa.Column("summed_from_ms", sa.BigInteger, nullable=False, server_default="0"),  # see `SUMS`
)

# What the engine held when it was lost, until it has been recovered: set when the recorder meets another engine.
lost = sa.Table(
    "lost",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("what", sa.Text, nullable=False),  # 'task' or 'workflow'
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

# Columns that plain tasks leave empty have defaults, so that their rows needn't name them.
tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("workflow_id", sa.Text),
    sa.Column("parent_id", sa.Text),
    sa.Column("capability", sa.Text, nullable=False),
    sa.Column("queue", sa.Text),  # where that isn't the capability
    sa.Column("key", sa.Text),
    sa.Column("title", sa.Text),
    sa.Column("layer", sa.Text),
    sa.Column("tenant", sa.Text),
    sa.Column("priority", sa.SmallInteger, nullable=False, server_default="1"),
    sa.Column("needs", sa.LargeBinary),
    sa.Column("spec", sa.LargeBinary, nullable=False),  # a TaskSpec, as it was submitted
    sa.Column("options", sa.LargeBinary),  # SubmitOptions, as they were submitted
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("agent_id", sa.Text),
    sa.Column("host_id", sa.Text),
    sa.Column("progress", sa.Float),
    sa.Column("note", sa.Text),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("queued_ms", sa.BigInteger),  # since when it can be claimed, or will be, where that isn't its creation
    sa.Column("started_ms", sa.BigInteger),
    sa.Column("finished_ms", sa.BigInteger),
    sa.Column("result", sa.LargeBinary),
    sa.Column("failure", sa.LargeBinary),
)


def _partial(name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool]) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


# Partial: what most tasks aren't costs them nothing. A query must say the condition in these words to be served by the index,
# but `IS NOT NULL` follows from any comparison.
OPEN = tasks.c.finished_ms.is_(None)
AMISS = tasks.c.state.in_([sa.literal_column("'failed'"), sa.literal_column("'cancelled'")])
_partial("tasks_open", tasks.c.id, where=OPEN)
_partial("tasks_amiss", tasks.c.state, tasks.c.id, where=AMISS)
_partial("tasks_workflow", tasks.c.workflow_id, tasks.c.id, where=tasks.c.workflow_id.is_not(None))
_partial("tasks_parent", tasks.c.parent_id, where=sa.and_(tasks.c.parent_id.is_not(None), tasks.c.workflow_id.is_(None)))
_partial("tasks_finished", tasks.c.finished_ms, where=tasks.c.finished_ms.is_not(None))
_partial("tasks_tenant", tasks.c.tenant, tasks.c.id, where=tasks.c.tenant.is_not(None))
_OWNED = sa.and_(tasks.c.tenant.is_not(None), tasks.c.workflow_id.is_not(None))
_partial("tasks_tenant_workflow", tasks.c.tenant, tasks.c.workflow_id, where=_OWNED)
_partial("tasks_agent", tasks.c.agent_id, where=tasks.c.agent_id.is_not(None))

# A first attempt that ended as its task did, or still runs, stands in the task's own row.
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
_partial("attempts_finished", attempts.c.finished_ms, where=attempts.c.finished_ms.is_not(None))

# Of open tasks only; they go when the task ends.
steps = sa.Table(
    "steps",
    metadata,
    sa.Column("task_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("result", sa.LargeBinary, nullable=False),
)

# What was spent: a row for each request to a model, and one with step '' for what an attempt used besides.
# Kept as amounts of the time when they arose, with whom they are accounted to, so that no sum needs another table.
costs = sa.Table(
    "costs",
    metadata,
    sa.Column("task_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("number", sa.SmallInteger, primary_key=True, autoincrement=False),  # within the step: fallbacks make several
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("workflow_id", sa.Text),
    sa.Column("tenant", sa.Text),
    sa.Column("agent_id", sa.Text),
    sa.Column("provider", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cached_tokens", sa.BigInteger, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("usd_micro", sa.BigInteger, nullable=False),
    sa.Column("duration_ms", sa.BigInteger, nullable=False),
    sa.Index("costs_at", "at_ms"),
    sqlite_with_rowid=False,
)
_partial("costs_workflow", costs.c.workflow_id, where=costs.c.workflow_id.is_not(None))

SPENT = ("usd_micro", "tokens", "input_tokens", "output_tokens", "cached_tokens", "calls", "duration_ms", "entries")
"""Of the rows of `costs` that belong to a sum; `entries` is how many."""
ENDED = ("agent_ms", "attempts", "succeeded", "failed")
"""Of the attempts that ended: their milliseconds, how many, and how many of these succeeded or failed."""
_name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Ordered by its bytes, as SQLite does."""


def _sums(name: str, *keys: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("at_ms", sa.BigInteger, primary_key=True, autoincrement=False),  # first: what grows lies together
        *(sa.Column(each, _name, primary_key=True, server_default="") for each in keys),
        sa.Column("in_workflow", sa.SmallInteger, primary_key=True, autoincrement=False, server_default="0"),  # 1: it is in one
        *(sa.Column(each, sa.BigInteger, nullable=False, server_default="0") for each in (*SPENT, *ENDED)),
        sqlite_with_rowid=False,
    )


# What costs and ended attempts come to by hour, four hours or day (UTC, when it begins), written in their transaction.
# They hold all that arose or ended at `recorder.summed_from_ms`, a whole hour, or later, and nothing from before.
hour_sums = _sums("hour_sums", "pool", "tenant", "provider", "model")
day_sums = _sums("day_sums", "pool", "tenant", "provider", "model")
agent_sums = _sums("agent_sums", "agent_id", "tenant")  # by four hours
SUMS = (hour_sums, day_sums, agent_sums)

# How tasks ended (`outcomes.py`), written with these, and from the same time on. Packed: a task's time falls into one of a
# hundred buckets, and seconds are read by the ten thousand.
outcome_sums = sa.Table(
    "outcome_sums",
    metadata,
    sa.Column("span_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    *(sa.Column(each, _name, primary_key=True, server_default="") for each in ("capability", "layer", "pool")),
    sa.Column("sums", sa.LargeBinary, nullable=False),  # an Outcome
    sqlite_with_rowid=False,
)
minute_sums = sa.Table(
    "minute_sums",
    metadata,
    sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),  # since the epoch
    sa.Column("sums", sa.LargeBinary, nullable=False),  # `MEASURES` numbers for each second
    sqlite_with_rowid=False,
)
PACKED = (outcome_sums, minute_sums)

events = sa.Table(
    "events",
    metadata,
    sa.Column("entry", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("workflow_id", sa.Text, primary_key=True),  # '' for tasks outside any
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("workflow_state", sa.Text),
    sa.Column("host_id", sa.Text),
    sa.Column("tasks", sa.LargeBinary, nullable=False),  # [the first fields of a TaskEvent...]; in JSON before version 0002
    sa.Index("events_workflow", "workflow_id", "entry"),
)

_ENTRY_BITS = 20  # entries within one millisecond: a million, twenty times what the engine can do in a second


def entry_number(entry_id: str) -> int:
    """Return a journal id `<ms>-<n>` as one number of the same order, 61 bits until the year 2248."""
    milliseconds, number = position_of(entry_id)
    return milliseconds << _ENTRY_BITS | number


def entry_id(number: int) -> str:
    """Return the journal id of an `entry_number`."""
    return f"{number >> _ENTRY_BITS}-{number & ((1 << _ENTRY_BITS) - 1)}"
