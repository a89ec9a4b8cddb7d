"""A whole local fleet whose engine is killed and its data deleted in the middle of work: the history brings the work back."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from host_bench import SAMPLES

from amas.client import Fleet, NewTask
from amas.engine.journal import Journal
from amas.model.states import TaskState
from amas.platforms.local.home import Home
from amas.records.store import Records
from amas.records.tables import entry_number

TASKS, STEPS = 60, 4
LIMIT_S = 60.0
AMAS = [sys.executable, "-m", "amas"]


class Commands:
    """The command line on one home."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")
        self._environment = {**os.environ, "AMAS_HOME": str(self.home.folder), "COLUMNS": "200"}

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*AMAS, *arguments], cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def up(self) -> str:
        return self("up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0")


@pytest.fixture
def amas(tmp_path: Path) -> Iterator[Commands]:
    """Commands on a fleet whose agents write a line for every step that they do."""
    declared = (SAMPLES / "ledger.yaml").read_text()
    (tmp_path / "fleet.yaml").write_text(f"{declared}    options: {{ledger: {tmp_path / 'ledger'}, steps: {STEPS}}}\n")
    (tmp_path / "sample_agents.py").write_text((SAMPLES / "sample_agents.py").read_text())
    commands = Commands(tmp_path)
    yield commands
    if commands.home.supervisor_pid() is not None:
        commands("down")


def _lines(ledger: Path) -> list[tuple[str, str]]:
    if not ledger.exists():
        return []
    return [(line.split()[0], line.split()[1]) for line in ledger.read_text().splitlines()]


def _ask(home: Home, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(home.folder / "records.sqlite3")) as records:
        return records.execute(query).fetchall()


async def _until(what: str, true: Any) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            while not true():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"it never came about that {what}")


async def _recorded(client: Fleet, home: Home) -> None:
    """Wait until the history has all that the engine said."""
    last = entry_number(await Journal(client.engine).last_id())
    await _until("the history caught up", lambda: _ask(home, "SELECT position FROM recorder")[0][0] >= last)


def _pids(home: Home, prefix: str) -> list[int]:
    return [part.pid for part in home.read_state().parts if part.name.startswith(prefix)]


def _dead(pid: int) -> bool:
    """Whether a process is gone, or a zombie that its stopped parent hasn't collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def _lose_engine(amas: Commands, *, whole_fleet: bool) -> str:
    """Kill the engine with -9, alone or with the whole fleet, delete its folder, and return what `amas up` says then."""
    home = amas.home
    (engine,), supervisor = _pids(home, "engine"), home.read_state().supervisor_pid
    os.kill(supervisor, signal.SIGKILL if whole_fleet else signal.SIGSTOP)
    with contextlib.suppress(ProcessLookupError):  # it dies with its supervisor
        os.kill(engine, signal.SIGKILL)
    await _until("the engine is dead", lambda: _dead(engine))
    shutil.rmtree(home.engine)
    if whole_fleet:
        await _until("the fleet is dead", lambda: home.supervisor_pid() is None)
        return await asyncio.to_thread(amas.up)
    os.kill(supervisor, signal.SIGCONT)
    await _until(
        "the engine is back", lambda: _pids(home, "engine") not in ([0], [engine]) and home.read_state().status == "running"
    )
    return ""


@pytest.mark.requirement("A4", "B8")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("whole_fleet", [True, False], ids=["fleet", "engine"])
async def test_the_work_of_an_engine_that_lost_everything_is_done_once(amas: Commands, tmp_path: Path, whole_fleet: bool) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    kill_at = random.Random(seed).randrange(10, TASKS * STEPS // 2)
    ledger, home = tmp_path / "ledger", amas.home
    await asyncio.to_thread(amas.up)
    async with Fleet.connect(home=home.folder) as client:
        await client.submit_batch(NewTask(capability="test.ledger") for _ in range(TASKS))
        await _until("enough steps are done", lambda: len(_lines(ledger)) >= kill_at)
        hosts = _pids(home, "host")
        for pid in hosts:
            os.kill(pid, signal.SIGSTOP)  # nothing goes on, so the history is whole
        await _recorded(client, home)
    done_before = {row[0] for row in _ask(home, "SELECT id FROM tasks WHERE state = 'succeeded'")}
    kept = set(_ask(home, "SELECT task_id, name FROM steps"))
    said = await _lose_engine(amas, whole_fleet=whole_fleet)
    for pid in [] if whole_fleet else hosts:
        os.kill(pid, signal.SIGCONT)
    recovered = json.loads(await asyncio.to_thread(amas, "recover", "--json"))
    assert recovered["tasks"] == TASKS - len(done_before)
    assert not whole_fleet or f"lost {recovered['tasks']} open tasks" in said
    await _until("all is done", lambda: _ask(home, "SELECT count(*) FROM tasks WHERE state = 'succeeded'") == [(TASKS,)])
    assert "nothing is to be recovered" in await asyncio.to_thread(amas, "recover")
    lines = Counter(_lines(ledger))
    assert len(lines) == TASKS * STEPS
    for (task_id, step), times in lines.items():
        if task_id in done_before or (task_id, f"s{step}") in kept:
            assert times == 1, "a journaled step ran again"
    await _assert_each_ended_once(home)


async def _assert_each_ended_once(home: Home) -> None:
    ends: Counter[str] = Counter()
    async with await Records.open(f"sqlite:///{home.folder / 'records.sqlite3'}") as records:
        after = "0-0"
        while page := await records.events(after=after, limit=1000):
            ends.update(change.id for event in page for change in event.tasks if change.state is TaskState.SUCCEEDED)
            after = page[-1].id
    assert sorted(ends.values()) == [1] * TASKS
