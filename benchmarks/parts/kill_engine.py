"""kill -9 of the engine under load, several times, and its supervisor: what was lost, what doubled, how long it took.

A task is lost when it was accepted and its submitter never hears its end, or the history doesn't have it. A result is doubled
when the journal records a success of one task twice.
"""

import asyncio
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from amas.engine.connection import Engine
from amas.errors import EngineError
from amas.platforms.local.control import RunningFleet
from benchmarks.feed import feeding
from benchmarks.fleet import pids, recorded, running
from benchmarks.progress import say
from benchmarks.results import Measured
from benchmarks.watch import Watch
from benchmarks.work import noops

LOAD_S = 2.0
"""Between two kills."""
LIMIT_S = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")


def _started_s(pid: int) -> float:
    """Return when a process started, on the clock that `time.clock_gettime(CLOCK_BOOTTIME)` reads."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / _TICKS


async def _answers(engine: Engine) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                await engine.call("digest")
            except EngineError:
                await asyncio.sleep(0.005)
            else:
                return


async def _kill(fleet: RunningFleet, engine: Engine) -> dict[str, float]:
    """Kill the engine and return how long it was away, and how much of that it took to start and load its file."""
    pid, log_bytes = pids(fleet)["engine"], sum(path.stat().st_size for path in fleet.home.engine.rglob("*.aof"))
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.01)  # until the kernel has closed its socket
    await _answers(engine)
    serving = time.clock_gettime(time.CLOCK_BOOTTIME)
    async with asyncio.timeout(30):
        while pids(fleet)["engine"] in (0, pid):  # noqa: ASYNC110  the supervisor writes it down a moment later
            await asyncio.sleep(0.01)
    started = _started_s(pids(fleet)["engine"])
    return {"away_s": round(serving - began, 3), "from_start_s": round(serving - started, 3), "log_mb": round(log_bytes / 1e6, 1)}


def _in_history(path: Path) -> tuple[set[str], int]:
    """Return which tasks succeeded by the history, and how many of them by more than one attempt."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as history:
        succeeded = {task_id for (task_id,) in history.execute("SELECT id FROM tasks WHERE state = 'succeeded'")}
        twice = "SELECT count(*) FROM (SELECT 1 FROM attempts WHERE state = 'succeeded' GROUP BY task_id HAVING count(*) > 1)"
        (doubled,) = history.execute(twice).fetchone()
    return succeeded, int(doubled)


async def measure(*, quick: bool) -> Measured:
    """Return how many tasks were lost and doubled, and the longest time from a start of the engine until it answered."""
    kills, load_s = (1, 0.3) if quick else (5, LOAD_S)
    found: list[dict[str, Any]] = []
    async with running(hosts=1) as (fleet, client), Watch.open(client.engine.url, fleet.state.cell) as watch:
        async with asyncio.timeout(LIMIT_S), feeding(client, lambda: noops(500), queued=2_000) as submitted:
            for number in range(kills):
                say(f"kill {number + 1} of {kills}")
                await asyncio.sleep(load_s)
                found.append(await _kill(fleet, client.engine))
            await asyncio.sleep(load_s)
        say("counting")
        accepted = {handle.id for handle in submitted}
        unheard = sum([(await handle.outcome(timeout_s=1)).state.value != "succeeded" for handle in submitted])
        await recorded(fleet)
        succeeded, doubled = _in_history(fleet.home.folder / "records.sqlite3")
        lost = max(unheard, len(accepted - succeeded))
        doubled = max(doubled, sum(times > 1 for times in watch.successes.values()))
    serving = max(kill["from_start_s"] for kill in found)
    return Measured(
        {"engine_kill_lost": lost, "engine_kill_doubled": doubled, "engine_kill_serving_s": serving},
        {"kills": found, "accepted": len(accepted)},
    )
