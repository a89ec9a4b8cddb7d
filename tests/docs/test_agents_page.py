"""docs/agents.md and docs/programs.md as they stand: the shop, its tests, and the program of the README's fleet."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "agents.md").read_text()
PROGRAMS = (ROOT / "docs" / "programs.md").read_text()
README = (ROOT / "README.md").read_text()
LIMIT_S = 240


def block(page: str, language: str, having: str) -> str:
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) if having in text)
    return str(found)


def place(folder: Path) -> dict[str, Any]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"cwd": folder, "env": {**os.environ, "AMAS_HOME": str(folder / "home"), "PATH": path}, "text": True}


def call(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, **place(folder), capture_output=True, timeout=LIMIT_S, check=False)


def started(folder: Path, *command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, **place(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(folder: Path, *command: str) -> str:
    done = call(folder, *command)
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
def opened(shop: Path) -> Iterator[Path]:
    run(shop, "amas", "up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0")
    yield shop
    run(shop, "amas", "down")


def test_a_task_is_submitted_and_waited_for(opened: Path) -> None:
    (order,) = re.findall(r"^amas submit shop\.order '(.*?)'", PAGE, re.MULTILINE)
    (paid,) = re.findall(r"^The order is `(.*)`, after two attempts", PAGE, re.MULTILINE)
    assert json.loads(run(opened, "amas", "submit", "shop.order", order)) == json.loads(paid)
    assert json.loads(run(opened, "amas", "submit", "shop.stock", "tea")) == 3
    shown = json.loads(run(opened, "amas", "submit", "shop.stock", '"tea"', "--json"))
    assert (shown["state"], shown["result"]) == ("succeeded", 3)
    (line,) = (each for each in run(opened, "amas", "logs", "cashier-*").splitlines() if " paid " in each)
    assert "cents=650" in line
    given = call(opened, "sh", "-c", "echo '{\"cents\": 10001}' | amas submit shop.pay -")
    assert (given.returncode, given.stdout) == (1, "")
    assert "nobody may spend that much; `amas tasks " in given.stderr
    unknown = call(opened, "amas", "submit", "shop.steal")
    assert unknown.returncode == 2 and "shop.steal" in unknown.stderr


def test_who_waits_for_a_task_hears_that_it_was_cancelled(opened: Path) -> None:
    asked = ("amas", "submit", "shop.stock", "tea", "--delay", "600", "--key", "later")
    with started(opened, *asked) as waiting:
        task_id = run(opened, *asked, "--detach").strip()  # the same task, by its key
        run(opened, "amas", "cancel", task_id)
        _, told = waiting.communicate(timeout=LIMIT_S)
    assert waiting.returncode == 4 and task_id in told


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
