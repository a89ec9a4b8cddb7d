"""How long tasks take at 5,000 a second over all families: sent by the clock, whatever becomes of those before.

A task's time runs from when it was due to be sent until its outcome is in this process: one that waits because the sender fell
behind has waited, too. They go out in small batches, as from a program that collects what comes within 10 ms.
"""

import asyncio
import statistics
import time
from itertools import cycle, islice
from typing import Any

from amas.client import NewTask
from benchmarks.fleet import cpu_by_process, recorded
from benchmarks.fleet30k.place import Found, Place, Row, differences
from benchmarks.fleet30k.rate import PAYLOAD, capabilities, commands
from benchmarks.fleet30k.rate import once as work_through
from benchmarks.work import LIMIT_S

TICK_S = 0.01


async def once(place: Place, per_s: int, seconds: float) -> dict[str, Any]:
    """Return the milliseconds that tasks took at this pace, and how late the sender itself was."""
    taken: list[float] = []
    late: list[float] = []
    succeeded = 0
    names = cycle(capabilities(place.spec))
    each, ticks = round(per_s * TICK_S), round(seconds / TICK_S)
    began = time.perf_counter()

    async def send(due_s: float) -> None:
        nonlocal succeeded
        late.append((time.perf_counter() - due_s) * 1000)
        batch = [NewTask(capability=name, input=PAYLOAD) for name in islice(names, each)]
        for handle in await place.client.submit_batch(batch):
            outcome = await handle.outcome(timeout_s=LIMIT_S)
            succeeded += outcome.state.value == "succeeded"
            taken.append((time.perf_counter() - due_s) * 1000)

    async with asyncio.TaskGroup() as group:
        for tick in range(ticks):
            due_s = began + tick * TICK_S
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            group.create_task(send(due_s))
    centiles = statistics.quantiles(taken, n=100)
    return {
        "tasks": len(taken),
        "per_s": round(len(taken) / (time.perf_counter() - began)),
        "succeeded_percent": round(succeeded / len(taken) * 100, 2),
        "p50_ms": round(centiles[49], 1),
        "p99_ms": round(centiles[98], 1),
        "max_ms": round(max(taken), 1),
        "sender_late_p99_ms": round(statistics.quantiles(late, n=100)[98], 1),
    }


async def measure(place: Place, *, per_s: int, seconds: float, runs: int) -> Found:
    """Return the medians of several runs, and the CPU of one task."""
    await work_through(place.client, capabilities(place.spec), place.agents)  # every agent is made
    found, took, ran = [], [], []
    for _ in range(runs):
        await recorded(place.fleet)
        cpu, before = cpu_by_process(place.fleet), await commands(place.client.engine)
        found.append(await once(place, per_s, seconds))
        await recorded(place.fleet)
        tasks = found[-1]["tasks"]
        took.append(differences(cpu_by_process(place.fleet), cpu, 1e6 / tasks))
        after = await commands(place.client.engine)
        ran.append({name: round((of[0] - before.get(name, (0, 0))[0]) / tasks, 3) for name, of in after.items()})
    return {
        "asked_per_s": per_s,
        **{name: statistics.median(run[name] for run in found) for name in ("per_s", "p50_ms", "p99_ms", "sender_late_p99_ms")},
        "succeeded_percent": min(run["succeeded_percent"] for run in found),
        "cpu_us_per_task": round(statistics.median(sum(run.values()) for run in took), 1),
        "details": {"runs": found, "cpu_us_by_process": took, "commands_per_task": ran[-1]},
    }


def rows(found: Found) -> list[Row]:
    """Return the lines of the table."""
    return [
        (f"{found['p99_ms']:g}", "under 200", f"ms of a task at {found['asked_per_s']:,} a second, p99"),
        (f"{found['p50_ms']:g}", "", "the median"),
        (f"{found['sender_late_p99_ms']:g}", "", "of the p99, how late the sender itself was"),
        (f"{found['per_s']:,}", f"{found['asked_per_s']:,}", "tasks a second that came through"),
        (f"{found['succeeded_percent']:g}", "98", "of these succeeded, %"),
        (f"{found['cpu_us_per_task']:g}", "", "CPU of all processes for one, history included, us"),
    ]
