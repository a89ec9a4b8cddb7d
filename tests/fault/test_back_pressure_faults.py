"""A bounded queue, many producers, and hosts that are killed: nothing accepted is lost, and no submission exceeds the bound."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from host_bench import LIMIT_S, Bench
from tests.fault.test_host_faults import ends, host_process, ledger_lines

from amas.client import Fleet, NewTask
from amas.engine.bounds import QueueBounds
from amas.engine.hosts import HostRegistry
from amas.engine.journal import START, Journal
from amas.model.journal import EntryKind, task_changes

QUEUE, BOUND, SLOTS = "test.ledger", 12, 4
PRODUCERS, EACH = 6, 20


@asynccontextmanager
async def reaping(bench: Bench) -> AsyncIterator[None]:
    """Do the reaper's duty, so that a dead host's tasks come back."""

    async def reap() -> None:
        registry = HostRegistry(bench.engine)
        while True:
            await registry.reap()
            await asyncio.sleep(0.05)

    duty = asyncio.create_task(reap())
    try:
        yield
    finally:
        duty.cancel()
        await asyncio.wait((duty,))


async def produce(bench: Bench, number: int, rng: random.Random) -> list[str]:
    """Submit as fast as the fleet lets us, alone and in batches; return the ids of what was accepted."""
    ids: list[str] = []
    async with Fleet.connect(bench.url, cell=bench.cell) as fleet:
        while len(ids) < EACH:
            size = min(rng.randint(1, BOUND // 2), EACH - len(ids))
            if size == 1:
                handles = [await fleet.submit(QUEUE, number)]
            else:
                handles = await fleet.submit_batch(NewTask(capability=QUEUE, input=number) for _ in range(size))
            ids += [handle.id for handle in handles]
    return ids


async def depths_at_submissions(bench: Bench) -> list[int]:
    """Return how many tasks were queued right after each submission, as the journal tells, what came back left out."""
    queued: dict[str, bool] = {}  # task -> whether it never began
    depths = []
    for entry in await Journal(bench.engine).read(START, limit=100_000):
        for change in task_changes(entry):
            if change.spec is not None:
                queued[change.task_id] = True
            else:
                queued.pop(change.task_id, None)
        if entry.kind is EntryKind.SUBMIT:
            depths.append(len(queued))
    return depths


@pytest.mark.requirement("A5")
async def test_producers_and_killed_hosts_lose_nothing_and_keep_the_bound(bench: Bench) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    await QueueBounds(bench.engine).set({QUEUE: BOUND})
    ledger = bench.folder / "ledger"
    spec = {"pool": {"options": {"ledger": str(ledger), "steps": 2}, "replicas": SLOTS}}
    async with host_process(bench, "h1", "ledger", **spec) as h1, reaping(bench):
        producing = asyncio.gather(*(produce(bench, number, random.Random(rng.random())) for number in range(PRODUCERS)))
        at = rng.randint(20, PRODUCERS * EACH)

        async def reached() -> bool:
            return len(ledger_lines(ledger)) >= at

        await bench.until(reached)
        h1.kill()
        async with host_process(bench, "h2", "ledger", **spec):
            async with asyncio.timeout(LIMIT_S * 2):
                ids = [task_id for accepted in await producing for task_id in accepted]
            results = await ends(bench, ids)
    assert len(set(ids)) == PRODUCERS * EACH
    assert results == Counter(dict.fromkeys(ids, 1))
    depths = await depths_at_submissions(bench)
    assert max(depths) <= BOUND
    assert max(depths) > BOUND // 2  # the producers were held back, not the hosts idle
