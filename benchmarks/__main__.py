"""`python -m benchmarks [throughput] [latency] [commands]`: measure, print a table, write results.json."""

import asyncio
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import commands, latency, throughput
from benchmarks.machine import yardstick_ms

RESULTS = Path(__file__).with_name("results.json")

SUITES: dict[str, Callable[[], dict[str, Any]]] = {
    "throughput": lambda: asyncio.run(throughput.measure()),
    "latency": lambda: asyncio.run(latency.measure()),
    "commands": lambda: {**commands.help_cost(), **commands.demo()},
}


def main(names: list[str]) -> None:
    """Measure the suites that are named, or all, and keep the others' last results."""
    console = Console()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    for name in names or list(SUITES):
        console.print(f"[bold]{name}[/bold] ...")
        before = yardstick_ms()
        measured = SUITES[name]()
        measured[f"{name}_yardstick_ms"] = [round(before), round(yardstick_ms())]
        results.update(measured)
        table = Table(box=None, show_header=False)
        for key, value in measured.items():
            table.add_row(key, json.dumps(value))
        console.print(table)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


main(sys.argv[1:])
