"""Bringing a database to this version's tables, by the alembic scripts in `migrations/`.

One process at a time: SQLite's write lock or a PostgreSQL advisory lock is taken first, then the version is read again, and the
scripts run in that same transaction, so two that start at once do the work once and a failed script leaves nothing behind.
A database that is up to date costs one query. Alembic, which takes long to import, is loaded for older tables only: an empty
database gets those of `tables.py` at once, which are what all scripts together make; a test compares the two.
Source: https://alembic.sqlalchemy.org/en/latest/cookbook.html#building-an-up-to-date-database-from-scratch
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from amas.errors import RecordsError
from amas.records.database import POSTGRESQL_MIN, Database
from amas.records.tables import metadata

HEAD = "0006"
"""The newest script; a test compares it with the folder."""

_LOCK = 0x616D6173  # "amas": the advisory lock of whoever migrates
_LOCK_WAIT_S = 60  # longer than any script of ours takes

_MARKED = """
    CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))
"""
"""Where alembic notes the newest script that ran, as it makes that table itself."""


async def migrate(database: Database) -> None:
    """Bring the tables to `HEAD`; RecordsError when the database can't be, or belongs to a newer version."""
    async with database.reading() as connection:
        if not database.is_sqlite:
            await _check_server(connection, database)
        found = await connection.run_sync(_version)
    if found == HEAD:
        return
    if found > HEAD:
        raise RecordsError(f"the records in {database.shown} were made by a newer amas (tables {found}, ours {HEAD}): upgrade")
    async with database.writing() as connection:
        if not database.is_sqlite:
            await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'")
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        found = await connection.run_sync(_version)
        if found != HEAD:
            await connection.run_sync(_upgrade if found else _create)


async def _check_server(connection: AsyncConnection, database: Database) -> None:
    version = connection.dialect.server_version_info or (0,)
    if version < POSTGRESQL_MIN:
        shown = ".".join(map(str, version))
        raise RecordsError(f"the server of {database.shown} is PostgreSQL {shown}; {POSTGRESQL_MIN[0]} or newer is needed")


def _version(connection: sa.Connection) -> str:
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() or "")


def _create(connection: sa.Connection) -> None:
    mark = sa.table("alembic_version", sa.column("version_num"))
    metadata.create_all(connection)
    connection.exec_driver_sql(_MARKED)
    connection.execute(sa.insert(mark).values(version_num=HEAD))


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
