"""Keys, the kill switch and the audit on a real fleet, as an operator uses them; the control plane is killed in between."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
from command import Command
from tests.waiting import until

FLEET = """
name: ticking
hosts: 1
pools:
  - {name: ticker, agent: "ticking:tick", capabilities: [test.tick], layer: executive}
"""
AGENT = """
import asyncio
from pathlib import Path

from amas import agent

@agent("test.tick")
async def tick(task):
    while True:
        with Path(task.input).open("a") as file:
            file.write(f"{task.attempt}\\n")
        await asyncio.sleep(0.02)
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Command]:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "ticking.py").write_text(AGENT)
    command = Command(tmp_path, AMAS_DRAIN_S="1", COLUMNS="200")  # its task never ends
    with command.up("--fleet", "./fleet.yaml") as running:
        yield running


def rests(path: Path) -> bool:
    """Return whether nothing is written for a second."""
    before = path.stat().st_size
    time.sleep(1)
    return path.stat().st_size == before


@pytest.mark.requirement("A15", "B12")
def test_an_operator_s_day(run: Command, tmp_path: Path) -> None:
    ticks, log = tmp_path / "ticks", run.home / "audit" / "audit.jsonl"
    task_id = run.api("POST", "/api/tasks", {"capability": "test.tick", "input": str(ticks)})["id"]
    until(ticks.exists)

    assert run("kill", "ticker", "--why", "it ticks too loud").returncode == 0
    for words in (("ps",), ("ps", "ticker"), ("status",)):
        assert "killed: ticker, by" in run(*words).stdout, words
    assert run.api("GET", f"/api/tasks/{task_id}")["state"] == "queued"
    until(lambda: rests(ticks))
    assert "it ticks too loud" in run("kill", "--fleet").stdout
    assert "nothing is killed" in run("kill", "--lift").stdout
    until(lambda: ticks.read_text().endswith("2\n"))

    made = run("keys", "create", "eve", "--role", "viewer", "--expires", "12h")
    key = made.stdout.split()[0]
    with pytest.raises(HTTPError, match="401"):
        run.api("GET", "/api/pools")
    assert run.api("GET", "/api/pools", key=key)["agents"]["total"] == 1
    assert (run.home / "api.key").stat().st_mode & 0o777 == 0o600
    assert run("ps").returncode == 0, "commands on this machine show the home's key by themselves"
    refused = run("kill", "ticker", AMAS_TOKEN=key)
    assert (refused.returncode, "'eve' (viewer) may not POST /api/kill" in refused.stderr) == (2, True)
    (listed,) = run.json("keys", "list")["items"]
    assert key not in json.dumps(listed)

    plane = next(part for part in json.loads((run.home / "fleet.json").read_text())["parts"] if part["name"] == "control-plane")
    os.kill(plane["pid"], signal.SIGKILL)
    with log.open("ab") as file:
        file.write(b'{"seq":9,"at":"20')  # as a crash in the middle of a write leaves it
    assert "torn" in run("audit", "verify", str(log)).stderr
    until(lambda: run("keys", "revoke", listed["prefix"]).returncode == 0)
    with pytest.raises(HTTPError, match="401"):
        run.api("GET", "/api/pools", key=key)

    acts = [(line["who"], line["act"], line["outcome"]) for line in run.json("audit")["items"]]
    assert acts[:4] == [
        ("local", "DELETE /api/keys/{prefix}", 200),
        ("amas", "cut off a torn line", 0),
        ("eve", "POST /api/kill", 403),
        ("local", "POST /api/keys", 201),
    ]
    assert f"{len(acts)} lines, all sound" in run("audit", "verify", str(log)).stdout
    assert run("audit", "verify").stdout == run("audit", "verify", str(log)).stdout, "by default the home's own"
    for wrong, key, said in (
        (log.parent, (), f"there is no log {log.parent}: a fleet's is audit/audit.jsonl"),
        (log, ("--key", str(log)), f"can't be read from {log}: it is no public key in PEM: name it with --key"),
    ):
        refused = run("audit", "verify", str(wrong), *key)
        assert (refused.returncode, said in refused.stderr, refused.stderr.count("\n")) == (3, True, 1), refused.stderr
    log.write_bytes(log.read_bytes().replace(b'"eve"', b'"ann"', 1))
    changed = run("audit", "verify", str(log))
    assert (changed.returncode, "was changed or put in" in changed.stderr) == (3, True)


@pytest.mark.requirement("A15")
def test_who_is_killed_is_seen_where_one_looks_first(run: Command) -> None:
    assert run("kill", "--fleet", "--why", "it looks bad").returncode == 0
    assert "it looks bad" in run("kill").stdout
    assert "killed: the whole fleet" in run("status").stdout
    checked = run("doctor")
    assert (checked.returncode, "✗ agents  killed, until it is lifted: the whole fleet" in checked.stdout) == (3, True)
    assert "nothing is killed" in run("kill", "--lift").stdout
    assert "✓ agents  none quarantined" in run("doctor").stdout
    made = run("keys", "create", "ci")
    assert (len(made.stdout.split()), "it isn't shown again" in made.stderr) == (1, True)
    assert run("ps", AMAS_TOKEN="amas_000000000000_wrong").stderr.startswith("amas: the key or token that was sent opens nothing")
