"""What a report says is what a person gets by hand: the printed commands, pytest's last line, griffe's tree."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import griffe
import pytest
from command import Command

GOAL = "Review the code, run its tests, document its API and write a report"

PROJECT = {
    "pyproject.toml": '[project]\nname = "pets"\nversion = "1.0"\nrequires-python = ">=3.11"\n',
    "src/pets/__init__.py": '"""Pets."""\n\nfrom pets.dogs import Dog\n\n__all__ = ["Dog"]\n',
    "src/pets/dogs.py": """import os
import subprocess


class Dog:
    \"\"\"A dog.\"\"\"

    legs: int = 4

    def bark(self, loud):
        \"\"\"Return a sound.\"\"\"
        try:
            return eval(loud)
        except Exception:
            pass

    def _bite(self):
        return subprocess.call("ls", shell=True)


def train(dogs=[]):
    return dogs
""",
    "tests/test_pets.py": """import pytest

from pets import Dog


def test_passes():
    assert Dog().bark("1") == 1


def test_fails():
    assert Dog.legs == 3


@pytest.mark.skip(reason="asleep")
def test_skipped():
    pass


@pytest.mark.xfail
def test_known():
    assert False


@pytest.fixture
def bowl():
    raise RuntimeError("empty")


def test_error(bowl):
    pass
""",
}
EXPECTED = {"S307": 1, "S602": 1, "B006": 1, "F401": 1, "D103": 1, "test-failed": 1, "test-error": 1}


def run(amas: Command, folder: Path) -> Path:
    """Meet the goal about `folder` and return where the deliverable lies."""
    output = folder.parent / "out"
    ended = amas("run", GOAL, "--input", str(folder), "--output", str(output), "--json")
    assert ended.returncode == 0, ended
    return output


def read(output: Path, name: str) -> Any:
    return json.loads((output / name).read_text())


def by_hand(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Type a printed command into a shell in the original folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": os.environ.get("HOME", "/"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def assert_ruff_agrees(output: Path, folder: Path) -> int:
    """Return how many ruff commands were typed; each found as much of every rule as its task did."""
    reported: dict[str, Counter[str]] = {}
    for found in read(output, "findings.json"):
        for task_id in found["tasks"] if found["tool"] == "ruff" else ():
            reported.setdefault(task_id, Counter())[found["rule"]] += 1
    typed = 0
    for task in read(output, "report.json")["tasks"]:
        for command in (part for part in task["command"].split("; ") if part.startswith("ruff check ")):
            listed = json.loads(by_hand(f"{command} --output-format json", folder).stdout)
            hand = Counter(each["code"] or "invalid-syntax" for each in listed)
            assert reported.get(task["id"], Counter()) == hand, (task["capability"], command)
            typed += 1
    return typed


def assert_griffe_agrees(output: Path, packages: Path, name: str) -> None:
    """Walk the package by hand: modules, classes, functions, methods and attributes, without what is only imported."""
    counted: Counter[str] = Counter()

    def walk(found: Any) -> None:
        if found.is_module:
            counted["Modules"] += 1
        elif found.is_class:
            counted["Classes"] += 1
        elif found.is_function:
            counted["Methods" if found.parent.is_class else "Functions"] += 1
        else:
            counted["Attributes"] += 1
        for member in found.members.values():
            if not member.is_alias:
                walk(member)

    walk(griffe.load(name, search_paths=[packages], allow_inspection=False))
    report = (output / "report.md").read_text()
    table = dict(re.findall(r"^\| (Modules|Classes|Functions|Methods|Attributes) \| ([\d,]+) \|", report, re.MULTILINE))
    assert {kind: int(shown.replace(",", "")) for kind, shown in table.items() if shown != "0"} == dict(counted)


@pytest.mark.requirement("A2")
def test_a_small_project_with_known_findings(running: Command, project: Callable[..., Path]) -> None:
    folder = project(**PROJECT)
    output = run(running, folder)
    rules = Counter(found["rule"] for found in read(output, "findings.json"))
    assert {rule: rules[rule] for rule in EXPECTED} == EXPECTED
    assert assert_ruff_agrees(output, folder) >= 12
    assert_griffe_agrees(output, folder / "src", "pets")
    outcomes = Counter(test["outcome"] for test in read(output, "tests.json"))
    assert outcomes == {"passed": 1, "failed": 1, "skipped": 1, "xfailed": 1, "error": 1}
    command = next(t["command"] for t in read(output, "report.json")["tasks"] if t["capability"] == "testing.run")
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error in" in by_hand(command, folder).stdout.splitlines()[-1]


@pytest.mark.requirement("A2")
def test_a_library_that_people_use(running: Command, tmp_path: Path) -> None:
    import pluggy

    folder = tmp_path / "project"
    junk = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(pluggy.__file__).parent, folder / "pluggy", ignore=junk)
    (folder / "test_pluggy.py").write_text("import pluggy\n\n\ndef test_it():\n    assert pluggy.PluginManager('x')\n")
    output = run(running, folder)
    assert assert_ruff_agrees(output, folder) >= 12
    assert_griffe_agrees(output, folder, "pluggy")
    assert [test["outcome"] for test in read(output, "tests.json")] == ["passed"]


def test_every_task_of_the_report_is_one_that_the_fleet_ran(running: Command, project: Callable[..., Path]) -> None:
    output = run(running, project(**PROJECT))
    report = read(output, "report.json")
    newest = json.loads(running("workflows", "--limit", "1", "--json").stdout)["items"][0]["id"]
    ran = {task["id"]: task for task in json.loads(running("workflows", newest, "--json").stdout)["tasks"]}
    for row in report["tasks"]:
        assert {name: ran[row["id"]][name] for name in ("capability", "state", "agent_id")}.items() <= row.items()
    known = {row["id"] for row in report["tasks"]}
    assert all(set(found["tasks"]) <= known for found in read(output, "findings.json"))
    assert all(figure["tasks"] for figure in report["figures"])
