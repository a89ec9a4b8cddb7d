"""Where the CPU of a task goes: the engine's by kind of call, the agent's own code, and each process in a whole run."""

import asyncio
import statistics
import time

from benchmarks.agents import noop
from benchmarks.calls import Kinds
from benchmarks.fleet import cpu_by_process, engine_alone, recorded, running
from benchmarks.results import Measured
from benchmarks.work import one_run

BATCH = 500


async def engine_split(tasks: int, runs: int) -> dict[str, float]:
    """Return the engine's CPU us per task of each kind of call, run alone."""
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        async with engine_alone() as engine:
            kinds = await Kinds.begin(engine)
            await kinds.submit(tasks)
            await kinds.complete(await kinds.claim(tasks))
            for kind, cpu_us in kinds.cpu_us.items():
                found.setdefault(kind, []).append(cpu_us / tasks)
    return {kind: round(statistics.median(values), 1) for kind, values in found.items()}


async def user_code_us(tasks: int) -> float:
    """Return the CPU us of the agent's own code for one task: what the host can't be blamed for."""
    began = time.process_time()
    for _ in range(tasks):
        await noop(None)
    return (time.process_time() - began) / tasks * 1e6


async def whole_runs(tasks: int, runs: int, idle_s: float) -> dict[str, float]:
    """Return CPU us per task of each process, the history included: the client's, the host's, the engine's, the recorder's."""
    async with running(hosts=1) as (fleet, client):
        await one_run(client, tasks, BATCH)
        await recorded(fleet)
        idle_from = cpu_by_process(fleet)
        await asyncio.sleep(idle_s)  # what it costs to be there is no task's fault
        idle = {name: (cpu - idle_from[name]) / idle_s for name, cpu in cpu_by_process(fleet).items()}
        found: dict[str, list[float]] = {}
        for _ in range(runs):
            before, began = cpu_by_process(fleet), time.perf_counter()
            await one_run(client, tasks, BATCH)
            await recorded(fleet)
            seconds = time.perf_counter() - began
            for name, cpu in cpu_by_process(fleet).items():
                found.setdefault(name, []).append(max(0.0, cpu - before[name] - idle[name] * seconds) / tasks * 1e6)
    return {name: round(statistics.median(values), 1) for name, values in found.items()}


async def measure(*, quick: bool) -> Measured:
    """Return CPU microseconds per task by where they go, and their sum."""
    tasks, runs = (1_000, 1) if quick else (10_000, 5)
    engine, user = await engine_split(tasks, runs), await user_code_us(tasks)
    by_process = await whole_runs(tasks, runs, 0.5 if quick else 5.0)
    hosts = sum(cpu for name, cpu in by_process.items() if name.startswith("host-"))
    split = {f"engine: {kind}": cpu for kind, cpu in engine.items()}
    split["engine: the rest"] = round(max(0.0, by_process["engine"] - sum(engine.values())), 1)
    split |= {"user code": round(user, 1), "host": round(hosts - user, 1), "client": by_process["client"]}
    split["recorder"] = by_process["control-plane"]
    return Measured(
        {
            "cpu_us_per_task": round(sum(by_process.values()), 1),
            "cpu_us_submit": engine["submit"],
            "cpu_us_claim": engine["claim"],
            "cpu_us_complete": engine["complete"],
            "cpu_us_user_code": round(user, 2),
        },
        {"split": split, "by_process": by_process},
    )
