"""What fault tests share: duties that run while everything breaks, ledgers, and what must be true after."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from amas.client import Fleet, NewTask, TaskHandle
from amas.controllers.figures import Figures
from amas.controllers.reaper import Reaper
from amas.controllers.run import keep_at
from amas.controllers.timers import Timers
from amas.engine.connection import Engine
from amas.engine.hosts import HostRegistry
from amas.engine.journal import START, Journal
from amas.engine.limits import Limits
from amas.engine.queue import TaskQueue
from amas.engine.workflows import Workflows
from amas.model.journal import EntryKind, TaskChange, task_changes
from amas.model.states import TaskState
from amas.model.task import JournaledStep
from amas.settings import EngineSettings

LIMIT_S = 60.0


def new_seed() -> int:
    """Print and return the number that makes a run again what it was."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    return seed


@asynccontextmanager
async def duties(url: str, cell: str, *, lease_s: float = 3.0) -> AsyncIterator[Figures]:
    """Run the timers and the reaper for the body, as the control plane does, and give what they count."""
    figures = Figures()
    async with Engine.of(msgspec.structs.replace(EngineSettings.read(), url=url, cell=cell)) as engine:
        sweeps = (
            Timers(TaskQueue(engine), Workflows(engine), Limits(engine), figures),
            Reaper(HostRegistry(engine), figures, lease_s=lease_s),
        )
        running = [asyncio.create_task(keep_at(sweep, figures)) for sweep in sweeps]
        try:
            yield figures
        finally:
            for duty in running:
                duty.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def echoes(fleet: Fleet, count: int, *, batch: int = 20) -> list[str]:
    """Have `count` numbers echoed, batch by batch, and return the tasks' ids once every number has come back."""
    handles: list[TaskHandle] = []
    for start in range(0, count, batch):
        handles += await fleet.submit_batch(NewTask(capability="test.echo", input=n) for n in range(start, start + batch))
    found = await fleet.results(handles, timeout_s=LIMIT_S)
    assert [result["echo"] for result in found] == list(range(count))
    return [handle.id for handle in handles]


def ledger_lines(ledger: Path) -> list[list[str]]:
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


async def changes(engine: Engine) -> list[TaskChange]:
    return [change for entry in await Journal(engine).read(START, limit=100_000) for change in task_changes(entry)]


async def assert_each_ended_once(engine: Engine, ids: Sequence[str]) -> None:
    """Every accepted task succeeded, and one result was recorded for it."""
    ends = Counter(change.task_id for change in await changes(engine) if change.state is TaskState.SUCCEEDED)
    assert {task_id: ends[task_id] for task_id in ids} == dict.fromkeys(ids, 1)


async def assert_no_kept_step_ran_again(engine: Engine, ledger: Path) -> None:
    """No attempt after the one that journaled a step has run it."""
    kept: dict[tuple[str, str], int] = {}
    for entry in await Journal(engine).read(START, limit=100_000):
        if entry.kind is EntryKind.STEP:
            for index, step in enumerate(msgspec.msgpack.decode(entry.batch, type=list[JournaledStep])):
                if index not in entry.refused:
                    kept.setdefault((step.id, step.name), step.attempt)
    for task_id, step, attempt, _pid in ledger_lines(ledger):
        if (task_id, f"s{step}") in kept:
            assert int(attempt) <= kept[task_id, f"s{step}"], "a journaled step ran again"
