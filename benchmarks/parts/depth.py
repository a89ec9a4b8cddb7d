"""What a task costs the engine while so many others are queued: its CPU for submit, claim and complete, at a depth that stays.

Every cycle submits as many as it claims and completes, so that the queue keeps its depth; the oldest are claimed, which were
stored long ago. An engine with 1,000 queued runs in turn with the one that is measured, so that a noisy moment is both's.
"""

from statistics import median

from amas.engine.connection import Engine
from benchmarks.calls import Kinds
from benchmarks.fleet import engine_alone, engine_memory_bytes, forget_journal, log_settled
from benchmarks.progress import say
from benchmarks.results import Measured

DEPTHS = (1_000, 10_000, 100_000, 1_000_000)


class Deep:
    """An engine with so many tasks queued."""

    def __init__(self, engine: Engine, kinds: Kinds) -> None:
        self.engine, self._kinds = engine, kinds
        self.queued = 0

    async def fill(self, depth: int) -> None:
        """Queue tasks until so many wait."""
        while self.queued < depth:
            await self._kinds.submit(step := min(20_000, depth - self.queued))
            await forget_journal(self.engine)
            self.queued += step

    async def cost(self, tasks: int) -> dict[str, float]:
        """Return CPU us per task by kind of call, the depth staying as it is."""
        await log_settled(self.engine)
        self._kinds.cpu_us = dict.fromkeys(self._kinds.cpu_us, 0.0)
        await self._kinds.submit(tasks)
        await self._kinds.complete(await self._kinds.claim(tasks))
        await forget_journal(self.engine)
        return {kind: cpu / tasks for kind, cpu in self._kinds.cpu_us.items()}


async def measure(*, quick: bool) -> Measured:
    """Return CPU us per task by depth, and the deepest one's ratio to 1,000, measured in turn on two engines."""
    depths, tasks, runs = ((1_000, 5_000), 1_000, 2) if quick else (DEPTHS, 10_000, 5)
    rows = []
    async with engine_alone() as first, engine_alone() as second:
        shallow, deep = Deep(first, await Kinds.begin(first)), Deep(second, await Kinds.begin(second))
        await shallow.fill(depths[0])
        for depth in depths:
            say(f"{depth:,} queued")
            await deep.fill(depth)
            pairs = [(await shallow.cost(tasks), await deep.cost(tasks)) for _ in range(runs)]
            by_kind = {kind: round(median(cost[kind] for _, cost in pairs), 2) for kind in pairs[0][1]}
            ratio = median(sum(cost.values()) / sum(base.values()) for base, cost in pairs)
            row = {"queued": depth, "cpu_us_per_task": round(sum(by_kind.values()), 2), "ratio": round(ratio, 3)}
            rows.append(row | by_kind | {"engine_bytes": await engine_memory_bytes(second)})
    return Measured({"cost_ratio_1m_to_1k_tasks": rows[-1]["ratio"]}, {"depths": rows})
