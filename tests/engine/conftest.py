"""What the engine's tests share."""

import pytest

from amas.engine.connection import Engine
from tests.engine.cell import Cell


@pytest.fixture
def cell(engine: Engine) -> Cell:
    """A cell of its own with a clock that only the test moves on."""
    return Cell(engine)
