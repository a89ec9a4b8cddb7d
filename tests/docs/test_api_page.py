"""docs/api.md, done by hand on the README's fleet: its commands in the order in which they stand, and its first program."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
README = (ROOT / "README.md").read_text()
LIMIT_S = 60


def block(page: str, language: str, having: str) -> str:
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) if having in text)
    return str(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Yield the folder of the README's fleet, which runs, and its address as it stands on the page, but for the port."""
    at = tmp_path_factory.mktemp("greeters")
    (at / "greet.py").write_text(block(README, "python", '@agent("text.greet")'))
    (at / "fleet.yaml").write_text(block(README, "yaml", "name: greeters"))
    amas = (sys.executable, "-m", "amas")
    environment = {**os.environ, "AMAS_HOME": str(at / "home")}
    up = [*amas, "up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0", "--json"]
    told = subprocess.run(up, cwd=at, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert told.returncode == 0, told.stderr
    try:
        yield at, f"localhost:{json.loads(told.stdout)['port']}"
    finally:
        subprocess.run([*amas, "down"], env=environment, check=True, capture_output=True, timeout=LIMIT_S)


def typed(folder: tuple[Path, str], having: str) -> list[str]:
    """Return what the commands of a block print, line by line."""
    at, address = folder
    script = block(PAGE, "sh", having).replace("localhost:8000", address)
    script = re.sub(r"^(curl .*)$", r"\1; echo", script, flags=re.MULTILINE) if "\\\n" not in script else script
    done = subprocess.run(["bash", "-euc", script], cwd=at, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line]


def test_a_batch_is_asked_for_its_outcomes(folder: tuple[Path, str]) -> None:
    ended, lines = (json.loads(line) for line in typed(folder, "tasks.json"))
    assert [task["result"] for task in ended["ended"]] == [{"text": "Hello, Ada"}, {"text": "Hello, Alan"}]
    assert len(lines["ids"]) == 2


def test_a_request_that_is_sent_again_is_done_once(folder: tuple[Path, str]) -> None:
    first, *again = typed(folder, "Idempotency-Key")
    assert again[-1] == first
    assert "idempotency-replayed: true" in again


def test_a_change_of_what_was_changed_since_is_refused(folder: tuple[Path, str]) -> None:
    told = "".join(typed(folder, "If-Match"))
    assert [json.loads(f'"{code}"') for code in re.findall(r'"code":"(\w+)"', told)] == ["schedule_changed"]
    assert '"cron":"0 7 * * *"' in told


def test_a_read_is_asked_for_by_its_tag(folder: tuple[Path, str]) -> None:
    at, address = folder
    script = "\n".join(line.strip() for line in PAGE.splitlines() if "tag" in line and line.startswith("        "))
    command = ["bash", "-euc", script.replace("localhost:8000", address)]
    told = subprocess.run(command, cwd=at, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert told.stdout.startswith("HTTP/1.1 304 ")


def test_a_stream_goes_on_after_an_event(folder: tuple[Path, str]) -> None:
    at, address = folder
    (command,) = re.findall(r"^    (curl -N .*/api/events -H '[^']*')", PAGE, re.MULTILINE)
    whole = f"timeout 3 {command.replace('localhost:8000', address)} | head -n 4"
    told = subprocess.run(["bash", "-c", whole], cwd=at, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert "event: change" in told.stdout


def test_its_program_runs_as_it_stands(folder: tuple[Path, str]) -> None:
    at, address = folder
    program = block(PAGE, "python", "client.each").replace("localhost:8000", address)
    assert "in client.follow():" in program
    program = program.rstrip() + "\n        break\n"  # it follows for ever
    submit = 'client.tasks.submit(capability="text.greet", input={})\n    '  # something to be told of
    program = program.replace("for event_id", submit + "for event_id")
    done = subprocess.run([sys.executable, "-c", program], cwd=at, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{'text': 'Hello, Ada'}\n")
