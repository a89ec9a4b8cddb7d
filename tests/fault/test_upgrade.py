"""The functions are replaced while tasks flow, and two interfaces stand side by side: old and new hosts work together."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from host_bench import Bench
from tests.engine.test_versions import text_of
from tests.fault.fault_bench import LIMIT_S, assert_each_ended_once, duties, echoes, ledger_lines
from tests.fault.test_host_faults import host_process

from amas.client import Fleet
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine

CELL = "upgrade"
STEADY = {"lease_s": 60.0}
"""For hosts that nobody kills: no slow moment does, either."""
TASKS = 3000


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A server whose functions a test may change."""
    server = EmbeddedEngine(tmp_path / "engine")
    await server.start()
    async with Engine(server.url, cell=CELL) as engine:
        await engine.check(load=True)
        yield Bench(engine, server.url, tmp_path)
    await server.stop()


async def test_functions_are_replaced_under_load_and_never_by_older_ones(bench: Bench) -> None:
    """Upgrades come while a host of this release works; a process of this release that starts meanwhile changes nothing."""
    loaded = 0
    async with duties(bench.url, CELL), host_process(bench, "old", "echo", pool={"replicas": 16}, settings=STEADY):
        async with Fleet.connect(bench.url, cell=CELL) as fleet:
            working = asyncio.create_task(echoes(fleet, TASKS))
            while not working.done():
                loaded += 1
                await bench.engine.client.function_load(text_of(f"99.{loaded}"), replace=True)
                async with Engine(bench.url, cell=CELL) as older:
                    await older.check(load=True)
                assert await bench.engine.call("more") == f"from 99.{loaded}".encode()
                await asyncio.sleep(0.05)
            ids = await working
            # One that starts on the newer functions.
            async with host_process(bench, "old-2", "echo", pool={"replicas": 16}, settings=STEADY):
                ids += await echoes(fleet, 100)
        await assert_each_ended_once(bench.engine, ids)
    assert loaded > 5, "upgrades came while tasks flowed"
    assert not bench.log_lines("old")[1:-1], "the host noticed nothing"


async def test_two_interfaces_work_on_one_cell(bench: Bench) -> None:
    """The next interface is loaded beside this one: hosts of both take tasks from the same queues."""
    await bench.engine.client.function_load(text_of("99.0", interface=2))
    ledger = bench.folder / "ledger"
    writes = {
        "pool": {"options": {"ledger": str(ledger), "steps": 1}, "replicas": 4},
        "settings": {"claim_batch": 8, **STEADY},
    }
    async with (
        duties(bench.url, CELL),
        host_process(bench, "old", "ledger", **writes) as old,
        host_process(bench, "new", "ledger", interface=2, **writes) as new,
        Fleet.connect(bench.url, cell=CELL) as fleet,
    ):
        handles = [await fleet.submit("test.ledger") for _ in range(10)]
        submitted = await asyncio.gather(*(fleet.submit("test.ledger") for _ in range(1000)))
        await fleet.results([*handles, *submitted], timeout_s=LIMIT_S)
        at_work = {int(line[3]) for line in ledger_lines(ledger)}
        assert at_work == {old.pid, new.pid}
        ids = [handle.id for handle in (*handles, *submitted)]
        assert sorted(line[0] for line in ledger_lines(ledger)) == sorted(ids)
    await assert_each_ended_once(bench.engine, ids)
