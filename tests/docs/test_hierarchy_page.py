"""docs/python-hierarchy.md: its first program starts a fleet of its own, has a goal met, and ends without a word of complaint."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "python-hierarchy.md").read_text()
LIMIT_S = 180


PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def ran(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Return what came of a program with a shop to look at, and a home for its fleet."""
    shop = folder / "shop"
    shop.mkdir()
    (shop / "a.py").write_text(
        '"""A till."""\n\n\ndef add(a: int, b: int) -> int:\n    """Return the sum."""\n    return a + b\n'
    )
    said = program.replace("/srv/shop", str(shop)).replace("/srv/fleet", str(folder / "home"))
    environment = {**os.environ, "AMAS_HOME": str(folder / "home")}
    return subprocess.run(
        [sys.executable, "-c", said], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.mark.requirement("T1", "T2", "T3", "T5")
def test_its_parts_do_what_the_page_says(tmp_path: Path) -> None:
    (parts,) = [each for each in PROGRAMS if "get_task_distributor" in each]
    (together,) = [each for each in PROGRAMS if "AgentOrchestrator(" in each]
    done = ran(f"import asyncio\n{parts}\n{together}\nasyncio.run(parts())\nasyncio.run(orchestrate())", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    _, collaborated, figures, decided, delivered = done.stdout.splitlines()
    assert "'development.style': {" in collaborated and collaborated.endswith("} {}")
    assert figures.endswith(" ()") or "PoolScaling" in figures
    assert decided.startswith("code-reviewer-1 may not use 'shell': no rule allows it")
    assert delivered.startswith(str(tmp_path / "home" / "deliverables"))


def test_its_first_program_runs_as_it_stands_and_ends_with_its_fleet(tmp_path: Path) -> None:
    done = ran(PROGRAMS[0], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"completed {tmp_path / 'home' / 'deliverables'}" in done.stdout
    assert "'technical-lead'" in done.stdout.splitlines()[-1]
    assert not (tmp_path / "home" / "fleet.json").exists(), "its fleet is gone"
