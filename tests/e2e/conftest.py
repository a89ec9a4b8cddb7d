"""Commands beside a fleet of their own or a shared one, and projects to run goals on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import Command


@pytest.fixture
def amas(tmp_path: Path) -> Iterator[Command]:
    """A command whose fleet doesn't outlast the test."""
    command = Command(tmp_path)
    yield command
    if (tmp_path / "home").exists():
        command("down")
    assert command.left_running() == []


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A command beside a fleet that lasts as long as the session."""
    with Command(tmp_path_factory.mktemp("fleet")).up() as command:
        yield command


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Make a project of these files and return its folder."""

    def make(**files: str) -> Path:
        folder = tmp_path / "project"
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        folder.mkdir(exist_ok=True)
        return folder

    return make
