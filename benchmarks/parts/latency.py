"""How long one task takes from the call of submit to the result in the submitter's hands: on an idle fleet, and at half load.

Half load is open-loop: tasks arrive by chance (exponential gaps) at half of the rate that single calls reach, each a `submit` of
its own, and a task's time counts from when it should have arrived, so a stall is charged to every task that it held up.
"""

import asyncio
import random
import statistics
import time

from amas.client import Fleet
from benchmarks.fleet import recorded, running
from benchmarks.progress import say
from benchmarks.results import Measured, quantiles
from benchmarks.work import LIMIT_S, PAYLOAD, one_run, timed_singles

TICK_S = 0.001
"""Between looks at who has arrived."""


async def half_load(client: Fleet, per_s: float, seconds: float) -> list[float]:
    """Return the milliseconds of each task that arrived within so many seconds."""
    chance, taken = random.Random(1), []  # the same arrivals in every run
    loop = asyncio.get_running_loop()

    async def one(due: float) -> None:
        task = await client.submit("bench.noop", PAYLOAD)
        await task.result(timeout_s=LIMIT_S)
        taken.append((loop.time() - due) * 1000)

    async with asyncio.TaskGroup() as group:
        began = due = loop.time()
        while due < began + seconds:
            while due <= loop.time():
                group.create_task(one(due))
                due += chance.expovariate(per_s)
            await asyncio.sleep(TICK_S)
    return taken


async def measure(*, quick: bool) -> Measured:
    """Return p50, p99 and p99.9 in milliseconds."""
    count, tasks, seconds = (50, 1_000, 0.3) if quick else (3_000, 10_000, 10.0)
    async with running(hosts=1) as (fleet, client):
        say("one at a time, fsync")
        idle = quantiles(await timed_singles(client, count, warm=count // 10))
        say("one at a time, no fsync")
        await client.engine.client.config_set("appendfsync", "no")
        unsynced = quantiles(await timed_singles(client, count, warm=count // 10))
        await client.engine.client.config_set("appendfsync", "always")
        await one_run(client, tasks, 1)
        full = statistics.median([await one_run(client, tasks, 1) for _ in range(1 if quick else 3)])
        await recorded(fleet)
        say(f"half load, {full / 2:.0f} tasks/s")
        began = time.perf_counter()
        taken = await half_load(client, full / 2, seconds)
        half = quantiles(taken)
        ended_per_s = round(len(taken) / (time.perf_counter() - began))
    keys = {f"latency_{name}_{at}_ms": value for name, found in
            (("idle", idle), ("idle_nofsync", unsynced), ("half_load", half)) for at, value in found.items()}  # fmt: skip
    return Measured(keys, {"full_per_s": round(full), "half_arrivals_per_s": round(full / 2), "half_ended_per_s": ended_per_s})
