"""docs/messages.md: it shows the example as it is, example and program run as they stand, and it has every call and setting."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from amas.agents.context import Context
from amas.agents.mail import Correspondent
from amas.settings import MessageSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "messages.md").read_text()
EXAMPLE = ROOT / "examples" / "messages"
LIMIT_S = 60


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_the_example_as_it_is() -> None:
    assert blocks("python")[0] == (EXAMPLE / "agents.py").read_text()
    assert blocks("yaml") == [(EXAMPLE / "fleet.yaml").read_text()]


def test_the_example_runs_with_the_pages_commands(tmp_path: Path) -> None:
    folder = tmp_path / "messages"
    shutil.copytree(EXAMPLE, folder)
    environment = {**os.environ, "AMAS_HOME": str(tmp_path / "home"), "AMAS_PORT": "0", "AMAS_METRICS_PORT": "0"}
    programs = {"amas": f"{sys.executable} -m amas", "python": sys.executable}
    said = {}
    up, *commands, down = [line.partition("#")[0].strip() for line in blocks("sh")[0].splitlines()]

    def run(command: str) -> None:
        name, _, arguments = command.partition(" ")
        done = subprocess.run(
            f"{programs[name]} {arguments}",
            shell=True,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        said[command] = done.stdout

    run(up)
    try:
        for command in commands:
            run(command)
    finally:
        run(down)
    assert said["python talk.py"].splitlines() == [
        "['15 psi is 103.4 kPa', '900 lb is 408.2 kg']",
        "reviewer-1: 15 psi is 103.4 kPa",
        "reviewer-1: 900 lb is 408.2 kg",
    ]
    assert "the bus is ok; its inboxes hold 0 messages" in said["amas messages"]
    assert said[commands[2]] == '"1.4 kg"\n'
    assert said["amas messages refused"] == "no message was refused\n"


def test_the_program_runs() -> None:
    program = blocks("python")[1]
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.startswith("lead-1 {'found': 3}\n{'state': 'ok', 'backlog': 1,")


def test_every_call_is_there() -> None:
    calls = [name for name in vars(Correspondent) if not name.startswith("_") and name != "mail"]
    assert len(calls) == 8
    assert [name for name in calls if f"`await ctx.{name}(" not in PAGE or not hasattr(Context, name)] == []


def test_every_setting_is_there() -> None:
    assert [field.variable.name for field in MessageSettings.fields() if field.variable.name not in PAGE] == []
