"""The commands that change what is wanted of a running fleet, as a person calls them, with hosts that carry it out."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from command import Command
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("desired")  # one fleet for the module

AGENTS = """
from amas import agent

@agent("text.echo")
async def echo(task):
    return task.input

@agent("text.count")
async def count(task):
    return len(task.input)
"""
FLEET = """
name: small
hosts: {hosts}
pools:
  - {{name: echoer, agent: "my_agents:echo", layer: executive, capabilities: [text.echo], replicas: {echoers}}}
"""
COUNTER = '  - {name: counter, agent: "their_agents:count", layer: execution, lead: echoer, capabilities: [text.count]}\n'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    folder = tmp_path_factory.mktemp("desired")
    (folder / "my_agents.py").write_text(AGENTS)
    (folder / "one.yaml").write_text(FLEET.format(hosts=1, echoers=2))
    (folder / "other").mkdir()
    (folder / "other" / "their_agents.py").write_text(AGENTS)
    (folder / "other" / "two.yaml").write_text(FLEET.format(hosts=2, echoers=3) + COUNTER)
    choosy = COUNTER.replace("}", ", node_selector: {gpu: 'true'}}").replace("their_agents", "my_agents")
    (folder / "choosy.yaml").write_text(FLEET.format(hosts="{min: 1, labels: {host-1: {disk: fast}}}", echoers=2) + choosy)
    follows = "{min: 1, max: 2, agents: 3, up: {after: 0s}, down: {after: 0s}, labels: {host-1: {gpu: 'true'}}}"
    (folder / "follows.yaml").write_text(FLEET.format(hosts=follows, echoers=2) + choosy)
    (folder / "wrong.yaml").write_text(FLEET.format(hosts=1, echoers=99))
    command = Command(folder, COLUMNS="200")
    up = command("up", "--fleet", "./one.yaml")
    assert up.returncode == 0, up.stderr
    yield command
    down = command("down")
    assert (down.returncode, down.stderr) == (0, "")
    assert "the history holds all that the engine said" in down.stdout


def agents(run: Command) -> dict[str, str]:
    return {agent["agent_id"]: agent["host_id"] for agent in run.json("agents")["items"]}


def test_what_is_declared_runs_and_can_be_gone_back_from(run: Command) -> None:
    assert run("diff", "one.yaml").stdout.startswith("nothing changes: 2 agents on 1 host")
    differs = run("diff", "other/two.yaml")
    assert (differs.returncode, "+ pool counter (+1 agent)" in differs.stdout) == (1, True)
    asks = run("apply", "other/two.yaml")
    assert (asks.returncode, "--yes" in asks.stderr) == (2, True)
    applied = run("apply", "other/two.yaml", "--yes", "--why", "more work")
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout.splitlines()[-1].endswith("runs")
    found = agents(run)
    assert found.keys() == {"echoer-1", "echoer-2", "echoer-3", "counter-1"}
    assert set(found.values()) == {"host-1", "host-2"}
    assert run("diff", "other/two.yaml").returncode == 0
    (file,) = [each["found"] for each in run.json("doctor") if each["check"] == "fleet file"]
    assert "/other/two.yaml): 4 agents in 2 pools" in file, "the doctor looks at what was applied"

    history = run.json("history")
    assert history["items"][0]["why"] == "more work"
    back = run.json("apply", "--revision", str(history["fleets"][-1]))
    assert back["difference"]["agents_after"] == 2
    assert set(agents(run)) == {"echoer-1", "echoer-2"}


def test_pools_and_hosts_do_as_they_are_told(run: Command) -> None:
    assert run.json("scale", "echoer", "4")["replicas"] == 4
    assert len(agents(run)) == 4
    assert run("restart", "echoer", "--why", "it leaks").stdout.startswith("the 4 agents of echoer are made anew")
    drained = run("drain", "host-1")
    why = "4 of echoer's agents have no host: all are drained or cordoned (host-1): `amas uncordon host-1` opens one"
    assert (drained.returncode, drained.stderr) == (0, f"amas: {why}\n")
    assert "no other host may get agents" in run("drain", "host-1", "--no-wait").stderr
    more = run("scale", "echoer", "5")
    assert (more.returncode, more.stdout) == (0, "echoer is to have 5 agents\n")
    assert more.stderr == f"amas: {why.replace('4', '5', 1)}\n", "who waits for nothing that will come is told at once"
    run("scale", "echoer", "4", "--no-wait")
    assert agents(run) == {}
    assert run("uncordon", "host-1").returncode == 0
    assert set(agents(run).values()) == {"host-1"}
    assert run.json("cordon", "host-1")["order"]["cordoned"]
    assert "cordoned" in run("hosts").stdout
    run("uncordon", "host-1")
    run("scale", "echoer", "--reset")
    assert len(agents(run)) == 2


def test_agents_sit_where_their_labels_are_and_hosts_follow_load(run: Command) -> None:
    why = "1 of counter's agents have no host: none that lives has gpu=true: start one with `amas host --label gpu=true`"
    applied = run("apply", "choosy.yaml", "--yes")
    assert applied.returncode == 0 and why in applied.stderr
    assert set(agents(run)) == {"echoer-1", "echoer-2"}
    assert why in run("ps").stdout
    sick = run("doctor", "--fleet", "./choosy.yaml")
    assert (sick.returncode, why in sick.stdout) == (3, True)
    assert "disk=fast" in run("hosts").stdout
    assert run("apply", "follows.yaml", "--yes").returncode == 0
    assert agents(run)["counter-1"] == "host-1"
    assert "have no host" not in run("ps").stdout
    assert run("scale", "echoer", "4", "--no-wait").returncode == 0
    shown = until_hosts(run, {"host-1", "host-2"})["scaling"]
    assert shown["steps"][0]["reason"].startswith("grows from 1 to 2: agents that weigh 5 are to be seated, 3 on a host")
    assert "2 hosts, 1 to 2 by load: " in run("hosts").stdout
    run("scale", "echoer", "--reset", "--no-wait")
    until_hosts(run, {"host-1"})
    assert any(change["fields"] == ["host_scale"] for change in run.json("history")["items"])
    assert set(agents(run)) == {"echoer-1", "echoer-2", "counter-1"}


def until_hosts(run: Command, live: set[str]) -> Any:
    """Return what `amas hosts` says once these hosts live, and no others."""

    def found() -> Any:
        hosts = run.json("hosts")
        return hosts if {host["id"] for host in hosts["items"] if host["live"]} == live else None

    return until(found, every_s=0.5)


def test_mistakes_are_one_sentence(run: Command) -> None:
    for arguments, mend in (
        (("scale", "echoer", "999"), "raise limits.max_agents_per_pool"),
        (("scale", "echoer"), "--reset"),
        (("scale", "ecoer", "1"), "there is no pool"),
        (("drain", "host-9"), "there is no host"),
        (("apply",), "--revision"),
        (("apply", "wrong.yaml"), "wrong.yaml:5"),
    ):
        refused = run(*arguments)
        assert (refused.returncode, mend in refused.stderr) == (2, True), refused.stderr


def test_who_waits_is_told_how_far_it_is_and_for_no_longer_than_was_said(run: Command) -> None:
    (run.folder / "slow.yaml").write_text(
        FLEET.format(hosts=1, echoers=1) + "limits: {max_agent_spawn_rate: 0.2, max_agents_per_pool: 50}\n"
    )
    applied = run("apply", "slow.yaml", "--yes")
    assert applied.returncode == 0, applied.stderr
    gave_up = run("scale", "echoer", "50", "--timeout", "0")
    assert (gave_up.returncode, gave_up.stdout) == (1, "")
    said = r"amas: revision \d+ is wanted, but after 0 s it doesn't run: \d of 50 agents have their host; it goes on by itself, "
    assert re.match(said, gave_up.stderr), gave_up.stderr
    waited = run("scale", "echoer", "40", "--timeout", "8")
    assert waited.returncode == 1
    assert re.search(r"^waiting: \d of 40 agents have their host$", waited.stderr, re.MULTILINE), "a pipe is told, too"
    assert run("scale", "echoer", "--reset").returncode == 0
