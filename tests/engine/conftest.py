"""What the engine's tests share."""

import pytest
from tests.engine.cell import Cell

from amas.engine.connection import Engine


@pytest.fixture
def cell(engine: Engine) -> Cell:
    """A cell of its own with a clock that only the test moves on."""
    return Cell(engine)
