"""Hosts and engines that die, stop or stall in the middle of work: nothing is lost and nothing is done twice."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sample_agents
from a2a_served import Remote, remote_agent
from host_bench import LIMIT_S, SAMPLES, Bench, pool

from amas.agents.lease import EXIT_STALLED
from amas.clock import new_id
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.engine.hosts import HostRegistry
from amas.engine.journal import START, Journal
from amas.engine.queue import Slots, make_submission
from amas.model.journal import EntryKind, task_changes
from amas.model.states import TaskState
from amas.model.task import JournaledStep, TaskSpec

STEPS = 5


@asynccontextmanager
async def host_process(bench: Bench, host_id: str, function: str, **more: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a host as a process of its own, at work when the body begins, and end it hard after."""
    arguments = {
        "host_id": host_id,
        "url": bench.url,
        "cell": bench.cell,
        "folder": str(bench.folder),
        "function": function,
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SAMPLES / "host_process.py"), msgspec.json.encode(arguments).decode(), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            assert await process.stdout.readline() == b"working\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def ledger_lines(ledger: Path) -> list[list[str]]:
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


async def ends(bench: Bench, ids: list[str]) -> dict[str, int]:
    """Wait until all have succeeded, with the reaper at work; return how many results were recorded for each."""
    registry = HostRegistry(bench.engine)

    async def all_ended() -> bool:
        await registry.reap()
        outcomes = await bench.queue.outcomes(ids)
        return all(outcome.state is TaskState.SUCCEEDED for outcome in outcomes.values())

    await bench.until(all_ended)
    changes = [change for entry in await Journal(bench.engine).read(START, limit=100_000) for change in task_changes(entry)]
    return Counter(change.task_id for change in changes if change.state is TaskState.SUCCEEDED)


async def assert_no_journaled_step_ran_again(bench: Bench, ledger: Path) -> None:
    journaled: dict[tuple[str, str], int] = {}
    for entry in await Journal(bench.engine).read(START, limit=100_000):
        if entry.kind is EntryKind.STEP:
            for index, step in enumerate(msgspec.msgpack.decode(entry.batch, type=list[JournaledStep])):
                if index in entry.refused:
                    continue
                journaled.setdefault((step.id, step.name), step.attempt)
    for task_id, step, attempt, _pid in ledger_lines(ledger):
        assert int(attempt) <= journaled[task_id, f"s{step}"]


@pytest.mark.requirement("A5")
async def test_a_host_killed_in_the_middle_loses_nothing_and_repeats_no_journaled_step(bench: Bench) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    ledger = bench.folder / "ledger"
    spec = {"pool": {"options": {"ledger": str(ledger), "steps": STEPS}, "replicas": 4}}
    batch = [make_submission(new_id(), TaskSpec(capability="test.ledger")) for _ in range(40)]
    ids = [task.id for task in batch]
    # What the first host held when it died waits for the reaper: four tasks, whose lines the second can't write.
    kill_at = sorted(rng.sample(range(10, (40 - 4) * STEPS - 10), 2))
    async with host_process(bench, "h1", "ledger", **spec) as h1, host_process(bench, "h2", "ledger", **spec) as h2:
        await bench.queue.submit(batch)
        for process, lines in zip((h1, h2), kill_at, strict=True):
            await bench.until(lambda lines=lines: _at_least(ledger, lines))
            process.kill()
        async with host_process(bench, "h3", "ledger", **spec) as h3:
            results = await ends(bench, ids)
            h3.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(h3.wait(), LIMIT_S) == 0
    assert results == dict.fromkeys(ids, 1)
    assert {(task_id, step) for task_id, step, *_ in ledger_lines(ledger)} == {(i, str(s)) for i in ids for s in range(STEPS)}
    await assert_no_journaled_step_ran_again(bench, ledger)


async def _at_least(ledger: Path, lines: int) -> bool:
    return len(ledger_lines(ledger)) >= lines


