"""Rows that cost less, and all that a lost engine is rebuilt from.

Tasks keep their whole specification and the options that the engine got; a first attempt stands in its task's row; indices hold
only what they are asked for; `steps` has the journaled steps of open tasks, `lost` what an engine held when it was lost.
"""

from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ROWS = 1000  # converted at a time


def upgrade() -> None:
    """Change them."""
    _new_tables()
    _tasks_begin()
    _fill_specs()
    _tasks_end()
    _indices()
    op.execute(_DROP_FIRST_ATTEMPTS)


# Those that say nothing that their task's row doesn't.
_DROP_FIRST_ATTEMPTS = """
    DELETE FROM attempts WHERE attempt = 1 AND EXISTS (
        SELECT 1 FROM tasks WHERE tasks.id = attempts.task_id AND tasks.attempt = 1 AND tasks.state = attempts.state)
"""


def _new_tables() -> None:
    op.create_table(
        "lost",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "steps",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "name"),
    )
    op.add_column("recorder", sa.Column("engine", sa.Text(), nullable=True))


def _tasks_begin() -> None:
    for name in ("tasks_state", "tasks_workflow", "tasks_finished"):
        op.drop_index(name, "tasks")
    with op.batch_alter_table("tasks") as tasks:
        tasks.add_column(sa.Column("queue", sa.Text(), nullable=True))
        tasks.add_column(sa.Column("spec", sa.LargeBinary(), nullable=True))
        tasks.add_column(sa.Column("options", sa.LargeBinary(), nullable=True))


def _tasks_end() -> None:
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_column("input")
        tasks.drop_column("pool")
        tasks.alter_column("spec", existing_type=sa.LargeBinary(), nullable=False)
        tasks.alter_column("priority", existing_type=sa.SmallInteger(), existing_nullable=False, server_default="1")
        tasks.alter_column("attempt", existing_type=sa.Integer(), existing_nullable=False, server_default="0")
        tasks.alter_column("failures", existing_type=sa.Integer(), existing_nullable=False, server_default="0")


def _indices() -> None:
    for name, columns, condition in (
        ("tasks_open", ["id"], "finished_ms IS NULL"),
        ("tasks_amiss", ["state", "id"], "state IN ('failed', 'cancelled')"),
        ("tasks_workflow", ["workflow_id", "id"], "workflow_id IS NOT NULL"),
        ("tasks_parent", ["parent_id"], "parent_id IS NOT NULL AND workflow_id IS NULL"),
        ("tasks_finished", ["finished_ms"], "finished_ms IS NOT NULL"),
        ("tasks_agent", ["agent_id"], "agent_id IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, "tasks", columns, unique=False, sqlite_where=where, postgresql_where=where)


def _fill_specs() -> None:
    connection = op.get_bind()
    wanted = "id, capability, input, key, title, layer, needs, workflow_id, parent_id"
    page = sa.text(f"SELECT {wanted} FROM tasks WHERE id > :last ORDER BY id LIMIT {_ROWS}")  # noqa: S608
    fill = sa.text("UPDATE tasks SET spec = :spec, options = :options WHERE id = :task_id")
    last = ""
    while rows := connection.execute(page, {"last": last}).all():
        connection.execute(fill, [_filled(row) for row in rows])
        last = rows[-1].id


def _filled(row: Any) -> dict[str, Any]:
    """Return what is known of a specification and options, as their msgpack was when this was written."""
    needs = msgspec.msgpack.decode(row.needs) if row.needs else []
    task_input = msgspec.Raw(row.input) if row.input else None
    texts = (row.key or "", row.title or "", row.layer or "")
    retry = [3, 1.0, 60.0, 0.5]
    spec = [row.capability, task_input, *texts, 0.0, retry, needs, [], row.workflow_id or "", row.parent_id or ""]
    options = {"n": needs, "w": row.workflow_id, "u": row.parent_id}
    given = {name: value for name, value in options.items() if value}
    return {
        "task_id": row.id,
        "spec": msgspec.msgpack.encode(spec),
        "options": msgspec.msgpack.encode(given) if given else None,
    }
