"""A whole local fleet, one of whose processes is killed with -9 in the middle of work: it mends itself, the work is done once."""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from host_bench import SAMPLES

from amas.client import Fleet, NewTask
from amas.engine.journal import START, Journal
from amas.engine.recoveries import Recoveries
from amas.model.journal import EntryKind, task_changes
from amas.model.states import TaskState
from amas.model.task import JournaledStep
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.request import StartRequest

TASKS, STEPS = 60, 4
CAUSES = {"host-1": "host_lost", "control-plane": "leader_lost", "engine": "engine_away"}
LIMIT_S = 60.0


def _lines(ledger: Path) -> list[list[str]]:
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


async def _until_lines(ledger: Path, count: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while len(_lines(ledger)) < count:
            await asyncio.sleep(0.005)


def _pid(fleet: RunningFleet, part: str) -> int:
    return next(each.pid for each in fleet.state.parts if each.name == part)


async def _until_mended(fleet: RunningFleet, part: str, killed: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while fleet.state.status != "running" or _pid(fleet, part) in {0, killed}:
            await asyncio.sleep(0.02)


@pytest.mark.requirement("A4", "A5", "B8", "T6")
@pytest.mark.parametrize("part", ["host-1", "control-plane", "engine"])
async def test_a_killed_part_comes_back_and_the_work_is_done_once(part: str, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    kill_at = random.Random(seed).randrange(10, TASKS * STEPS // 2)
    ledger = tmp_path / "ledger"
    fleet_file = tmp_path / "fleet.yaml"
    declared = (SAMPLES / "ledger.yaml").read_text()
    fleet_file.write_text(f"{declared}    options: {{ledger: {ledger}, steps: {STEPS}}}\n")
    (tmp_path / "sample_agents.py").write_text((SAMPLES / "sample_agents.py").read_text())
    request = StartRequest(home=str(tmp_path / "home"), fleet_file=str(fleet_file), hosts=2, port=0, metrics_port=0, bound=True)
    fleet = await start_fleet(request)
    try:
        async with Fleet.connect(home=tmp_path / "home") as client:
            handles = await client.submit_batch(NewTask(capability="test.ledger") for _ in range(TASKS))
            await _until_lines(ledger, kill_at)
            killed = _pid(fleet, part)
            os.kill(killed, signal.SIGKILL)
            await client.results(handles, timeout_s=LIMIT_S)
            await _until_mended(fleet, part, killed)
            await _assert_done_once(client, ledger, [handle.id for handle in handles])
            assert await _recovery_of(client, CAUSES[part]) >= 0
    finally:
        await fleet.stop()


async def _recovery_of(client: Fleet, cause: str) -> int:
    """Wait until a recovery from this cause is on the list; return its milliseconds."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            for each in await Recoveries(client.engine).newest():
                if each.cause == cause:
                    return each.duration_ms
            await asyncio.sleep(0.02)


async def _assert_done_once(client: Fleet, ledger: Path, ids: list[str]) -> None:
    entries = await Journal(client.engine).read(START, limit=100_000)
    ends = Counter(change.task_id for entry in entries for change in task_changes(entry) if change.state is TaskState.SUCCEEDED)
    assert ends == dict.fromkeys(ids, 1)
    journaled: dict[tuple[str, str], int] = {}
    for entry in entries:
        if entry.kind is EntryKind.STEP:
            for index, step in enumerate(msgspec.msgpack.decode(entry.batch, type=list[JournaledStep])):
                if index not in entry.refused:
                    journaled.setdefault((step.id, step.name), step.attempt)
    assert {(task_id, f"s{step}") for task_id, step, *_ in _lines(ledger)} == {(i, f"s{s}") for i in ids for s in range(STEPS)}
    for task_id, step, attempt, _pid in _lines(ledger):
        assert int(attempt) <= journaled[task_id, f"s{step}"], "a journaled step ran again"
