"""What alembic runs: the scripts, on the connection and in the transaction that `records/migrate.py` holds."""

from alembic import context

from amas.records.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
