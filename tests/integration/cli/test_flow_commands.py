"""Flows, approvals and dead letters on the command line, as a person and a program call them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command, ledger_fleet
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("flow-cli")  # one fleet for the module

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
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    folder = ledger_fleet(tmp_path_factory.mktemp("fleet"))
    (folder / "flow.yaml").write_text(FLOW)
    (folder / "broken.yaml").write_text(BROKEN)
    with Command(folder, COLUMNS="200").up("--fleet", "./fleet.yaml") as running:
        yield running


def ended(run: Command, workflow_id: str) -> str:
    def state() -> str:
        shown = run.json("workflows", workflow_id)["state"]
        return "" if shown in {"running", "paused"} else str(shown)

    return str(until(state))


def test_a_flow_from_a_file_goes_its_way(run: Command) -> None:
    started = run("workflows", "start", "flow.yaml", "--key", "monday")
    assert started.returncode == 0, started.stderr
    workflow_id = started.stdout.split()[0]
    assert run.json("workflows", "start", "flow.yaml", "--key", "monday")["workflow_id"] == workflow_id
    assert run("workflows", "pause", workflow_id).stdout == f"{workflow_id} is paused\n"
    assert run.json("workflows", "resume", workflow_id)["changed"]
    assert run("workflows", "signal", workflow_id, "go", '{"speed": 3}').returncode == 0
    (asked,) = until(lambda: run.json("approvals")["items"])
    assert (asked["workflow_id"], asked["question"]) == (workflow_id, "Is it good?")
    assert asked["task_id"] in run("approvals", "--workflow", workflow_id).stdout
    assert run("approve", asked["task_id"], "--by", "ada").stdout == f"{asked['task_id']} is approved\n"
    assert ended(run, workflow_id) == "succeeded"
    assert "nightly" in run("workflows").stdout
    assert run.json("workflows", "rerun", workflow_id, "after")["tasks"] == 1
    assert ended(run, workflow_id) == "succeeded"


def test_a_refusal_fails_the_workflow(run: Command) -> None:
    workflow_id = run.json("workflows", "start", "flow.yaml")["workflow_id"]
    run("workflows", "signal", workflow_id, "go", "plain text")
    (asked,) = until(lambda: run.json("approvals", "--workflow", workflow_id)["items"])
    assert run.json("approve", asked["task_id"], "--refuse", "--comment", "not yet")["changed"]
    assert ended(run, workflow_id) == "failed"
    late = run("approve", asked["task_id"])
    assert (late.returncode, late.stderr.count("\n")) == (2, 1)
    assert "the first stands" in late.stderr


def test_a_dead_letter_is_looked_at_put_back_and_discarded(run: Command) -> None:
    workflow_id = run.json("workflows", "start", "broken.yaml")["workflow_id"]
    assert ended(run, workflow_id) == "failed"
    (letter,) = run.json("dead-letters", "--workflow", workflow_id)["items"]
    assert "must give a list" in run("dead-letters").stdout
    assert run.json("dead-letters", letter["task_id"])["state"] == "failed"
    assert run("dead-letters", letter["task_id"], "--retry").stdout == f"{letter['task_id']} is queued again\n"
    until(lambda: run.json("dead-letters", "--workflow", workflow_id)["items"])
    assert run.json("dead-letters", letter["task_id"], "--discard")["changed"]
    assert run.json("dead-letters", "--workflow", workflow_id)["items"] == []
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
def test_what_is_wrong_with_a_file_is_one_sentence_with_its_place(run: Command, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "flow.yaml").write_text(text)
    done = run("workflows", "start", str(tmp_path / "flow.yaml"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert why in done.stderr
