"""How long one task takes from the call of submit to the result in the submitter's hands: on an idle fleet, and at half load.

Half load is open-loop: tasks arrive by chance (exponential gaps) at half of the rate that single calls reach, each a `submit` of
its own, and a task's time counts from when it should have arrived, so a stall is charged to every task that it held up. Measured
twice: with a fresh log, and while the engine writes its log anew, which it does each 128 MB and which takes a core and the disk.
"""

import asyncio
import gc
import random
import statistics
import time

from amas.client import Fleet
from benchmarks.fleet import begin_log_rewrite, log_settled, recorded, running
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
        await begin_log_rewrite(client.engine)
        await log_settled(client.engine)
        say(f"half load, {full / 2:.0f} tasks/s")
        gc.collect()
        gc.freeze()  # else Python stops this process, clock and all, to look through what the runs before have left in it
        began = time.perf_counter()
        taken = await half_load(client, full / 2, seconds)
        half = quantiles(taken)
        ended_per_s = round(len(taken) / (time.perf_counter() - began))
        await recorded(fleet)
        say("half load, while the log is written anew")
        await begin_log_rewrite(client.engine)
        rewriting = quantiles(await half_load(client, full / 2, seconds / 5))
    found = {"idle": idle, "idle_nofsync": unsynced, "half_load": half, "log_rewrite": rewriting}
    keys = {f"latency_{name}_{at}_ms": value for name, values in found.items() for at, value in values.items()}
    return Measured(keys, {"full_per_s": round(full), "half_arrivals_per_s": round(full / 2), "half_ended_per_s": ended_per_s})
