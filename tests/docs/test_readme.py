"""The README's own example, run as it stands: its agent, its fleet file, its program and its curl."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
LIMIT_S = 60
ALL = "  - {name: all, layer: executive, agent: greet_all:greet_all, capabilities: [text.greet_all]}\n"
"""The pool of the README's second agent, which it leaves to the reader."""


SPAWNS = """
import asyncio
from amas import Fleet

async def main():
    async with Fleet.connect() as fleet:
        print(await (await fleet.submit("text.greet_all", {"names": ["ada", "alan"]})).result())

asyncio.run(main())
"""


def _block(after: str, language: str) -> str:
    found = re.search(rf"{re.escape(after)}.*?```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no {language} block after {after!r}"
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "greet.py").write_text(_block("`greet.py`:", "python"))
    (tmp_path / "greet_all.py").write_text(_block("while it waits:", "python"))
    (tmp_path / "fleet.yaml").write_text(_block("`fleet.yaml`, beside it:", "yaml") + ALL)
    (tmp_path / "program.py").write_text(_block("and from any program:", "python"))
    return tmp_path


def test_the_example_runs_as_it_stands(folder: Path) -> None:
    environment = {**os.environ, "AMAS_HOME": str(folder / "home")}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    amas = (sys.executable, "-m", "amas")
    state = json.loads(run(*amas, "up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0", "--json"))
    try:
        assert run(sys.executable, "program.py").splitlines() == [
            "{'text': 'Hello, Ada'}",
            "[{'text': 'Hello, Grace'}, {'text': 'Hello, Alan'}]",
        ]
        (curl,) = re.findall(r"^    (curl .*)$", README, re.MULTILINE)
        answer = json.loads(run("sh", "-c", curl.replace("localhost:8000", f"127.0.0.1:{state['port']}")))
        assert json.loads(run("curl", "-s", f"http://127.0.0.1:{state['port']}/api/tasks/{answer['id']}/result?wait=20"))
        assert run(sys.executable, "-c", SPAWNS).strip() == "['Hello, Ada', 'Hello, Alan']"
        goal = subprocess.run([*amas, "run", "Review"], cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert goal.returncode == 2
        assert "takes tasks but no goals" in goal.stderr
    finally:
        run(*amas, "down")
