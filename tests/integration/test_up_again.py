"""`amas up` in a home with a past: it goes on with what was applied there last, whoever applied it, and says so."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

LIMIT_S = 90
FLEET = """
name: greeters
hosts: {hosts}
pools:
  - {{name: greeter, layer: executive, agent: "greeting:greet", capabilities: [text.greet], replicas: {replicas}}}
"""
AGENT = """
from amas import agent

@agent("text.greet")
async def greet(task):
    return "hello"
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "greeting.py").write_text(AGENT)
    (folder / "fleet.yaml").write_text(FLEET.format(hosts=1, replicas=1))
    (folder / "larger.yaml").write_text(FLEET.format(hosts=2, replicas=3))
    environment = {
        **os.environ,
        "AMAS_HOME": str(tmp_path / "home"),
        "AMAS_PORT": "0",
        "AMAS_METRICS_PORT": "0",
        "COLUMNS": "200",
    }

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "amas", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)

    yield call
    call("down")


def test_a_start_that_names_no_fleet_goes_on_with_what_was_applied_last(run: Run, tmp_path: Path) -> None:
    assert run("up", "--fleet", "./fleet.yaml").returncode == 0
    assert run("apply", "larger.yaml", "--yes").returncode == 0
    assert run("down").returncode == 0

    again = run("up")
    assert again.returncode == 0, again.stderr
    assert "as it was applied here last" in again.stdout
    state = json.loads((tmp_path / "home" / "fleet.json").read_text())
    assert (state["name"], state["fleet_file"]) == ("greeters", str(tmp_path / "mine" / "larger.yaml"))
    assert [pool["agents"]["total"] for pool in json.loads(run("ps", "--json").stdout)["items"]] == [3]
    applied = [one for one in json.loads(run("history", "--json").stdout)["items"] if "fleet" in one["fields"]]
    assert len(applied) == 2, "the start applied nothing"
    assert run("down").returncode == 0

    refused = run("up", "--phase", "9")
    assert (refused.returncode, "has no stage '9'" in refused.stderr) == (3, True)
    assert run("down").returncode == 0

    named = run("up", "--fleet", "./fleet.yaml")
    assert "as it was applied here last" not in named.stdout
    assert [pool["agents"]["total"] for pool in json.loads(run("ps", "--json").stdout)["items"]] == [1]
