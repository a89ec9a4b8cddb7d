"""docs/tools.md: it shows the example as it is, and the example runs with the page's command."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from amas.agents.tools.sandbox import reason_missing

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tools.md").read_text()
EXAMPLE = ROOT / "examples" / "tools"
LIMIT_S = 120


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_the_example_as_it_is() -> None:
    assert blocks("yaml") == [(EXAMPLE / "fleet.yaml").read_text()]
    assert blocks("python") == [(EXAMPLE / "agents.py").read_text()]


def test_the_example_runs_in_one_command(tmp_path: Path) -> None:
    if why := asyncio.run(reason_missing()):
        pytest.skip(f"no sandbox here: {why}")
    folder, programs = tmp_path / "tools", tmp_path / "bin"
    shutil.copytree(EXAMPLE, folder)
    programs.mkdir()
    for name, arguments in (("amas", "-m amas"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "AMAS_HOME": str(tmp_path / "home"),
        "AMAS_PORT": "0",
        "AMAS_METRICS_PORT": "0",
    }
    (command,) = blocks("sh")
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    (said,) = re.findall(r"prints\n\n```\n(.*?)```", PAGE, re.DOTALL)
    assert said in done.stdout, (done.stdout, done.stderr)
