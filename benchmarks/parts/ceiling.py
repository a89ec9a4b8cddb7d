"""What the engine alone can do: the very calls of a run as ready-made bytes over one socket, one after the other."""

import statistics
import time

from benchmarks.calls import Kinds, Wire
from benchmarks.fleet import engine_alone, engine_cpu_us
from benchmarks.results import Measured


async def measure(*, quick: bool) -> Measured:
    """Return whole lives of tasks a second, and CPU of the engine for one."""
    tasks, runs = (2_000, 2) if quick else (20_000, 5)
    rates, costs = [], []
    for _ in range(runs):  # each on an engine of its own, for what one has stored costs the next
        async with engine_alone() as engine:
            await Kinds.begin(engine)
            async with Wire.open(engine) as wire:
                calls = wire.cycle(tasks)
                cpu, began = await engine_cpu_us(engine), time.perf_counter()
                await wire.say(calls)
                rates.append(tasks / (time.perf_counter() - began))
                costs.append((await engine_cpu_us(engine) - cpu) / tasks)
    return Measured(
        {"engine_cycle_ceiling_per_s": round(statistics.median(rates))},
        {"runs_per_s": [round(rate) for rate in rates], "engine_cpu_us_per_task": round(statistics.median(costs), 1)},
    )
