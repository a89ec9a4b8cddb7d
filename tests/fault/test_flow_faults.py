"""Hosts that are killed in the middle of a map: no element is lost or done twice, and the list comes back whole."""

import asyncio
import random
from pathlib import Path

import pytest
from host_bench import LIMIT_S, Bench
from tests.fault.test_host_faults import assert_no_journaled_step_ran_again, host_process, ledger_lines

from amas import Workflow
from amas.client import Fleet
from amas.engine.hosts import HostRegistry
from amas.engine.journal import START, Journal
from amas.engine.workflows import Workflows
from amas.model.journal import task_changes
from amas.model.states import TaskState

ELEMENTS, STEPS = 60, 3


async def tend(bench: Bench) -> None:
    """Do the controllers' duties until cancelled."""
    registry, workflows = HostRegistry(bench.engine), Workflows(bench.engine)
    while True:
        await registry.reap()
        await bench.queue.promote()
        await workflows.tend()
        await asyncio.sleep(0.01)


@pytest.mark.requirement("A5")
@pytest.mark.parametrize("lanes", [0, 5])
async def test_a_map_whose_hosts_are_killed_is_done_once(bench: Bench, lanes: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    ledger = bench.folder / "ledger"
    spec = {"pool": {"options": {"ledger": str(ledger), "steps": STEPS}, "replicas": 4}}
    flow = Workflow("killed", output="each")
    flow.map("each", over=list(range(ELEMENTS)), capability="test.ledger", at_once=lanes)
    kill_at = sorted(random.Random(seed).sample(range(5, (ELEMENTS - 8) * STEPS), 2))
    tending = asyncio.create_task(tend(bench))
    async with Fleet.connect(bench.url, cell=bench.cell) as fleet, host_process(bench, "h1", "ledger", **spec) as h1:
        handle = await fleet.start(flow)
        await bench.until(lambda: _at_least(ledger, kill_at[0]))
        h1.kill()
        async with host_process(bench, "h2", "ledger", **spec) as h2:
            await bench.until(lambda: _at_least(ledger, kill_at[1]))
            h2.kill()
            async with host_process(bench, "h3", "ledger", **spec):
                results = await handle.result(timeout_s=2 * LIMIT_S)
        views = await fleet.queue.workflow_tasks(handle.id, limit=1000)
    tending.cancel()
    assert results == [[f"done {step}" for step in range(STEPS)]] * ELEMENTS
    elements = [view.id for view in views if view.capability == "test.ledger"]
    assert len(elements) == len(set(elements)) == ELEMENTS
    entries = await Journal(bench.engine).read(START, limit=100_000)
    succeeded = [c.task_id for entry in entries for c in task_changes(entry) if c.state is TaskState.SUCCEEDED]
    assert len(succeeded) == len(set(succeeded))
    assert {(task_id, step) for task_id, step, *_ in ledger_lines(ledger)} == {
        (i, str(s)) for i in elements for s in range(STEPS)
    }
    await assert_no_journaled_step_ran_again(bench, ledger)


async def _at_least(ledger: Path, lines: int) -> bool:
    return len(ledger_lines(ledger)) >= lines
