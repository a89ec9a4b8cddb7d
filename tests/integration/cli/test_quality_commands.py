"""The example of docs/quality.md on a fleet of its own, and `amas quality` as a person and a program call it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command
from tests.waiting import until

from amas.policy.deliveries import FILE, Delivered, digests, seal, sign

DOCS = Path(__file__).parents[3] / "docs"
SECRET = "a-secret-of-the-fleet"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Command]:
    """Commands beside a fleet of the page's files, called as their first lines say."""
    for name, content in re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", (DOCS / "quality.md").read_text(), re.DOTALL):
        (tmp_path / name).write_text(content)
    with Command(tmp_path, COLUMNS="220").up("--fleet", "./fleet.yaml") as running:
        yield running


def test_the_pages_example_runs_and_its_rounds_are_shown(run: Command) -> None:
    workflow = run.json("workflows", "start", "flow.yaml")["workflow_id"]
    until(lambda: run.json("workflows", workflow)["state"] != "running", every_s=0.3)  # a command costs a core
    (gate,) = run.json("quality", workflow)["gates"]
    assert (gate["accepted"], gate["threshold"], [each["score"] for each in gate["rounds"]]) == (True, 0.9, [0.3, 1.0])
    shown = run("quality", workflow).stdout
    assert "0.30/0.90" in shown
    assert "say where the price of Tin comes from" in shown


def test_a_changed_delivery_is_found(tmp_path: Path) -> None:
    run = Command(tmp_path, AMAS_MESSAGE_SECRET=SECRET)
    (tmp_path / "report.md").write_text("Tin costs 30.")
    record = Delivered(
        workflow_id="w",
        signed_by="quality-supervisor-1",
        signed_ms=1,
        approved=True,
        score=1.0,
        files=digests(tmp_path, ["report.md"]),
        quality={},
    )
    (tmp_path / FILE).write_bytes(sign(record, seal(record, SECRET)))
    sound = run("quality", "verify", ".")
    assert (sound.returncode, "the signature is valid" in sound.stdout) == (0, True), sound.stderr
    (tmp_path / "report.md").write_text("Tin costs 31.")
    changed = run("quality", "verify", ".", "--json")
    assert changed.returncode == 1
    assert json.loads(changed.stdout)["changed"] == ["report.md"]
    nothing = run("quality", "verify", "..")
    assert nothing.returncode == 2
    assert nothing.stderr.count("\n") == 1
