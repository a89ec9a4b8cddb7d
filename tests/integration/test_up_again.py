"""`amas up` in a home with a past: it goes on with what was applied there last, whoever applied it, and says so."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from amas import Fleet

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
ALONE = """
name: alone
pools:
  - {name: helper, layer: executive, agent: "helping:help", capabilities: [text.help], replicas: 1, isolation: process}
"""
HELPS = """
import subprocess
import sys

from amas import agent

WORD = "a word from beside the file"

@agent("text.help")
def help(task):
    code = "import helping; print(helping.WORD)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
"""
OWN = """
name: own
pools:
  - {name: chief, layer: executive, agent: "chiefs:meet", capabilities: [executive.coordinate]}
"""
CHIEF = """
from amas import agent

@agent("executive.coordinate")
async def meet(task):
    return {"answer": 42}
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
    _refuses_agents_that_cannot_work(run)
    assert "as it was applied here last" in again.stdout
    state = json.loads((tmp_path / "home" / "fleet.json").read_text())
    assert (state["name"], state["fleet_file"]) == ("greeters", str(tmp_path / "mine" / "larger.yaml"))
    assert [pool["agents"]["total"] for pool in json.loads(run("ps", "--json").stdout)["items"]] == [3]
    applied = [one for one in json.loads(run("history", "--json").stdout)["items"] if "fleet" in one["fields"]]
    assert len(applied) == 2, "the start applied nothing"
    assert run("down").returncode == 0

    refused = run("up", "--phase", "9")
    assert (refused.returncode, refused.stderr.count("\n")) == (3, 1)
    assert "the fleet 'greeters' has no stage '9': it starts in 1: greeter" in refused.stderr
    assert not (tmp_path / "home" / "fleet.json").exists(), "nothing was left running"
    assert run("status").returncode == 3

    named = run("up", "--fleet", "./fleet.yaml")
    assert "as it was applied here last" not in named.stdout
    assert [pool["agents"]["total"] for pool in json.loads(run("ps", "--json").stdout)["items"]] == [1]


def _refuses_agents_that_cannot_work(run: Run) -> None:
    for agent, why in (
        ("nowhere:greet", "the module can't be imported"),
        ("greeting:nobody", "neither a BaseAgent subclass nor an @agent function"),
        ("greeting", "module:attribute"),
    ):
        begun = run("rollout", "start", "greeter", "--version", "2", "--agent", agent)
        assert (begun.returncode, begun.stdout, begun.stderr.count("\n")) == (2, "", 1)
        assert begun.stderr.startswith("amas: version 2 of 'greeter' can't be begun: agent: ") and why in begun.stderr
    assert "nothing has been rolled out" in run("rollout", "status").stdout


def test_a_goal_in_a_home_whose_fleet_is_down_is_met_by_that_fleet(run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "own.yaml").write_text(OWN)
    (mine / "chiefs.py").write_text(CHIEF)
    assert run("up", "--fleet", "./own.yaml").returncode == 0
    other = run("run", "tell me", "--fleet", "amas")
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "the fleet 'own' runs in" in other.stderr and "leave --fleet out" in other.stderr
    assert run("down").returncode == 0

    told = run("run", "tell me", "--json")
    assert json.loads(told.stdout)["deliverable"] == {"answer": 42}, told.stderr
    shown = run("run", "tell me")
    assert "by the fleet own, as it was applied here last" in shown.stdout, shown.stderr
    assert run("status").returncode == 3, "it ran for the goals alone"
    assert run("up").returncode == 0
    assert json.loads((tmp_path / "home" / "fleet.json").read_text())["name"] == "own"


async def test_what_agents_start_finds_the_modules_beside_their_fleets_file(run: Run, tmp_path: Path) -> None:
    other, home = tmp_path / "other", tmp_path / "home"
    other.mkdir()
    (other / "alone.yaml").write_text(ALONE)
    (other / "helping.py").write_text(HELPS)
    assert run("up", "--fleet", "./fleet.yaml").returncode == 0
    applied = run("apply", str(other / "alone.yaml"), "--yes")
    assert applied.returncode == 0, applied.stderr
    assert await _helped(home) == "a word from beside the file", "of a fleet that was applied while another ran"
    assert run("down").returncode == 0
    assert run("up").returncode == 0
    assert await _helped(home) == "a word from beside the file", "of one that a start kept"


async def _helped(home: Path) -> object:
    async with Fleet.connect(home=home) as fleet:
        return await (await fleet.submit("text.help")).result(timeout_s=LIMIT_S)
