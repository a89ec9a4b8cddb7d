"""Every back-end for one suite: SQLite and a PostgreSQL server; a local folder, and S3 as moto's server speaks it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from postgres_server import MISSING, PostgresServer, find_postgres
from s3_server import s3_server

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


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server, with the keys for it in the environment."""
    with s3_server() as address, pytest.MonkeyPatch.context() as environ:
        for name, value in address.environ.items():
            environ.setenv(name, value)
        yield address.endpoint


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.xdist_group("s3"))])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty place for blobs."""
    if request.param == "folder":
        return str(tmp_path / "blobs")
    endpoint = request.getfixturevalue("endpoint")
    bucket = f"b{sha256(str(tmp_path).encode()).hexdigest()[:20]}"
    httpx.put(f"{endpoint}/{bucket}", timeout=60).raise_for_status()
    return f"s3://{bucket}/some/prefix"
