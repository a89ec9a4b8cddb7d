"""Wall clocks that jump by hours, on a host and on the control plane: leases, delays and deadlines count by the engine's."""

import asyncio
import time
from pathlib import Path

import pytest
from host_bench import Bench
from tests.engine.cell import task
from tests.fault.fault_bench import assert_each_ended_once, duties, ledger_lines
from tests.fault.test_host_faults import host_process

from amas.clock import new_id
from amas.controllers.deadlines import Deadlines
from amas.controllers.figures import Figures
from amas.controllers.timers import PAUSE_MAX_S, Timers
from amas.engine.limits import Limits
from amas.engine.queue import make_submission
from amas.engine.workflows import Workflows
from amas.model.blob import to_blob
from amas.model.journal import WorkflowOpening
from amas.model.states import TaskState
from amas.model.task import TaskSpec
from amas.observe import events

JUMPS_S = [5 * 3600, -5 * 3600]


@pytest.mark.parametrize("jump_s", JUMPS_S)
async def test_a_host_whose_clock_jumps_keeps_its_lease_and_its_tasks(bench: Bench, jump_s: int) -> None:
    ledger, clock_file = bench.folder / "ledger", bench.folder / "clock"
    clock_file.write_text("0")
    spec = {"options": {"ledger": str(ledger), "steps": 3}, "replicas": 2, "timeout_s": 30}
    more = {"pool": spec, "clock_file": str(clock_file), "settings": {"lease_s": 30.0}}  # no slow moment ends it, only hours do
    async with host_process(bench, "h1", "ledger", **more), duties(bench.url, bench.cell, lease_s=1.0) as figures:
        ids: list[str] = []
        for wrong_s in (0, jump_s, 0, jump_s):
            clock_file.write_text(str(wrong_s))
            deadline_ms = bench.engine.now_ms() + 60_000
            batch = [make_submission(new_id(), TaskSpec(capability="test.ledger", deadline_ms=deadline_ms)) for _ in range(20)]
            ids += [submission.id for submission in batch]
            await bench.queue.submit(batch)
            for submission in batch:
                view = await bench.ended(submission.id)
                assert (view.state, view.attempt) == (TaskState.SUCCEEDED, 1), view.failure
        assert figures.hosts_lost == 0
    assert not [line for line in bench.log_lines("h1") if line.get("event") == events.LEASE_LOST]
    await assert_each_ended_once(bench.engine, ids)
    assert len(ledger_lines(ledger)) == 3 * len(ids)


@pytest.mark.parametrize("jump_s", JUMPS_S)
async def test_the_timers_wait_by_the_engines_clock(bench: Bench, jump_s: int, monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(bench.queue, Workflows(bench.engine), Limits(bench.engine), Figures())
    await bench.queue.submit([task("later", delay_ms=60_000)])
    real_ns = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: real_ns() + jump_s * 1_000_000_000)
    assert await timers.run_once() == PAUSE_MAX_S, "it neither hurries nor sleeps longer"
    assert (await bench.queue.outcomes(["later"]))["later"].state is TaskState.DELAYED
    await bench.queue.submit([task("soon", delay_ms=20)])
    async with asyncio.timeout(60):
        while (await bench.queue.outcomes(["soon"]))["soon"].state is TaskState.DELAYED:
            pause_s = await timers.run_once()
            assert 0 < pause_s <= PAUSE_MAX_S, "never a busy loop"
            await asyncio.sleep(pause_s)


@pytest.mark.parametrize("jump_s", JUMPS_S)
async def test_a_workflow_is_overdue_by_the_engines_clock(bench: Bench, jump_s: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = WorkflowOpening("w", to_blob({"text": "a goal", "deadline_s": 3600}), "root")
    await bench.queue.submit([task("root", workflow_id="w")], workflow=opening)
    deadlines = Deadlines(bench.queue, Figures(), timeout_s=7200)
    real_ns = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: real_ns() + jump_s * 1_000_000_000)
    await deadlines.run_once()
    assert (await bench.queue.workflow("w") or {})["state"] == "running"
    monkeypatch.setattr(bench.engine, "_clock_ahead_ms", bench.engine._clock_ahead_ms + 3600_001)
    await deadlines.run_once()
    assert (await bench.queue.workflow("w") or {})["state"] == "failed"


async def test_another_servers_clock_is_taken_over_with_its_connection(bench: Bench) -> None:
    monotonic = bench.engine.now_ms()
    await bench.engine.read([("PING",)])
    bench.engine._clock_ahead_ms = 0
    await bench.engine.client.connection_pool.disconnect()
    await bench.engine.read([("PING",)])
    assert abs(bench.engine.now_ms() - monotonic) < 60_000


def test_before_any_connection_it_is_this_machines(tmp_path: Path) -> None:
    from amas.engine.connection import Engine

    assert abs(Engine(f"unix://{tmp_path}/nobody.sock").now_ms() - time.time() * 1000) < 60_000
