"""Two real databases for one suite: SQLite, and a PostgreSQL server that lives as long as the test process."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from postgres_server import MISSING, PostgresServer, find_postgres

from amas.records.store import Records


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server."""
    binaries = find_postgres()
    if binaries is None:
        pytest.skip(MISSING)
    server = PostgresServer(binaries)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_records_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Awaitable[str]]:
    """Makes empty databases and returns their addresses."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.new_database

    async def new_sqlite() -> str:
        return f"sqlite:///{tmp_path / uuid4().hex}.sqlite3"

    return new_sqlite


@pytest.fixture
async def records_url(new_records_url: Callable[[], Awaitable[str]]) -> str:
    """The address of an empty database."""
    return await new_records_url()


@pytest.fixture
async def records(records_url: str) -> AsyncIterator[Records]:
    """An empty history."""
    async with await Records.open(records_url) as opened:
        yield opened
