"""The primary dies under load, a replica is promoted by the sentinels: all follow, and what was acknowledged is there."""

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from host_bench import Bench, pool
from tests.fault.fault_bench import assert_each_ended_once, assert_no_kept_step_ran_again, duties, ledger_lines, new_seed
from tests.fault.replicas import LIMIT_S, ReplicaSet, Server, oldest_redis, replica_set

from amas.client import Fleet, NewTask, TaskHandle
from amas.engine.connection import Engine
from amas.observe import events

pytestmark = pytest.mark.timeout(600)

CELL = "failover"
BATCH = 20
LEASE_S = 150.0
"""More than sentinels need, also where they find no replica fit at once, or stood still themselves."""
WHOLE = os.environ.get("AMAS_SOAK") == "full"


@pytest.fixture(autouse=True)
def confirmed_by_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator sets it for every process."""
    monkeypatch.setenv("AMAS_ACK_REPLICAS", "1")
    monkeypatch.setenv("AMAS_ACK_TIMEOUT_S", "0.5")
    monkeypatch.setenv("AMAS_ENGINE_TIMEOUT_S", "2")


async def until_lines(ledger: Path, count: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while len(ledger_lines(ledger)) < count:
            await asyncio.sleep(0.005)


async def fail_over(old: Server, new: Server, how: int) -> None:
    """Kill or freeze the primary; once the other is promoted, let it come back as a replica of that.

    Before it is killed it goes on without its replica for a moment, so that what nobody confirmed is really lost.
    """
    if how == signal.SIGSTOP:
        old.send(how)
        await new.until("replication", "role", "master")
        old.send(signal.SIGCONT)  # it believes to be the primary until the sentinels tell it
        return
    new.send(signal.SIGSTOP)
    await old.client.execute_command("CLIENT", "KILL", "TYPE", "replica")
    await asyncio.sleep(0.2)
    old.send(how)
    await old.gone()
    new.send(signal.SIGCONT)
    await new.until("replication", "role", "master")
    await old.start("--replicaof", "127.0.0.1", str(new.port))


async def work_through(found: ReplicaSet, folder: Path, *, tasks: int, turns: Sequence[tuple[int, int]]) -> None:
    """Have tasks done while the primary goes: each turn is (after how many lines of the ledger, by which signal)."""
    ledger = folder / "ledger"
    async with Engine(found.url, cell=CELL) as engine:
        await engine.check(load=True)
        bench = Bench(engine, found.url, folder)
        writes = pool("ledger", replicas=4, options={"ledger": str(ledger), "steps": 2})
        async with (
            duties(found.url, CELL),
            bench.host([writes], "h1", lease_s=LEASE_S, beat_every_s=0.5),
            bench.host([writes], "h2", lease_s=LEASE_S, beat_every_s=0.5),
            Fleet.connect(found.url, cell=CELL) as fleet,
        ):
            accepted: list[TaskHandle] = []

            async def submit() -> None:
                while len(accepted) < tasks:  # some are submitted all the time, while others are under way
                    batch = await fleet.submit_batch(NewTask(capability="test.ledger") for _ in range(BATCH))
                    accepted.extend(batch)
                    await batch[0].outcome(timeout_s=LIMIT_S)

            async with asyncio.TaskGroup() as group:
                for _ in range(4):
                    group.create_task(submit())
                old, new = found.first, found.second
                for lines, how in turns:
                    await until_lines(ledger, lines)
                    await fail_over(old, new, how)
                    old, new = new, old
            done = await fleet.results(accepted, timeout_s=LIMIT_S)
            assert done == [["done 0", "done 1"]] * len(accepted)
            after = await fleet.submit("test.ledger")  # nobody is stuck
            await after.result(timeout_s=LIMIT_S)
        lost = [line for host_id in ("h1", "h2") for line in bench.log_lines(host_id) if line.get("event") == events.LEASE_LOST]
        assert lost == [], "a failover costs no host its lease"
        ids = [handle.id for handle in accepted]
        await assert_each_ended_once(engine, ids)
        await assert_no_kept_step_ran_again(engine, ledger)
        assert {(task_id, step) for task_id, step, *_ in ledger_lines(ledger)} >= {(i, s) for i in ids for s in "01"}


FROZEN = pytest.param(signal.SIGSTOP, id="frozen", marks=pytest.mark.soak)  # sentinels take ten seconds to demote one


@pytest.mark.parametrize("how", [pytest.param(signal.SIGKILL, id="killed"), FROZEN])
async def test_a_promoted_replica_is_followed_and_nothing_acknowledged_is_lost(how: int, tmp_path: Path) -> None:
    turn = random.Random(new_seed()).randrange(20, 300)
    async with replica_set(tmp_path, sentinels=1) as found:
        await work_through(found, tmp_path, tasks=400, turns=[(turn, how)])


@pytest.mark.soak
async def test_the_oldest_redis_fails_over_as_well(tmp_path: Path) -> None:
    turn = random.Random(new_seed()).randrange(20, 100)
    async with replica_set(tmp_path, binary=oldest_redis(), sentinels=1) as found:
        await work_through(found, tmp_path, tasks=200, turns=[(turn, signal.SIGKILL)])


@pytest.mark.soak
async def test_primaries_die_again_and_again(tmp_path: Path) -> None:
    rng = random.Random(new_seed())
    count = 8 if WHOLE else 2
    ways = [signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP]
    turns = [(200 + 600 * n + rng.randrange(300), rng.choice(ways)) for n in range(count)]
    async with replica_set(tmp_path, sentinels=3) as found:
        await work_through(found, tmp_path, tasks=count * 400, turns=turns)
