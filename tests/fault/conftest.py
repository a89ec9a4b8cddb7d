"""A bench for host tests."""

from pathlib import Path

import pytest
import sample_agents
from host_bench import Bench

from amas.engine.connection import Engine


@pytest.fixture
def bench(engine: Engine, engine_url: str, tmp_path: Path) -> Bench:
    """A cell of its own."""
    sample_agents.begun.clear()
    sample_agents.ended.clear()
    sample_agents.release.clear()
    sample_agents.healthy.clear()
    return Bench(engine, engine_url, tmp_path)
