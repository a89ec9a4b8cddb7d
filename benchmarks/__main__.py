"""`python -m benchmarks [--only NAME,...] [--quick] [--output FILE]`: measure, print a table, write results, plots and the page.

A quick run has counts that a test can wait for. Its numbers say nothing, so it writes nothing but the `--output` that is named.
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import fleet, page, plots, progress, results
from benchmarks.machine import about, yardstick_ms
from benchmarks.parts import (
    assignment,
    ceiling,
    commands,
    cost,
    depth,
    fair,
    goals,
    graphs,
    idle,
    kill_engine,
    kill_host,
    kill_switch,
    latency,
    memory,
    messages,
    reads,
    rest,
    scaling,
    throughput,
)

PARTS: dict[str, ModuleType] = {
    "throughput": throughput,
    "rest": rest,
    "reads": reads,
    "assignment": assignment,
    "cost": cost,
    "ceiling": ceiling,
    "latency": latency,
    "memory": memory,
    "depth": depth,
    "graphs": graphs,
    "idle": idle,
    "fair": fair,
    "messages": messages,
    "scaling": scaling,
    "goals": goals,
    "kill_host": kill_host,
    "kill_switch": kill_switch,
    "kill_engine": kill_engine,
    "commands": commands,
}


async def run(names: list[str], found: dict[str, Any], *, quick: bool, save: Callable[[], None]) -> None:
    """Measure parts one after the other, put what each finds into `found`, and save it: a part that breaks costs no other's."""
    times = 1 if quick else 3
    async with fleet.shared() if quick else nullcontext():
        before = yardstick_ms(times=times)
        for name in names:
            progress.begin(name)
            began = time.perf_counter()
            measured = await PARTS[name].measure(quick=quick)
            after = yardstick_ms(times=times)
            found.update(measured.keys)
            found.setdefault("seconds", {})[name] = round(time.perf_counter() - began, 1)
            found.setdefault("details", {})[name] = measured.details
            found.setdefault("yardstick_ms", {})[name] = [round(before), round(after)]
            before = after
            save()
            progress.done()
    if {"tasks_per_s_client_fsync", "engine_cycle_ceiling_per_s"} <= found.keys():
        found["ratio_to_ceiling"] = round(found["tasks_per_s_client_fsync"] / found["engine_cycle_ceiling_per_s"], 3)


def table(found: dict[str, Any]) -> Table:
    """Return the flat keys that others read, with what was asked for."""
    shown = Table(box=None)
    for title in ("key", "measured", "asked for", "what"):
        shown.add_column(title, justify="right" if title == "measured" else "left")
    for key in results.KEYS:
        value = found.get(key.name)
        shown.add_row(key.name, "-" if value is None else f"{value:,} {key.unit}", key.target, key.what)
    return shown


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; 1 when a figure can't be true."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the fleet on this machine.")
    parser.add_argument("--only", default="", help=f"parts, with commas between them: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small counts, for a test; the figures say nothing")
    parser.add_argument("--output", type=Path, help="where the results go (without --quick: benchmarks/results.json)")
    asked = parser.parse_args(arguments)
    names = [name for name in asked.only.split(",") if name] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    output = asked.output or (None if asked.quick else results.PATH)
    found = results.load(output) if output else {}
    found["machine"] = about()

    def save() -> None:
        if output:
            results.save(found, output)

    with progress.shown(len(names)):
        uvloop.run(run(names, found, quick=asked.quick, save=save))  # as a program that wants speed does, and all of ours do
    save()
    if not asked.quick and output == results.PATH:
        plots.draw(found)
        page.write(found)
    Console(width=200).print(table(found))
    wrong = results.unsound(found, [key for key in results.KEYS if key.name in found])
    print(*wrong, sep="\n", file=sys.stderr, end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
