"""Sums of costs and attempts by hour, day, pool and agent; what is there already is added up later, while the fleet works."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_NUMBERS = (
    *("usd_micro", "tokens", "input_tokens", "output_tokens", "cached_tokens", "calls", "duration_ms", "entries"),
    *("agent_ms", "attempts", "succeeded", "failed"),
)
_NOTHING_SUMMED = 1 << 62


def upgrade() -> None:
    """Make them."""
    _sums("hour_sums", "pool", "tenant", "provider", "model")
    _sums("day_sums", "pool", "tenant", "provider", "model")
    _sums("agent_sums", "agent_id", "tenant")
    where = sa.text("finished_ms IS NOT NULL")
    op.create_index("attempts_finished", "attempts", ["finished_ms"], unique=False, sqlite_where=where, postgresql_where=where)
    op.add_column("recorder", sa.Column("summed_from_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(f"UPDATE recorder SET summed_from_ms = {_NOTHING_SUMMED}")  # noqa: S608


def _sums(name: str, *keys: str) -> None:
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        name,
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        *(sa.Column(key, text, nullable=False, server_default="") for key in keys),
        sa.Column("in_workflow", sa.SmallInteger(), autoincrement=False, nullable=False, server_default="0"),
        *(sa.Column(each, sa.BigInteger(), nullable=False, server_default="0") for each in _NUMBERS),
        sa.PrimaryKeyConstraint("at_ms", *keys, "in_workflow"),
        sqlite_with_rowid=False,
    )
