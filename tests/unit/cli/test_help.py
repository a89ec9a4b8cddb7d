"""What `amas --help` shows."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from amas.cli.groups import SECTIONS
from amas.cli.main import app


def test_every_command_stands_under_what_it_is_for() -> None:
    command = [sys.executable, "-m", "amas", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Others:" not in done.stdout, "a new command belongs into a section of amas/cli/groups.py"
    assert [title for title in SECTIONS if f"\n{title}:\n" not in done.stdout] == []
    named = [name for names in SECTIONS.values() for name in names]
    assert len(set(named)) == len(named)


def test_no_command_is_told_of_by_half_a_sentence() -> None:
    def cut(command: Any, path: str) -> Iterator[str]:
        below = getattr(command, "commands", {})
        if below:
            with command.make_context(path, ["--help"], resilient_parsing=True) as context:
                formatter = context.make_formatter()
                command.format_commands(context, formatter)
            shown = formatter.getvalue().splitlines()
            yield from (f"{path}: {line}" for line in shown if line.endswith("...") or line.startswith(" " * 12))
        for name, each in below.items():
            yield from cut(each, f"{path} {name}")

    assert list(cut(get_command(app), "amas")) == []
