"""What a task costs the engine while so many others are queued: its CPU for submit, claim and complete, at a depth that stays.

Every cycle submits as many as it claims and completes, so that the queue keeps its depth; the oldest are claimed, which were
stored long ago.
"""

import statistics

from benchmarks.calls import Kinds
from benchmarks.fleet import engine_alone, engine_memory_bytes, forget_journal, log_settled
from benchmarks.progress import say
from benchmarks.results import Measured

DEPTHS = (1_000, 10_000, 100_000, 1_000_000)


async def measure(*, quick: bool) -> Measured:
    """Return CPU us per task by depth, and the deepest one's ratio to the shallowest."""
    depths, tasks, runs = ((1_000, 5_000), 1_000, 2) if quick else (DEPTHS, 10_000, 5)
    rows = []
    async with engine_alone() as engine:
        kinds, queued = await Kinds.begin(engine), 0
        for depth in depths:
            say(f"{depth:,} queued")
            while queued < depth:
                await kinds.submit(step := min(20_000, depth - queued))
                await forget_journal(engine)
                queued += step
            costs = []
            for _ in range(runs):
                await log_settled(engine)
                kinds.cpu_us = dict.fromkeys(kinds.cpu_us, 0.0)
                await kinds.submit(tasks)
                await kinds.complete(await kinds.claim(tasks))
                await forget_journal(engine)
                costs.append({kind: cpu / tasks for kind, cpu in kinds.cpu_us.items()})
            by_kind = {kind: round(statistics.median(cost[kind] for cost in costs), 2) for kind in costs[0]}
            row = {"queued": depth, "cpu_us_per_task": round(statistics.median(sum(cost.values()) for cost in costs), 2)}
            rows.append(row | by_kind | {"engine_bytes": await engine_memory_bytes(engine)})
    ratio = rows[-1]["cpu_us_per_task"] / rows[0]["cpu_us_per_task"]
    return Measured({"cost_ratio_1m_to_1k_tasks": round(ratio, 3)}, {"depths": rows})
