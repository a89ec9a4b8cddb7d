"""What the command line costs: CPU of `amas --help`, and the whole demo."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.results import Measured

ROOT = Path(__file__).parents[2]
AMAS = [sys.executable, "-m", "amas"]
GOAL = "Review the code in src, run its tests, document its API and write a report"


def _cpu_ms(arguments: list[str]) -> float:
    before = os.times()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user + after.children_system - before.children_user - before.children_system) * 1000


def help_cost(runs: int) -> dict[str, float]:
    """Return the CPU milliseconds of `amas --help`, beside those of an empty Python."""
    return {
        "help_cpu_ms": round(statistics.median(_cpu_ms([*AMAS, "--help"]) for _ in range(runs))),
        "empty_python_cpu_ms": round(statistics.median(_cpu_ms([sys.executable, "-c", "pass"]) for _ in range(runs))),
    }


def demo() -> dict[str, float]:
    """Return the seconds of a whole goal on this project's own engine package, from the command to the deliverable."""
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        source = Path(folder, "source")
        shutil.copytree(ROOT / "src/amas/engine", source / "engine", ignore=shutil.ignore_patterns("__pycache__"))
        command = [*AMAS, "run", GOAL, "--input", str(source), "--output", f"{folder}/out", "--home", f"{folder}/home", "--json"]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return {"goal_s": round(time.perf_counter() - began, 1)}


async def measure(*, quick: bool) -> Measured:
    """Return both; the goal takes longer than a quick run has."""
    return Measured(help_cost(3) if quick else {**help_cost(9), **demo()}, {})
