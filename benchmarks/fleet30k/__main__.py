"""`python -m benchmarks.fleet30k [--only PART,...] [--output FILE]`: what 30,000 agents on one machine do, and take.

Starts the fleet `blackroad` as `amas up` does, anew for each part, and measures what people ask of it. A run of its own, beside
`make bench`: it prints a table, and JSON where `--output` says. See docs/fleet-at-full-size.md.
"""

import argparse
import json
import sys
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.fleet30k import curve, kills, latency, rate, scale, start
from benchmarks.fleet30k.place import Found, Row, up
from benchmarks.machine import about, yardstick_ms


async def _start(asked: Namespace) -> Found:
    return await start.measure(asked.fleet, runs=asked.runs, idle_s=asked.idle)


async def _rate(asked: Namespace) -> Found:
    async with up(asked.fleet) as place:
        found = await rate.measure(place, tasks=asked.tasks, runs=asked.runs)
    async with up(str(rate.ORDINARY)) as place:
        return found | {"beside": await rate.measure(place, tasks=asked.tasks, runs=asked.runs)}


async def _latency(asked: Namespace) -> Found:
    async with up(asked.fleet) as place:
        return await latency.measure(place, per_s=asked.per_s, seconds=asked.seconds, runs=asked.runs)


async def _kills(asked: Namespace) -> Found:
    async with up(asked.fleet, more=kills.POOLS, most=kills.HELD) as place:
        return await kills.measure(place, kills=asked.kills, restarts=asked.restarts)


async def _scale(asked: Namespace) -> Found:
    async with up(asked.fleet, more=scale.pools(asked.to), most=asked.to) as place:
        return await scale.measure(place, to=asked.to, runs=asked.runs)


async def _curve(asked: Namespace) -> Found:
    sizes = [int(size) for size in asked.sizes.split(",")]
    async with up(asked.fleet, more=scale.pools(max(sizes)), most=max(sizes)) as place:
        return await curve.measure(place, sizes=sizes, idle_s=min(asked.idle, 5.0))


class Part(NamedTuple):
    """One thing that is measured."""

    measure: Callable[[Namespace], Awaitable[Found]]
    rows: Callable[[Found], list[Row]]


PARTS = {
    "start": Part(_start, start.rows),
    "rate": Part(_rate, rate.rows),
    "latency": Part(_latency, latency.rows),
    "kills": Part(_kills, kills.rows),
    "scale": Part(_scale, scale.rows),
    "curve": Part(_curve, curve.rows),
}


async def run(names: list[str], asked: Namespace) -> Found:
    """Measure parts one after the other, each between two looks at how fast the machine is, and print a table of each."""
    found: Found = {"machine": about()}
    for name in names:
        before, began = yardstick_ms(), time.perf_counter()
        measured = await PARTS[name].measure(asked)
        measured |= {"yardstick_ms": [round(before), round(yardstick_ms())], "took_s": round(time.perf_counter() - began)}
        found[name] = measured
        shown = Table(title=f"{name} (yardstick {measured['yardstick_ms']} ms)", box=None, title_justify="left")
        for title in ("measured", "asked for", "what"):
            shown.add_column(title, justify="right" if title == "measured" else "left")
        for row in PARTS[name].rows(measured):
            shown.add_row(*row)
        Console(width=130, stderr=asked.output is None).print(shown)
    return found


def main(arguments: list[str]) -> int:
    """Measure, print the tables, and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet30k", description="Measure a fleet of 30,000 agents.")
    parser.add_argument("--only", default="", help=f"parts, with commas between them: {', '.join(PARTS)}")
    parser.add_argument("--fleet", default="blackroad", help="a fleet file, or a blueprint's name")
    parser.add_argument("--tasks", type=int, default=20_000, help="rate: tasks of one run over all families")
    parser.add_argument("--runs", type=int, default=3, help="the medians are of so many")
    parser.add_argument("--idle", type=float, default=20.0, help="start, curve: seconds of watching it do nothing")
    parser.add_argument("--per-s", type=int, default=5_000, help="latency: tasks a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="latency: how long one run sends")
    parser.add_argument("--kills", type=int, default=20, help="kills: hosts that nobody starts again")
    parser.add_argument("--restarts", type=int, default=3, help="kills: hosts that the supervisor starts again")
    parser.add_argument("--to", type=int, default=10_000, help="scale: agents that come and go")
    parser.add_argument("--sizes", default="60000,100000", help="curve: agents in all, up to 1000000, with commas between them")
    parser.add_argument("--output", type=Path, help="where the JSON goes; standard output without it")
    asked = parser.parse_args(arguments)
    names = [name for name in asked.only.split(",") if name] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    text = json.dumps(uvloop.run(run(names, asked)), indent=2)
    if asked.output:
        asked.output.write_text(text + "\n")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
