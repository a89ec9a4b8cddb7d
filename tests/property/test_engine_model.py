"""A random life of tasks on a real engine, step by step beside plain rules in Python that must agree.

A seed makes a run repeatable: a failure prints it with the last calls, and `AMAS_SEED=<n>` runs that one alone.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.engine.cell import Cell
from tests.property.life import Life

from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine

SEEDS = [int(os.environ["AMAS_SEED"])] if "AMAS_SEED" in os.environ else list(range(5))
FULL = os.environ.get("AMAS_SOAK") == "full"
STEPS = 120
TOLD = 30


@contextmanager
def telling(life: Life) -> Iterator[None]:
    """Say what was called last when something fails."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"after {len(life.story)} calls, the last of which were:\n" + "\n".join(life.story[-TOLD:]))
        raise


async def live(engine: Engine, seed: int) -> None:
    life = Life(Cell(engine), seed)
    with telling(life):
        for _ in range(STEPS):
            await life.step()
            await life.agrees()
        await life.finish()


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("seed", SEEDS)
async def test_the_engine_agrees_with_the_rules(engine: Engine, seed: int) -> None:
    await live(engine, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1300 if FULL else 1001))
async def test_it_agrees_for_long(engine: Engine, seed: int) -> None:
    await live(engine, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 130 if FULL else 102))
async def test_it_agrees_after_kill_9_too(tmp_path: Path, seed: int) -> None:
    """The server is killed between calls: whatever was acknowledged is there, with nothing else."""
    server = EmbeddedEngine(tmp_path / "data")
    await server.start()
    try:
        async with Engine(server.url) as engine:
            await engine.check(load=True)
            life = Life(Cell(engine), seed)
            with telling(life):
                for _ in range(5):
                    for _ in range(STEPS // 6):
                        await life.step()
                    await kill_and_start(server, engine)
                    await life.agrees()
                await life.finish()
    finally:
        await server.stop()


async def kill_and_start(server: EmbeddedEngine, engine: Engine) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.stop()
    await server.start()
    await engine.client.connection_pool.disconnect()
    await engine.wait_until_ready(timeout_s=60)
