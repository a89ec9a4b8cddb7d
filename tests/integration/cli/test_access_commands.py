"""Keys, the kill switch and the audit on a real fleet, as an operator uses them; the control plane is killed in between."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

LIMIT_S = 60
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
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def until(true: Callable[[], Any]) -> Any:
    """Return what `true` returns once that is something."""
    give_up_s = time.monotonic() + LIMIT_S
    while time.monotonic() < give_up_s:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{true} didn't come true within {LIMIT_S} s")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "ticking.py").write_text(AGENT)
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Iterator[Run]:
    environment = {**os.environ, "AMAS_HOME": str(home), "AMAS_DRAIN_S": "1", "COLUMNS": "200"}  # its task never ends

    def call(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "amas", *arguments]
        given = {**environment, **more}
        return subprocess.run(command, cwd=home.parent, env=given, capture_output=True, text=True, timeout=LIMIT_S, check=False)

    up = call("up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0")
    assert up.returncode == 0, up.stderr
    yield call
    assert call("down").returncode == 0


def state_of(home: Path) -> dict[str, Any]:
    return json.loads((home / "fleet.json").read_text())


def ask(home: Path, path: str, body: object = None, key: str = "") -> Any:
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"http://127.0.0.1:{state_of(home)['port']}{path}", data, headers), timeout=LIMIT_S) as answer:
        return json.load(answer)


def rests(path: Path) -> bool:
    """Return whether nothing is written for a second."""
    before = path.stat().st_size
    time.sleep(1)
    return path.stat().st_size == before


@pytest.mark.requirement("A15", "B12")
def test_an_operator_s_day(run: Run, home: Path, tmp_path: Path) -> None:
    ticks, log = tmp_path / "ticks", home / "audit" / "audit.jsonl"
    task_id = ask(home, "/api/tasks", {"capability": "test.tick", "input": str(ticks)})["id"]
    until(ticks.exists)

    assert run("kill", "ticker", "--why", "it ticks too loud").returncode == 0
    assert ask(home, f"/api/tasks/{task_id}")["state"] == "queued"
    until(lambda: rests(ticks))
    assert "it ticks too loud" in run("kill", "--fleet").stdout
    assert "nothing is killed" in run("kill", "--lift").stdout
    until(lambda: ticks.read_text().endswith("2\n"))

    made = run("keys", "create", "eve", "--role", "viewer", "--expires", "12h")
    key = made.stdout.split()[0]
    with pytest.raises(HTTPError, match="401"):
        ask(home, "/api/pools")
    assert ask(home, "/api/pools", key=key)["agents"]["total"] == 1
    assert (home / "api.key").stat().st_mode & 0o777 == 0o600
    assert run("ps").returncode == 0, "commands on this machine show the home's key by themselves"
    refused = run("kill", "ticker", AMAS_TOKEN=key)
    assert (refused.returncode, "'eve' (viewer) may not POST /api/kill" in refused.stderr) == (2, True)
    (listed,) = json.loads(run("keys", "list", "--json").stdout)["items"]
    assert key not in json.dumps(listed)

    plane = next(part for part in state_of(home)["parts"] if part["name"] == "control-plane")
    os.kill(plane["pid"], signal.SIGKILL)
    with log.open("ab") as file:
        file.write(b'{"seq":9,"at":"20')  # as a crash in the middle of a write leaves it
    assert "torn" in run("audit", "verify", str(log)).stderr
    until(lambda: run("keys", "revoke", listed["prefix"]).returncode == 0)
    with pytest.raises(HTTPError, match="401"):
        ask(home, "/api/pools", key=key)

    acts = [(line["who"], line["act"], line["outcome"]) for line in json.loads(run("audit", "--json").stdout)["items"]]
    assert acts[:4] == [
        ("local", "DELETE /api/keys/{prefix}", 200),
        ("amas", "cut off a torn line", 0),
        ("eve", "POST /api/kill", 403),
        ("local", "POST /api/keys", 201),
    ]
    assert f"{len(acts)} lines, all sound" in run("audit", "verify", str(log)).stdout
    log.write_bytes(log.read_bytes().replace(b'"eve"', b'"ann"', 1))
    changed = run("audit", "verify", str(log))
    assert (changed.returncode, "was changed or put in" in changed.stderr) == (3, True)


@pytest.mark.requirement("A15")
def test_who_is_killed_is_seen_where_one_looks_first(run: Run) -> None:
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
