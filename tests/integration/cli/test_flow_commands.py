"""Flows, approvals and dead letters on the command line, as a person and a program call them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from host_bench import SAMPLES

LIMIT_S = 60
pytestmark = pytest.mark.xdist_group("flow-cli")  # one fleet for the module
Run = Callable[..., "subprocess.CompletedProcess[str]"]

FLOW = """
name: nightly
tasks:
  - {key: go, signal: true}
  - {key: work, capability: test.ledger, needs: [go]}
  - {key: ok, approval: "Is it good?", needs: [work]}
  - {key: after, capability: test.ledger, needs: [ok], when: needs.ok.approved}
"""
BROKEN = "name: broken\ntasks:\n  - {key: each, map: {over: '`3`', capability: test.ledger}}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fleet")
    declared = (SAMPLES / "ledger.yaml").read_text()
    (made / "fleet.yaml").write_text(f"{declared}    options: {{ledger: {made / 'ledger'}, steps: 1}}\n")
    (made / "sample_agents.py").write_text((SAMPLES / "sample_agents.py").read_text())
    (made / "flow.yaml").write_text(FLOW)
    (made / "broken.yaml").write_text(BROKEN)
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[Run]:
    environment = {**os.environ, "AMAS_HOME": str(folder / "home"), "COLUMNS": "200"}

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "amas", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)

    up = call("up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0")
    assert up.returncode == 0, up.stderr
    yield call
    assert call("down").returncode == 0


def said(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def until(look: Callable[[], Any]) -> Any:
    """Return what `look` returns as soon as that is true."""
    give_up_at = time.monotonic() + LIMIT_S
    while not (found := look()):
        assert time.monotonic() < give_up_at, "it didn't come to that"
        time.sleep(0.3)  # a command costs a core
    return found


def ended(run: Run, workflow_id: str) -> str:
    def state() -> str:
        shown = said(run("workflows", workflow_id, "--json"))["state"]
        return "" if shown in {"running", "paused"} else str(shown)

    return str(until(state))


def test_a_flow_from_a_file_goes_its_way(run: Run) -> None:
    started = run("workflows", "start", "flow.yaml", "--key", "monday")
    assert started.returncode == 0, started.stderr
    workflow_id = started.stdout.split()[0]
    assert said(run("workflows", "start", "flow.yaml", "--key", "monday", "--json"))["workflow_id"] == workflow_id
    assert run("workflows", "pause", workflow_id).stdout == f"{workflow_id} is paused\n"
    assert said(run("workflows", "resume", workflow_id, "--json"))["changed"]
    assert run("workflows", "signal", workflow_id, "go", '{"speed": 3}').returncode == 0
    (asked,) = until(lambda: said(run("approvals", "--json"))["items"])
    assert (asked["workflow_id"], asked["question"]) == (workflow_id, "Is it good?")
    assert asked["task_id"] in run("approvals", "--workflow", workflow_id).stdout
    assert run("approve", asked["task_id"], "--by", "ada").stdout == f"{asked['task_id']} is approved\n"
    assert ended(run, workflow_id) == "succeeded"
    assert "nightly" in run("workflows").stdout
    assert said(run("workflows", "rerun", workflow_id, "after", "--json"))["tasks"] == 1
    assert ended(run, workflow_id) == "succeeded"


def test_a_refusal_fails_the_workflow(run: Run) -> None:
    workflow_id = said(run("workflows", "start", "flow.yaml", "--json"))["workflow_id"]
    run("workflows", "signal", workflow_id, "go", "plain text")
    (asked,) = until(lambda: said(run("approvals", "--workflow", workflow_id, "--json"))["items"])
    assert said(run("approve", asked["task_id"], "--refuse", "--comment", "not yet", "--json"))["changed"]
    assert ended(run, workflow_id) == "failed"
    late = run("approve", asked["task_id"])
    assert (late.returncode, late.stderr.count("\n")) == (2, 1)
    assert "the first stands" in late.stderr


def test_a_dead_letter_is_looked_at_put_back_and_discarded(run: Run) -> None:
    workflow_id = said(run("workflows", "start", "broken.yaml", "--json"))["workflow_id"]
    assert ended(run, workflow_id) == "failed"
    (letter,) = said(run("dead-letters", "--workflow", workflow_id, "--json"))["items"]
    assert "must give a list" in run("dead-letters").stdout
    assert said(run("dead-letters", letter["task_id"], "--json"))["state"] == "failed"
    assert run("dead-letters", letter["task_id"], "--retry").stdout == f"{letter['task_id']} is queued again\n"
    until(lambda: said(run("dead-letters", "--workflow", workflow_id, "--json"))["items"])
    assert said(run("dead-letters", letter["task_id"], "--discard", "--json"))["changed"]
    assert said(run("dead-letters", "--workflow", workflow_id, "--json"))["items"] == []
    assert run("dead-letters", letter["task_id"], "--discard", "--retry").returncode == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name: a\ntasks:\n  - {key: b}\n", "flow.yaml:3: tasks[0].capability: task 'b' says nothing of what it does"),
        ("name: a\ntasks:\n  - {key: b, capability: c.d, neeeds: []}\n", "(did you mean 'needs'?)"),
        ("name: a\ntasks:\n  - {key: b, capability: c.d, when: oh no}\n", "no JMESPath expression"),
        ("name: a\ntasks:\n  - {key: b, capability: c.d}\n", "which no agent of this fleet has"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_with_its_place(run: Run, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "flow.yaml").write_text(text)
    done = run("workflows", "start", str(tmp_path / "flow.yaml"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert why in done.stderr
