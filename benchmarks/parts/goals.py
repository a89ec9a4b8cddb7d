"""Many workflows: 100 of 50 tasks at once, and 1,100 of which 1,000 wait to be let in, most of them one tenant's flood.

A workflow is one task, then 48 side by side, then one; they do nothing. The flood is submitted first, so that a tenant whose few
workflows come after it would wait for all of it if turns didn't hold.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from amas.clock import new_id
from amas.engine.connection import Engine
from amas.engine.journal import Journal
from amas.engine.queue import TaskQueue, make_submission
from amas.model.blob import to_blob
from amas.model.journal import WorkflowOpening
from amas.model.task import Submission, TaskSpec
from amas.platforms.local.control import RunningFleet
from amas.settings import EngineSettings
from benchmarks.fleet import cpu_by_process, recorded, running
from benchmarks.progress import say
from benchmarks.results import Measured, quantiles
from benchmarks.turns import Life, Lives, starved
from benchmarks.work import PAYLOAD

SUBMITTERS = 20
"""Workflows that are submitted at a time; each is one call."""
FLOOD = "flood"
LIMIT_S = 900.0


class Size(NamedTuple):
    """How much work: by default what was asked for."""

    at_a_time: int = 100
    waiting: int = 1_000
    tasks: int = 50
    tenants: int = 10
    each: int = 10
    """Workflows of every tenant but the flooding one."""

    def tenants_of(self) -> Iterator[str]:
        """Return the tenant of each workflow, in the order in which they come."""
        others = [f"tenant-{number}" for number in range(1, self.tenants)]
        yield from [FLOOD] * (self.at_a_time + self.waiting - len(others) * self.each)
        for _ in range(self.each):
            yield from others


def graph(workflow_id: str, tenant: str, tasks: int, capability: str = "bench.noop") -> list[Submission]:
    """Return a workflow's tasks."""
    first, *wide, last = (new_id() for _ in range(tasks))

    def one(task_id: str, needs: tuple[str, ...]) -> Submission:
        spec = TaskSpec(capability=capability, input=PAYLOAD, workflow_id=workflow_id, tenant=tenant, needs=needs)
        return make_submission(task_id, spec)

    return [one(first, ()), *(one(each, (first,)) for each in wide), one(last, tuple(wide))]


async def meet(engine: Engine, size: Size, tenants: list[str], capability: str = "bench.noop") -> dict[str, Life]:
    """Submit a workflow for each of `tenants`, and return their lives when all have ended."""
    names = {new_id(): tenant for tenant in tenants}
    lives, journal, queue = Lives(names), Journal(engine), TaskQueue(engine)
    read = await journal.last_id()
    left = iter(names.items())

    async def submit() -> None:
        for workflow_id, tenant in left:
            opening = WorkflowOpening(workflow_id, to_blob(None), "", None, size.at_a_time)
            await queue.submit(graph(workflow_id, tenant, size.tasks, capability), workflow=opening)

    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        for _ in range(SUBMITTERS):
            group.create_task(submit())
        while lives.open:
            entries = await journal.read(read, limit=200, wait_ms=1000)
            lives.take(entries)
            read = entries[-1].id if entries else read
    return lives.of


def waits_s(lives: dict[str, Life], tenants: set[str]) -> list[float]:
    """Return how long those tenants' workflows waited to be let in, in their order."""
    chosen = [life for life in lives.values() if life.tenant in tenants and life.let_in]
    return [(life.let_in[1] - life.came[1]) / 1000 for life in sorted(chosen, key=lambda life: life.came) if life.let_in]


def spans_s(lives: dict[str, Life]) -> list[float]:
    """Return how long each workflow took from when it was let in."""
    return [(life.ended[1] - life.let_in[1]) / 1000 for life in lives.values() if life.ended and life.let_in]


@asynccontextmanager
async def _work() -> AsyncIterator[tuple[RunningFleet, Engine]]:
    """Run a fleet, and give it with a connection to its engine."""
    patient = EngineSettings(timeout_s=60.0)  # whoever only looks on mustn't be what gives up on a machine that is busy
    async with (
        running(hosts=1) as (fleet, _),
        Engine(fleet.state.engine_url, cell=fleet.state.cell, settings=patient) as engine,
    ):
        yield fleet, engine


async def measure(*, quick: bool) -> Measured:
    """Return how long 100 at once take, how many of 1,100 starved, and how each kind waited."""
    size = Size(at_a_time=8, waiting=32, tasks=5, tenants=4, each=3) if quick else Size()
    tenants = list(size.tenants_of())
    async with _work() as (fleet, engine):
        say(f"{size.at_a_time} at once")
        began = time.perf_counter()
        at_once = await meet(engine, size, [f"tenant-{number % size.tenants}" for number in range(size.at_a_time)])
        at_once_s = time.perf_counter() - began
        await recorded(fleet)
        say(f"{len(tenants)}, of which {size.waiting} wait")
        before, began = cpu_by_process(fleet), time.perf_counter()
        lives = await meet(engine, size, tenants)
        waited_s = time.perf_counter() - began
        await recorded(fleet)
        cpu = {name: cpu_s - before[name] for name, cpu_s in cpu_by_process(fleet).items()}
    reasons = starved(lives, overtakers_max=2 * size.at_a_time)
    tasks = len(tenants) * size.tasks
    waits = {"flood": waits_s(lives, {FLOOD}), "others": waits_s(lives, set(tenants) - {FLOOD})}
    return Measured(
        {
            "goals_100x50_s": round(at_once_s, 3),
            "goals_waiting_starved": len(reasons),
            "goals_waiting_cpu_us_per_task": round(sum(cpu.values()) / tasks * 1e6, 1),
        },
        {
            "workflows": len(tenants),
            "tasks": size.tasks,
            "seconds": round(waited_s, 2),
            "at_once_s": quantiles(spans_s(at_once)),
            "span_s": quantiles(spans_s(lives)),
            "wait_s": {who: {"first": found[0], "last": found[-1], **quantiles(found)} for who, found in waits.items()},
            "cpu_us_per_task": {name: round(cpu_s / tasks * 1e6, 1) for name, cpu_s in cpu.items()},
            "starved": dict(list(reasons.items())[:10]),
        },
    )
