"""What `amas --help` shows."""

import subprocess
import sys

from amas.cli.groups import SECTIONS


def test_every_command_stands_under_what_it_is_for() -> None:
    command = [sys.executable, "-m", "amas", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Others:" not in done.stdout, "a new command belongs into a section of amas/cli/groups.py"
    assert [title for title in SECTIONS if f"\n{title}:\n" not in done.stdout] == []
    named = [name for names in SECTIONS.values() for name in names]
    assert len(set(named)) == len(named)
