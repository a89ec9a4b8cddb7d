"""`amas up` in a home with a past: it goes on with what was applied there last, whoever applied it, and says so."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command

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


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Command]:
    (tmp_path / "greeting.py").write_text(AGENT)
    (tmp_path / "fleet.yaml").write_text(FLEET.format(hosts=1, replicas=1))
    (tmp_path / "larger.yaml").write_text(FLEET.format(hosts=2, replicas=3))
    command = Command(tmp_path, COLUMNS="200")
    yield command
    command("down")


def test_a_start_that_names_no_fleet_goes_on_with_what_was_applied_last(run: Command) -> None:
    assert run("up", "--fleet", "./fleet.yaml").returncode == 0
    assert run("apply", "larger.yaml", "--yes").returncode == 0
    assert run("down").returncode == 0

    again = run("up")
    assert again.returncode == 0, again.stderr
    assert "as it was applied here last" in again.stdout
    state = json.loads((run.home / "fleet.json").read_text())
    assert (state["name"], state["fleet_file"]) == ("greeters", str(run.folder / "larger.yaml"))
    assert [pool["agents"]["total"] for pool in run.json("ps")["items"]] == [3]
    applied = [one for one in run.json("history")["items"] if "fleet" in one["fields"]]
    assert len(applied) == 2, "the start applied nothing"
    assert run("down").returncode == 0

    refused = run("up", "--phase", "9")
    assert (refused.returncode, "has no stage '9'" in refused.stderr) == (3, True)
    assert run("down").returncode == 0

    named = run("up", "--fleet", "./fleet.yaml")
    assert "as it was applied here last" not in named.stdout
    assert [pool["agents"]["total"] for pool in run.json("ps")["items"]] == [1]
