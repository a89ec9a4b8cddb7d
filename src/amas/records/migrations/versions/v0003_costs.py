"""What was spent, and whose work each task is."""

from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ROWS = 1000  # looked at at a time


def upgrade() -> None:
    """Change them."""
    op.add_column("tasks", sa.Column("tenant", sa.Text(), nullable=True))
    _fill_tenants()
    _costs()


def _costs() -> None:
    numbers = ("input_tokens", "output_tokens", "cached_tokens", "tokens", "calls", "usd_micro", "duration_ms")
    op.create_table(
        "costs",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("workflow_id", "tenant", "agent_id", "provider", "model")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in numbers),
        sa.PrimaryKeyConstraint("task_id", "attempt", "step", "number"),
        sqlite_with_rowid=False,
    )
    op.create_index("costs_at", "costs", ["at_ms"], unique=False)
    where = sa.text("workflow_id IS NOT NULL")
    op.create_index("costs_workflow", "costs", ["workflow_id"], unique=False, sqlite_where=where, postgresql_where=where)


def _fill_tenants() -> None:
    connection = op.get_bind()
    page = sa.text(f"SELECT id, options FROM tasks WHERE options IS NOT NULL AND id > :last ORDER BY id LIMIT {_ROWS}")  # noqa: S608
    fill = sa.text("UPDATE tasks SET tenant = :tenant WHERE id = :task_id")
    last = ""
    while rows := connection.execute(page, {"last": last}).all():
        known = [{"task_id": row.id, "tenant": tenant} for row in rows if (tenant := _tenant(row))]
        if known:
            connection.execute(fill, known)
        last = rows[-1].id


def _tenant(row: Any) -> str:
    options = msgspec.msgpack.decode(row.options)
    return str(options.get("t", "")) if isinstance(options, dict) else ""
