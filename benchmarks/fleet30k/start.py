"""From nothing to 30,000 agents that are registered and idle, and what they take while nothing happens."""

import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from amas.client import Fleet
from amas.fleet.load import load_fleet
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for
from benchmarks.fleet import cpu_by_process, pids
from benchmarks.fleet30k.place import Found, Place, Row, differences, memory_mb
from benchmarks.machine import cpu_s

SETTLE_S = 3.0
"""What starting leaves to do."""


def _ps(home: Path, *arguments: str) -> tuple[float, float]:
    """Return how long one `amas ps` takes, and how much of that it works itself, in seconds."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "amas", "ps", "--home", str(home), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def _api_ms(fleet: RunningFleet, path: str) -> float:
    """Return the median milliseconds of one answer of the API."""

    def ask() -> float:
        began = time.perf_counter()
        with urllib.request.urlopen(f"{fleet.state.api_url}{path}", timeout=30) as answer:
            answer.read()
        return (time.perf_counter() - began) * 1000

    return statistics.median([await asyncio.to_thread(ask) for _ in range(20)])


async def measure(fleet_file: str, *, runs: int, idle_s: float) -> Found:
    """Return what a start takes, and what stands there afterwards."""
    spec = load_fleet(fleet_file, agents=True)
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        request = request_for(fleet_file, Home(Path(folder)), ports=(0, 0), bound=True)
        began = time.perf_counter()
        fleet = await start_fleet(request)
        try:
            up_s = time.perf_counter() - began
            async with Fleet.connect(home=fleet.home.folder) as client:
                place = Place(fleet, client, spec)
                await place.until(place.agents)
                seated_s = time.perf_counter() - began
                return await _standing(place, runs, idle_s) | {"up_s": round(up_s, 2), "seated_s": round(seated_s, 2)}
        finally:
            await fleet.stop()


async def _standing(place: Place, runs: int, idle_s: float) -> Found:
    fleet, home = place.fleet, place.fleet.home.folder
    start_cpu_s = sum(cpu_s([pid]) for pid in pids(fleet).values())
    await asyncio.sleep(SETTLE_S)
    before = cpu_by_process(fleet)
    await asyncio.sleep(idle_s)
    idle = differences(cpu_by_process(fleet), before, 1000 / idle_s)
    memory = {name: memory_mb(pid) for name, pid in pids(fleet).items()}
    ps = [await asyncio.to_thread(_ps, home) for _ in range(runs)]
    ps_agents = [await asyncio.to_thread(_ps, home, "--agents") for _ in range(runs)]
    return {
        "agents": place.agents,
        "hosts": place.spec.hosts,
        "start_cpu_s": round(start_cpu_s, 2),
        "rss_mb": round(sum(of["rss"] for of in memory.values())),
        "pss_mb": round(sum(of["pss"] for of in memory.values())),
        "idle_cpu_percent_of_a_core": round(sum(idle[name] for name in memory) / 10, 1),
        "ps_s": round(statistics.median(took for took, _ in ps), 2),
        "ps_cpu_s": round(statistics.median(own for _, own in ps), 2),
        "ps_agents_s": round(statistics.median(took for took, _ in ps_agents), 2),
        "api_pools_ms": round(await _api_ms(fleet, "/api/pools"), 1),
        "api_agents_page_ms": round(await _api_ms(fleet, "/api/agents?limit=1000&status=idle"), 1),
        "details": {"memory_mb": memory, "idle_cpu_ms_per_s": idle},
    }


def rows(found: Found) -> list[Row]:
    """Return the lines of the table."""
    return [
        (
            f"{found['seated_s']:g}",
            "under 10",
            f"seconds from nothing until all {found['agents']:,} agents are registered and idle",
        ),
        (f"{found['up_s']:g}", "", "of these, until `amas up` returned"),
        (f"{found['start_cpu_s']:g}", "", "CPU seconds of all processes until all were seated"),
        (f"{found['pss_mb']:,}", "under 1,000", "memory of all processes together, shared pages counted once, MiB"),
        (f"{found['rss_mb']:,}", "", "the same, shared pages counted in each"),
        (f"{found['idle_cpu_percent_of_a_core']:g}", "under 10", "CPU with nothing to do, all processes, % of a core"),
        (f"{found['ps_s']:g}, {found['ps_cpu_s']:g}", "under 1", "`amas ps`, seconds, and its own CPU"),
        (f"{found['ps_agents_s']:g}", "under 1", "`amas ps --agents`, seconds"),
        (f"{found['api_pools_ms']:g}", "", "`GET /api/pools`, ms"),
        (f"{found['api_agents_page_ms']:g}", "", "`GET /api/agents`, a page of 1,000 that are idle, ms"),
    ]
