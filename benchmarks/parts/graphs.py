"""What a task costs the engine in graphs of 10 to 100,000 tasks: its CPU from submission to the workflow's end, by shape.

A graph is one workflow, submitted in batches of 1000 and then run by one host with 256 places, outcomes and claims together in
one round trip as a host does it. Beside it: the longest single call, which everybody else waits for, and what forgetting it
costs.
"""

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from amas.clock import new_id, now_ms
from amas.engine.connection import Engine
from amas.engine.queue import Exchange, TaskQueue, make_submission
from amas.model.blob import to_blob
from amas.model.journal import WorkflowOpening
from amas.model.states import WorkflowState
from amas.model.task import Completion, TaskSpec
from benchmarks.calls import HOST, QUEUE, RESULT, RETENTION_MS, Kinds, free
from benchmarks.fleet import engine_alone, engine_cpu_us, forget_journal, log_settled
from benchmarks.progress import say
from benchmarks.results import Measured
from benchmarks.work import PAYLOAD

PLACES = 256
BATCH = 1000
LAYERS = 10
"""As many in every size, so that a task has as many needs in a small graph as in a large one."""
FORGET_AFTER_MS = RETENTION_MS + 60_000


def chain(size: int) -> Iterator[list[int]]:
    """Each task needs the one before."""
    yield []
    yield from ([number - 1] for number in range(1, size))


def wide(size: int) -> Iterator[list[int]]:
    """All need the first."""
    yield []
    yield from ([0] for _ in range(1, size))


def layered(size: int) -> Iterator[list[int]]:
    """Ten layers; each task needs three of the layer before."""
    width = max(1, size // LAYERS)
    for number in range(size):
        layer, place = divmod(number, width)
        yield sorted({(layer - 1) * width + (place + step) % width for step in (0, 1, 7)}) if layer else []


def diamond(size: int) -> Iterator[list[int]]:
    """One opens, all others but the last need it, and the last needs them: at most 1000, so there is a row of such diamonds."""
    first = 0
    while first < size:
        last = min(first + BATCH, size) - 1
        yield [first - 1] if first else []
        yield from ([first] for _ in range(first + 1, last))
        if last > first:
            yield list(range(first + 1, last)) or [first]
        first = last + 1


SHAPES: dict[str, Callable[[int], Iterator[list[int]]]] = {"chain": chain, "wide": wide, "layered": layered, "diamond": diamond}
BASE_RUNS = 2
"""Of a graph of 1,000, before and after each."""
SIZES = (10, 100, 1_000, 10_000, 100_000)


class Run:
    """One graph on its way through the engine, with the longest call of each kind."""

    def __init__(self, engine: Engine) -> None:
        self._queue = TaskQueue(engine)
        self.longest_ms: dict[str, float] = {}

    async def _timed(self, kind: str, call: Any) -> Any:
        began = time.perf_counter()
        answer = await call
        self.longest_ms[kind] = max(self.longest_ms.get(kind, 0.0), (time.perf_counter() - began) * 1000)
        return answer

    async def submit(self, workflow: str, needs: list[list[int]]) -> None:
        """Store the graph as one workflow."""
        ids = [new_id() for _ in needs]
        opening: WorkflowOpening | None = WorkflowOpening(workflow, to_blob("a graph"))
        for start in range(0, len(ids), BATCH):
            batch = [
                make_submission(
                    ids[number],
                    TaskSpec(
                        capability=QUEUE, input=PAYLOAD, workflow_id=workflow, needs=tuple(ids[need] for need in needs[number])
                    ),
                )
                for number in range(start, min(start + BATCH, len(ids)))
            ]
            await self._timed("submit", self._queue.submit(batch, workflow=opening))
            opening = None

    async def finish(self, tasks: int) -> None:
        """Run every task."""
        done: list[Completion] = []
        slots = free(PLACES)
        while tasks:
            answer = await self._timed("exchange", self._queue.exchange(HOST, Exchange(done, (), slots)))
            assert not answer.refused and (answer.claimed or done), "the graph stands still"
            tasks -= len(done)
            done = [Completion(one.id, one.attempt, RESULT) for one in answer.claimed]

    async def forget(self) -> None:
        """Forget the workflow, as if its retention were over."""
        later = now_ms() + FORGET_AFTER_MS
        while await self._timed("forget", self._queue.forget(now_ms=later)):
            pass


async def _one(engine: Engine, shape: str, size: int) -> dict[str, Any]:
    needs, run, workflow = list(SHAPES[shape](size)), Run(engine), new_id()
    await log_settled(engine)
    before, began = await engine_cpu_us(engine), time.perf_counter()
    await run.submit(workflow, needs)
    await run.finish(size)
    seconds = time.perf_counter() - began
    cost = (await engine_cpu_us(engine) - before) / size
    found = await TaskQueue(engine).workflow(workflow)
    assert found is not None and found["state"] == WorkflowState.SUCCEEDED.value, f"the workflow didn't succeed: {found}"
    before = await engine_cpu_us(engine)
    await run.forget()
    forget = (await engine_cpu_us(engine) - before) / size
    await forget_journal(engine)
    longest = {kind: round(ms, 1) for kind, ms in run.longest_ms.items()}
    return {"shape": shape, "tasks": size, "cpu_us_per_task": round(cost, 1), "forget_us_per_task": round(forget, 1)} | {
        "tasks_per_s": round(size / seconds),
        "longest_ms": longest,
    }


async def _beside(engine: Engine, shape: str, sizes: tuple[int, int], runs: int) -> dict[str, Any]:
    """Return the median run of a size, with its ratio to runs of the smaller size just before and after each."""
    base, size = sizes
    found, ratios = [], []
    for _ in range(runs):
        before = [await _one(engine, shape, base) for _ in range(BASE_RUNS)]
        found.append(await _one(engine, shape, size))
        after = [await _one(engine, shape, base) for _ in range(BASE_RUNS)]
        ratios.append(found[-1]["cpu_us_per_task"] / median(run["cpu_us_per_task"] for run in before + after))
    middle = sorted(found, key=lambda run: run["cpu_us_per_task"])[len(found) // 2]
    return middle | {"ratio": round(median(ratios), 3)}


async def measure(*, quick: bool) -> Measured:
    """Return CPU us per task by shape and size; the flat key is the worst shape's ratio of the largest to the one of 1,000."""
    sizes, base = ((100, 300), 100) if quick else (SIZES, 1_000)
    rows = []
    for shape in SHAPES:
        async with engine_alone() as engine:
            await Kinds.begin(engine)
            await _one(engine, shape, base)  # warm
            for size in sizes:
                say(f"{shape}, {size:,} tasks")
                rows.append(await _beside(engine, shape, (base, size), 1 if quick or size == sizes[-1] else 3))
    ratios = {row["shape"]: row["ratio"] for row in rows if row["tasks"] == sizes[-1]}
    return Measured({"cost_ratio_graph_100k_to_1k": max(ratios.values())}, {"graphs": rows, "ratios": ratios})
