"""The example of docs/quality.md on a fleet of its own, and `amas quality` as a person and a program call it."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amas.policy.deliveries import FILE, Delivered, digests, seal, sign

LIMIT_S = 60
DOCS = Path(__file__).parents[3] / "docs"
SECRET = "a-secret-of-the-fleet"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the page's files, called as their first lines say."""
    for name, content in re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", (DOCS / "quality.md").read_text(), re.DOTALL):
        (tmp_path / name).write_text(content)
    return tmp_path


def call(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "amas", *arguments],
        cwd=folder,
        env={**os.environ, "AMAS_HOME": str(folder / "home"), "COLUMNS": "220", **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def said(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def fleet(home: Path) -> Iterator[Path]:
    up = call(home, "up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0")
    assert up.returncode == 0, up.stderr
    yield home
    assert call(home, "down").returncode == 0


def test_the_pages_example_runs_and_its_rounds_are_shown(fleet: Path) -> None:
    workflow = said(call(fleet, "workflows", "start", "flow.yaml", "--json"))["workflow_id"]
    limit = time.monotonic() + LIMIT_S
    while said(call(fleet, "workflows", workflow, "--json"))["state"] == "running":
        assert time.monotonic() < limit
        time.sleep(0.3)  # a command costs a core
    (gate,) = said(call(fleet, "quality", workflow, "--json"))["gates"]
    assert (gate["accepted"], gate["threshold"], [each["score"] for each in gate["rounds"]]) == (True, 0.9, [0.3, 1.0])
    shown = call(fleet, "quality", workflow).stdout
    assert "0.30/0.90" in shown
    assert "say where the price of Tin comes from" in shown


def test_a_changed_delivery_is_found(tmp_path: Path) -> None:
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
    sound = call(tmp_path, "quality", "verify", ".", AMAS_MESSAGE_SECRET=SECRET)
    assert (sound.returncode, "the signature is valid" in sound.stdout) == (0, True), sound.stderr
    (tmp_path / "report.md").write_text("Tin costs 31.")
    changed = call(tmp_path, "quality", "verify", ".", "--json", AMAS_MESSAGE_SECRET=SECRET)
    assert changed.returncode == 1
    assert json.loads(changed.stdout)["changed"] == ["report.md"]
    nothing = call(tmp_path, "quality", "verify", "..")
    assert nothing.returncode == 2
    assert nothing.stderr.count("\n") == 1
