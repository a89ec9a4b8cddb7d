"""A fleet to back up, and a place for its back-ups."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from backup_fleet import SECRET_KEY, Running, running

from amas.backup.repository import Repository


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Running]:
    """A fleet with nothing in it."""
    async with running(tmp_path / "home") as started:
        yield started


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty place for back-ups."""
    return Repository.open(str(tmp_path / "repository"), SECRET_KEY, create=True)
