"""docs/access.md: its commands are those of `amas`, its roles and scopes those of the table."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from amas.cli.main import app
from amas.model.access import Role
from amas.server.access import AREAS

PAGE = (Path(__file__).parents[2] / "docs" / "access.md").read_text()


def test_its_commands_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMAS_URL", "https://fleet.example")
    typed = re.findall(r"^\$ amas (.*)$", PAGE, re.MULTILINE)
    assert len(typed) > 8
    for line in typed + re.findall(r"`amas ([^`]+)`", PAGE):
        words, command = shlex.split(line), get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        assert command is not get_command(app), line
        if line in typed:
            command.make_context("amas", words)


def test_its_roles_and_scopes_are_the_table_s() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE) == list(Role)
    assert {scope.removesuffix(":read") for scope in re.findall(r"--scope ([\w:-]+)", PAGE)} <= AREAS
