"""What tests share: one real engine for each test process, and a cell of its own for each test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy one is no fault
settings.load_profile("any machine")


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
