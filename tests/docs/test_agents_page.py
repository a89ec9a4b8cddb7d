"""docs/agents.md and docs/programs.md as they stand: the shop, its tests, and the program of the README's fleet."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "agents.md").read_text()
PROGRAMS = (ROOT / "docs" / "programs.md").read_text()
README = (ROOT / "README.md").read_text()
LIMIT_S = 60


def block(page: str, language: str, having: str) -> str:
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) if having in text)
    return str(found)


def run(folder: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "AMAS_HOME": str(folder / "home"), "PATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(block(PAGE, "python", "class Stock"))
    (tmp_path / "fleet.yaml").write_text(block(PAGE, "yaml", "name: shop"))
    return tmp_path


def test_its_tests_pass(shop: Path) -> None:
    (shop / "test_alone.py").write_text(block(PAGE, "python", "SimpleNamespace"))
    (shop / "test_on_a_fleet.py").write_text(block(PAGE, "python", "def home("))
    told = run(shop, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", ".")
    assert "2 passed" in told


@pytest.fixture
def greeters(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "greet.py").write_text(block(README, "python", '@agent("text.greet")'))
    (tmp_path / "fleet.yaml").write_text(block(README, "yaml", "name: greeters"))
    run(tmp_path, "amas", "up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0")
    yield tmp_path
    run(tmp_path, "amas", "down")


def test_the_program_prints_what_it_says(greeters: Path) -> None:
    (greeters / "program.py").write_text(block(PROGRAMS, "python", "Fleet.connect()"))
    first, *others = run(greeters, sys.executable, "program.py").splitlines()
    assert first.endswith(" {'text': 'Hello, Ada'}")
    assert others == ["{'text': 'Hello, Alan'}", "2000", "agent_error KeyError: 'name'"]
    (shown,) = re.findall(r"^prints the id and (.*)\.$", PROGRAMS, re.MULTILINE)
    assert re.findall(r"`(.*?)`", shown) == ["{'text': 'Hello, Ada'}", *others]
    assert len(json.loads(run(greeters, "amas", "tasks", "--state", "failed", "--json"))["items"]) == 1


def test_every_option_of_a_task_stands_on_the_page() -> None:
    from amas import NewTask

    rows = "\n".join(re.findall(r"^\| (`.*?) \|", PROGRAMS.partition("| option |")[2], re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", rows)) == set(NewTask.__struct_fields__) - {"capability", "input"}


def test_what_a_task_offers_is_there() -> None:
    from amas import Context, SyncContext

    told = re.findall(r"task\.(\w+)", PAGE.partition("## What a task offers")[2].partition("## Where it runs")[0])
    members = {*dir(Context), *Context.__annotations__, *dir(SyncContext)}
    assert [name for name in told if name not in members] == []
