"""What a fleet costs that has nothing to do: CPU milliseconds per second, and memory, of each process."""

import asyncio
from pathlib import Path

from benchmarks.fleet import cpu_by_process, pids, running
from benchmarks.results import Measured


def _resident_mb(pid: int) -> float:
    (line,) = [line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")]
    return round(int(line.split()[1]) / 1024, 1)


async def measure(*, quick: bool) -> Measured:
    """Return CPU ms per second of the whole fleet, and of each process beside its memory (its share of shared pages)."""
    seconds = 0.5 if quick else 20.0
    async with running(hosts=1) as (fleet, _):
        await asyncio.sleep(0.2 if quick else 3.0)  # what starting leaves to do
        before = cpu_by_process(fleet)
        await asyncio.sleep(seconds)
        after = cpu_by_process(fleet)
        memory = {name: _resident_mb(pid) for name, pid in pids(fleet).items()}
    cpu = {name: round((after[name] - before[name]) / seconds * 1000, 1) for name in memory}
    return Measured(
        {"idle_cpu_ms_per_s": round(sum(cpu.values()), 1), "idle_memory_mb": round(sum(memory.values()), 1)},
        {"cpu_ms_per_s": cpu, "memory_mb": memory},
    )