async def test_a_host_that_was_frozen_finds_its_tasks_gone_and_works_on(bench: Bench) -> None:
    ledger = bench.folder / "ledger"
    spec = {"pool": {"options": {"ledger": str(ledger), "steps": 20}, "replicas": 1}}
    batch = [make_submission(new_id(), TaskSpec(capability="test.ledger")) for _ in range(4)]
    ids = [task.id for task in batch]
    registry = HostRegistry(bench.engine)
    async with host_process(bench, "h1", "ledger", **spec) as h1:
        await bench.queue.submit(batch)
        await bench.until(lambda: _at_least(ledger, 5))
        h1.send_signal(signal.SIGSTOP)
        lost = await bench.until(registry.reap)
        assert lost.id == "h1"
        h1.send_signal(signal.SIGCONT)  # alone: it registers anew and takes its own task up again
        results = await ends(bench, ids)
        assert h1.returncode is None
    assert results == dict.fromkeys(ids, 1)
    await assert_no_journaled_step_ran_again(bench, ledger)


async def test_a_host_that_stands_still_ends_and_names_the_agent(bench: Bench) -> None:
    async with host_process(bench, "h1", "block", settings={"stall_max_s": 1.0}) as h1:
        task_id = await bench.submit("test.block", 100.0)
        assert await asyncio.wait_for(h1.wait(), LIMIT_S) == EXIT_STALLED
    (line,) = [line for line in bench.log_lines("h1") if line.get("event") == "host_stalled"]
    assert line["agent_id"] == "block-1" and line["task_id"] == task_id and "time.sleep" in line["stack"]


async def test_a_claim_whose_answer_was_lost_is_given_back_when_the_connection_is_back(bench: Bench) -> None:
    async with bench.host([pool("hold")]):
        await bench.submit("test.hold", "busy")
        await sample_agents.begun.setdefault("busy", asyncio.Event()).wait()
        lost = await bench.submit("test.hold", "lost")
        claimed = await bench.queue.claim("h1", [Slots(("test.hold",), ["hold-1"])])  # and nobody hears the answer
        assert claimed is not None and [task.id for task in claimed] == [lost]
        await bench.engine.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        view = await bench.state(lost, TaskState.QUEUED)
        assert view.failures == 0
        sample_agents.release.set()
        assert (await bench.ended(lost)).attempt == 2


async def test_an_outcome_outlives_the_engines_death(tmp_path: Path) -> None:
    server = EmbeddedEngine(tmp_path / "engine")
    await server.start()
    sample_agents.forget()
    try:
        async with Engine(server.url, cell="outage") as engine:
            await engine.wait_until_ready(timeout_s=60, load=True)
            bench = Bench(engine, server.url, tmp_path)
            async with bench.host([pool("hold")]) as host:
                task_id = await bench.submit("test.hold", "outage")
                await sample_agents.begun.setdefault("outage", asyncio.Event()).wait()
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await server.stop()
                sample_agents.release.set()
                async with asyncio.timeout(LIMIT_S):
                    while not host._pump.outbox and host._pump.running:
                        await asyncio.sleep(0.005)
                await server.start()
                await engine.wait_until_ready(timeout_s=60)
                view = await bench.ended(task_id)
                assert view.state is TaskState.SUCCEEDED and view.result == "held" and view.attempt == 1
                after = await bench.submit("test.hold", "after")
                assert (await bench.ended(after)).result == "held"
    finally:
        await server.stop()


async def test_a_killed_host_s_task_at_a_remote_agent_is_gone_on_with(bench: Bench) -> None:
    with remote_agent() as remote:
        await _killed_while_another_works(bench, remote)


async def _killed_while_another_works(bench: Bench, remote: Remote) -> None:
    said = {"card": remote.url, "private": True, "poll_s": 0.2, "result": "text"}
    spec = {"pool": {"agent": "amas.agents.a2a_agent:A2aAgent", "capabilities": ["text.reverse"], "options": {"a2a": said}}}

    async def begun() -> bool:
        return remote.begun.is_set()

    async with host_process(bench, "h1", "reverser", **spec) as h1:
        task_id = await bench.submit("text.reverse", "wait")
        await bench.until(begun)
        h1.kill()
        await h1.wait()
    async with host_process(bench, "h2", "reverser", **spec):
        remote.go_on.set()
        assert await ends(bench, [task_id]) == {task_id: 1}
    view = await bench.queue.task(task_id)
    assert view is not None and (view.result, view.attempt) == ("waited", 2)
    assert remote.executed == ["wait"] and not remote.cancelled.is_set()
