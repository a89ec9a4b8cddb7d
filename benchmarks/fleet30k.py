"""`python -m benchmarks.fleet30k [--fleet FILE] [--tasks N] [--runs N] [--output FILE]`: 30,000 agents in two processes, measured.

Starts the fleet `blackroad` as `amas up` does, waits until every agent is seated, and measures what people ask of it: the seconds from
nothing to all seated, memory and idle CPU of every process, `amas ps`, and no-op tasks a second spread over all families. A run of
its own, beside `make bench`: it prints a table, and JSON where `--output` says.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from amas.client import Fleet, NewTask
from amas.fleet.load import load_fleet
from amas.model.fleet import FleetSpec
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for
from benchmarks.fleet import cpu_by_process, pids, recorded
from benchmarks.machine import about, yardstick_ms
from benchmarks.work import LIMIT_S, PAYLOAD

BATCH = 1000
SEATED_S = 300.0
"""Seconds after which a start is stuck."""


async def _seated(fleet: RunningFleet, agents: int) -> None:
    """Wait until all agents are registered and idle."""

    def idle() -> int:
        with urllib.request.urlopen(f"{fleet.state.api_url}/api/pools", timeout=30) as answer:
            return int(json.load(answer)["agents"]["idle"])

    async with asyncio.timeout(SEATED_S):
        while await asyncio.to_thread(idle) < agents:  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.05)


def _memory_mb(pid: int) -> dict[str, float]:
    """Return a process's resident memory, and its share of it where pages are shared."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("Rss:", "Pss:"))}
    return {"rss": round(kib["Rss"] / 1024, 1), "pss": round(kib["Pss"] / 1024, 1)}


async def _idle(fleet: RunningFleet, seconds: float) -> dict[str, float]:
    """Return the CPU milliseconds a second of each process, beside nothing to do."""
    await asyncio.sleep(3.0)  # what starting leaves to do
    before = cpu_by_process(fleet)
    await asyncio.sleep(seconds)
    after = cpu_by_process(fleet)
    return {name: round((after[name] - before[name]) / seconds * 1000, 1) for name in pids(fleet)}


def _ps_s(home: Path, *arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "amas", "ps", "--home", str(home), *arguments], check=True, stdout=subprocess.DEVNULL, timeout=60
    )
    return time.perf_counter() - began


async def _spread(client: Fleet, spec: FleetSpec, tasks: int) -> dict[str, float]:
    """Return tasks a second over the stand-ins of all families, and the share that succeeded."""
    capabilities = [pool.capabilities[0] for pool in spec.pools if pool.skill == "none"]
    batch = [NewTask(capability=name, input=PAYLOAD) for name in islice(cycle(capabilities), tasks)]
    began = time.perf_counter()
    handles = [handle for first in range(0, tasks, BATCH) for handle in await client.submit_batch(batch[first : first + BATCH])]
    results = await client.results(handles, timeout_s=LIMIT_S)
    seconds = time.perf_counter() - began
    return {"tasks_per_s": tasks / seconds, "succeeded": sum(result == PAYLOAD for result in results) / tasks}


async def measure(fleet_file: str, *, tasks: int, runs: int, idle_s: float) -> dict[str, Any]:
    """Return everything that was measured."""
    spec = load_fleet(fleet_file, agents=True)
    agents = sum(pool.replicas for pool in spec.pools)
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        request = request_for(fleet_file, Home(Path(folder)), ports=(0, 0), bound=True)
        began = time.perf_counter()
        fleet = await start_fleet(request)
        try:
            up_s = time.perf_counter() - began
            await _seated(fleet, agents)
            seated_s = time.perf_counter() - began
            idle = await _idle(fleet, idle_s)
            memory = {name: _memory_mb(pid) for name, pid in pids(fleet).items()}
            pools_s = [await asyncio.to_thread(_ps_s, fleet.home.folder) for _ in range(runs)]
            agents_s = [await asyncio.to_thread(_ps_s, fleet.home.folder, "--agents") for _ in range(runs)]
            async with Fleet.connect(home=fleet.home.folder) as client:
                await _spread(client, spec, min(tasks, 2 * BATCH))  # warm
                spread = []
                for _ in range(runs):
                    await recorded(fleet)  # a run must not pay for the history of the one before
                    spread.append(await _spread(client, spec, tasks))
            worked = {name: _memory_mb(pid) for name, pid in pids(fleet).items()}
        finally:
            await fleet.stop()
    return {
        "machine": about(),
        "yardstick_ms": round(yardstick_ms()),
        "agents": agents,
        "hosts": spec.hosts,
        "up_s": round(up_s, 2),
        "seated_s": round(seated_s, 2),
        "rss_mb": round(sum(of["rss"] for of in memory.values())),
        "pss_mb": round(sum(of["pss"] for of in memory.values())),
        "pss_mb_after_work": round(sum(of["pss"] for of in worked.values())),
        "idle_cpu_percent_of_a_core": round(sum(idle.values()) / 10, 1),
        "ps_s": round(statistics.median(pools_s), 2),
        "ps_agents_s": round(statistics.median(agents_s), 2),
        "tasks_per_s": round(statistics.median(run["tasks_per_s"] for run in spread)),
        "success_percent": round(min(run["succeeded"] for run in spread) * 100, 2),
        "details": {"memory_mb": memory, "idle_cpu_ms_per_s": idle, "runs": [round(run["tasks_per_s"]) for run in spread]},
    }


ROWS = (
    ("seated_s", "seconds from nothing until every agent is registered and idle", "under 10"),
    ("up_s", "of these, until `amas up` returned", ""),
    ("pss_mb", "memory of all processes together, shared pages counted once, MiB", "under 1,000"),
    ("rss_mb", "the same, shared pages counted in each", ""),
    ("pss_mb_after_work", "the first again, once agents have worked", ""),
    ("idle_cpu_percent_of_a_core", "CPU with nothing to do, all processes, % of a core", "under 10"),
    ("ps_s", "`amas ps`, seconds", "under 1"),
    ("ps_agents_s", "`amas ps --agents`, seconds", "under 1"),
    ("tasks_per_s", "no-op tasks a second over all families, from end to end", "20,000"),
    ("success_percent", "of these succeeded, %", "98"),
)


def main(arguments: list[str]) -> int:
    """Measure, print the table, and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet30k", description="Measure a fleet of 30,000 agents.")
    parser.add_argument("--fleet", default="blackroad", help="a fleet file, or a blueprint's name")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of one run over all families")
    parser.add_argument("--runs", type=int, default=3, help="the medians are of so many")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of watching it do nothing")
    parser.add_argument("--output", type=Path, help="where the JSON goes; standard output without it")
    asked = parser.parse_args(arguments)
    found = uvloop.run(measure(asked.fleet, tasks=asked.tasks, runs=asked.runs, idle_s=asked.idle))
    shown = Table(title=f"{found['agents']:,} agents on {found['hosts']} hosts", box=None, title_justify="left")
    for title in ("measured", "asked for", "what"):
        shown.add_column(title, justify="right" if title == "measured" else "left")
    for name, what, wanted in ROWS:
        shown.add_row(f"{found[name]:,}", wanted, what)
    Console(width=120, stderr=asked.output is None).print(shown)
    text = json.dumps(found, indent=2)
    if asked.output:
        asked.output.write_text(text + "\n")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
