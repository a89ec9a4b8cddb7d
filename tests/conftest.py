"""What tests share: one real engine for each test process, a cell of its own for each test; and the order in which they run."""

import asyncio
import gc
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from tests.second_look import ALONE

from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine

if TYPE_CHECKING:
    from host_bench import Bench

    from amas.records.store import Records

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy one is no fault
settings.load_profile("any machine")

gc.disable()  # until the tests are collected: a fifth of the time that takes, which each test process spends
# A shell has what it runs in the background ignore Ctrl-C, and so would all that tests start there.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = ("fault", "e2e", "docs", "browser", "integration")
"""Folders whose tests start processes and wait for them, those that take longest first."""
ONE_EACH = ("anyio_backend", "empty_history", "engine_url", "postgres")
"""What every test process has for itself: the tests that need it are too many for one."""


def _turn(item: pytest.Item) -> int:
    """Return how late a test begins: soaks first, small tests last, so that nothing long is left for one process at the end."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    if item.get_closest_marker("soak"):
        return 0
    return LONG.index(folder) + 1 if folder in LONG else len(LONG) + 1


def _group(item: pytest.Item) -> str:
    """Return which tests a test shares a process with, or '' where it doesn't matter.

    Those of its xdist_group; else those that use the same fixture of the session's or the module's, such as a fleet, so that
    it is started once.
    """
    if mark := item.get_closest_marker("xdist_group"):
        return str(mark.args[0])
    used = {name: found[-1] for name, found in item._fixtureinfo.name2fixturedefs.items() if name not in ONE_EACH}
    scopes = {name: each.scope for name, each in used.items() if each.baseid}  # a plugin's fixtures have none
    session = sorted(name for name, scope in scopes.items() if scope == "session")
    return session[0] if session else item.path.stem if "module" in scopes.values() else ""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put tests in order and in groups.

    pytest-xdist reads a test's group from the end of its id, but 3.8 can't write it there with pytest 9.2, which has another name
    for what it sets: without this, each group is spread over all processes.
    """
    items.sort(key=_turn)
    if config.getoption("loadgroup", False):  # a process of several
        for item in items:
            if (group := _group(item)) and not item.nodeid.endswith(f"@{group}"):
                item.user_properties.append((ALONE, item.nodeid))
                item._id = type(item._id).parse(f"{item.nodeid}@{group}")


def pytest_collection_finish() -> None:
    """Look for garbage from here on, but never among tests and modules, of which nothing goes away."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real engine with the function library, for this test process."""
    server = EmbeddedEngine(Path(tmp_path_factory.mktemp("engine")))

    async def start() -> None:
        await server.start()
        async with Engine(server.url) as engine:
            await engine.wait_until_ready(timeout_s=60, load=True)

    with asyncio.Runner() as runner:  # the server's process belongs to one loop
        runner.run(start())
        yield server.url
        runner.run(server.stop())


@pytest.fixture
async def engine(engine_url: str) -> AsyncIterator[Engine]:
    """A connection to a cell that no other test uses."""
    async with Engine(engine_url, cell=uuid4().hex) as connection:
        yield connection


@pytest.fixture
def bench(engine: Engine, engine_url: str, tmp_path: Path) -> "Bench":
    """Hosts in this process, on that cell; the sample agents remember nothing of other tests."""
    import sample_agents
    from host_bench import Bench

    sample_agents.forget()
    return Bench(engine, engine_url, tmp_path)


@pytest.fixture(scope="session")
def empty_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the history's tables and nothing in them, for this test process."""
    from amas.records.database import Database
    from amas.records.migrate import migrate

    path = tmp_path_factory.mktemp("history") / "records.sqlite3"

    async def make() -> None:
        database = Database(f"sqlite:///{path}")
        await migrate(database)
        await database.close()

    asyncio.run(make())
    return path


@pytest.fixture
def sqlite_url(empty_history: Path, tmp_path: Path) -> str:
    """The address of a history of the test's own; to make its tables anew would take four times as long."""
    shutil.copyfile(empty_history, tmp_path / "records.sqlite3")
    return f"sqlite:///{tmp_path}/records.sqlite3"


@pytest.fixture
async def records(engine: Engine, sqlite_url: str) -> AsyncIterator["Records"]:
    """An empty history that belongs to that cell."""
    from amas.records.store import Records

    cell = engine.prefix.removeprefix("amas:{").removesuffix("}")
    async with await Records.open(sqlite_url, cell=cell) as opened:
        yield opened
