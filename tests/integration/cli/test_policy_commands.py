"""`amas policy` as a person calls it: against a fleet file, and against a fleet whose policies change while it runs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple

import pytest

from amas.cli.main import main

LIMIT_S = 150
EXAMPLE = Path(__file__).parents[3] / "examples" / "policies"


class Done(NamedTuple):
    code: object
    stdout: str
    stderr: str


class Folder:
    """A copy of the example, and `amas` called in it: here, since a process for each call would cost more than all the rest."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self._patch, self._capsys = path, patch, capsys
        patch.chdir(path)
        patch.setenv("AMAS_HOME", str(path / "home"))

    def amas(self, *arguments: str) -> Done:
        self._patch.setattr(sys, "argv", ["amas", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = self._capsys.readouterr()
        return Done(ended.value.code or 0, said.out, said.err)

    def json(self, *arguments: str) -> Any:
        done = self.amas(*arguments, "--json")
        assert done.code == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Folder:
    return Folder(Path(copytree(EXAMPLE, tmp_path / "fleet")), monkeypatch, capsys)


@pytest.fixture
def running(folder: Folder) -> Iterator[Folder]:
    def process(*arguments: str) -> None:
        command = [sys.executable, "-m", "amas", *arguments]
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 0, done.stderr

    process("up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0")
    yield folder
    process("down")


def test_policies_change_in_a_running_fleet_and_a_bad_file_changes_nothing(running: Folder) -> None:
    call = ("policy", "test", "--agent", "coder-1", "--tool", "shell", "--arg", "command=git log")
    assert running.json(*call)["rules"] == ["git"]
    expected = running.amas("policy", "test", "expected.yaml")
    assert (expected.code, expected.stdout.strip()[-15:]) == (0, "are as expected"), expected.stderr

    unknown = running.amas("policy", "test", "--agent", "nobody-9", "--tool", "shell")
    assert (unknown.code, unknown.stderr.startswith("amas: this fleet declares no agent 'nobody-9'")) == (2, True)

    file = running.path / "policies" / "code.yaml"
    sound = file.read_text()
    file.write_text(sound.replace("pools: coder", "pools: codr"))
    for command in (("policy", "apply", "policies/"), ("apply", "fleet.yaml", "--yes")):
        refused = running.amas(*command)
        assert refused.code == 2 and "code.yaml:10: rules[1].pools: there is no pool 'codr'" in refused.stderr
    assert running.json(*call)["rules"] == ["git"]

    file.write_text(sound.replace("pools: coder", "pools: reviewer"))
    applied = running.json("policy", "apply", "policies/", "--why", "reviewers commit")
    assert [change["what"] for change in applied["difference"]["changes"]] == ["policy git"]
    after = running.amas(*call)
    assert after.code == 1 and after.stdout.startswith("refused: coder-1 may not use 'shell': no rule allows it; 'git' does")
    wrong = running.amas("policy", "test", "expected.yaml")
    assert wrong.code == 1 and "test 3: coder-1 and 'shell': expected allow, but" in wrong.stderr
    assert "no tool was refused" in running.amas("policy", "refusals").stdout


def test_without_a_fleet_files_are_checked_against_a_fleet_file(folder: Folder) -> None:
    assert folder.amas("policy", "check", "policies", "--fleet", "fleet.yaml").stdout == "8 rules, all sound\n"
    for agent, why in (("nobody-9", "there is no pool 'nobody'"), ("coder", "an agent is called by its pool")):
        unknown = folder.amas("policy", "test", "--fleet", "fleet.yaml", "--agent", agent, "--tool", "shell")
        assert (unknown.code, unknown.stdout) == (2, "")
        assert unknown.stderr.startswith(f"amas: this fleet declares no agent '{agent}': {why}")
    lost = folder.amas("policy", "check", "policies")
    assert lost.code == 3 and "--fleet fleet.yaml" in lost.stderr
    (folder.path / "policies" / "none.yaml").write_text("rules:\n  - {name: no-shell, deny: sh*}\n")
    checked = folder.amas("policy", "check", "--fleet", "fleet.yaml").stdout
    assert "warning: code.yaml:8: git allows nothing: 'no-shell'" in checked
    assert checked.splitlines()[-1] == "9 rules, 1 warning: look whether that is meant"
    (folder.path / "empty").mkdir()
    empty = folder.amas("policy", "check", "empty", "--fleet", "fleet.yaml").stderr
    assert empty == "amas: empty: holds no policies: .yaml, .json or .cedar files\n"
