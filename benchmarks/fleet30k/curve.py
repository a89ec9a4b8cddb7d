"""What more agents cost: memory, CPU and seconds while the fleet grows step by step, and the line through the steps.

Everything that an agent takes while it has nothing to do grows with their number, so the line through what was measured says what
a million would take. `--sizes` may name the million itself: a point is always measured.
"""

import asyncio
import itertools
import statistics
from typing import Any

from benchmarks.fleet import cpu_by_process, pids
from benchmarks.fleet30k.place import Found, Place, Row, differences, memory_mb
from benchmarks.fleet30k.scale import change, declared, names

SETTLE_S = 3.0
MILLION = 1_000_000


async def _point(place: Place, agents: int, over: list[str], idle_s: float) -> dict[str, Any]:
    """Let the fleet have so many agents and return what that took, and takes."""
    grown = await change(place, agents - declared(place), over)
    await asyncio.sleep(SETTLE_S)
    before = cpu_by_process(place.fleet)
    await asyncio.sleep(idle_s)
    idle = differences(cpu_by_process(place.fleet), before, 100 / idle_s)
    memory = {name: memory_mb(pid)["pss"] for name, pid in pids(place.fleet).items()}
    return {
        "agents": agents,
        "grown_s": grown["seconds"],
        "grown_cpu_ms": round(sum(grown["cpu_ms"].values())),
        "pss_mb": round(sum(memory.values()), 1),
        "idle_percent_of_a_core": round(sum(idle[name] for name in memory), 1),
        "memory_mb": memory,
    }


async def measure(place: Place, *, sizes: list[int], idle_s: float) -> Found:
    """Return a point for each size, smallest first, and where the line through them stands at a million."""
    over = names(max(sizes))
    points = [await _point(place, agents, over, idle_s) for agents in (declared(place), *sorted(sizes))]
    numbers = [point["agents"] for point in points]
    slope, base = statistics.linear_regression(numbers, [point["pss_mb"] for point in points])
    cpu_us = statistics.median(
        now["grown_cpu_ms"] * 1000 / (now["agents"] - before["agents"]) for before, now in itertools.pairwise(points)
    )
    return {
        "points": points,
        "bytes_per_agent": round(slope * 2**20),
        "cpu_us_per_agent": round(cpu_us, 2),
        "million_mb": round(base + slope * MILLION),
        "million_cpu_s": round(cpu_us * MILLION / 1e6, 1),
    }


def rows(found: Found) -> list[Row]:
    """Return the lines of the table."""
    return [
        *(
            (f"{point['pss_mb']:,}", "", f"MiB of all processes with {point['agents']:,} agents, grown in {point['grown_s']:g} s")
            for point in found["points"]
        ),
        (f"{found['points'][-1]['idle_percent_of_a_core']:g}", "", "CPU with nothing to do at the last of these, % of a core"),
        (f"{found['bytes_per_agent']:,}", "", "bytes that one agent more takes"),
        (f"{found['cpu_us_per_agent']:g}", "", "CPU us until one agent more is there"),
        (f"{found['million_mb']:,}", "", "MiB for a million, by the line through these"),
        (f"{found['million_cpu_s']:g}", "", "CPU seconds until a million are there, by the same"),
    ]
