"""A tenant's workflows are found by an index, and no longer among everybody's."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make it."""
    where = sa.text("tenant IS NOT NULL AND workflow_id IS NOT NULL")
    op.create_index(
        "tasks_tenant_workflow", "tasks", ["tenant", "workflow_id"], unique=False, sqlite_where=where, postgresql_where=where
    )
