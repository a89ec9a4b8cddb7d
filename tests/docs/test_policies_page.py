"""docs/policies.md: its files are sound, its commands are those of `amas`, and they print what the page says."""

import re
import shlex
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from amas.cli.main import app
from amas.fleet.load import load_fleet
from amas.fleet.policies import load_policies
from amas.policy.judge import known

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()


def _files(folder: Path) -> Path:
    (folder / "policies").mkdir()
    for name, text in re.findall(r"```yaml\n(?=# (\S+)\n)(.*?)```", PAGE, re.DOTALL):
        (folder / name).write_text(text)
    return folder / "fleet.yaml"


def test_what_it_prints_is_printed(tmp_path: Path, monkeypatch) -> None:
    fleet = _files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command, printed in re.findall(r"^\$ amas (policy test .*)\n(.*)$", PAGE, re.MULTILINE):
        assert CliRunner().invoke(app, shlex.split(command)).stdout.strip() == printed.strip(), command
    (cedar,) = re.findall(r"```cedar\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "own.cedar").write_text(cedar)
    assert load_policies([tmp_path / "own.cedar"], known(load_fleet(fleet))).rules[0].name == "small-searches"


def test_its_commands_can_be_called() -> None:
    typed = re.findall(r"^\$ amas (.*)$", PAGE, re.MULTILINE)
    assert len(typed) > 5
    for line in typed:
        words, command = shlex.split(line), get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        assert command is not get_command(app), line
        command.make_context("amas", words)
