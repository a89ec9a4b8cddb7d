"""Sums of how tasks ended, and by agent for four hours; all are added up anew while the fleet works: they reach back together."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_NOTHING_SUMMED = 1 << 62


def upgrade() -> None:
    """Make them."""
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "outcome_sums",
        *(sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False) for name in ("span_ms", "at_ms")),
        *(sa.Column(name, text, nullable=False, server_default="") for name in ("capability", "layer", "pool")),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("span_ms", "at_ms", "capability", "layer", "pool"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "minute_sums",
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("minute"),
        sqlite_with_rowid=False,
    )
    where = sa.text("tenant IS NOT NULL")
    op.create_index("tasks_tenant", "tasks", ["tenant", "id"], unique=False, sqlite_where=where, postgresql_where=where)
    for table in ("hour_sums", "day_sums", "agent_sums"):
        op.execute(f"DELETE FROM {table}")  # noqa: S608
    op.execute(f"UPDATE recorder SET summed_from_ms = {_NOTHING_SUMMED}")  # noqa: S608
