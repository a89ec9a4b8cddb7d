"""kill -9 of a host at full load, several times: how long until its last task runs again elsewhere.

The hosts that are killed stand beside the fleet, so nobody starts them again, as when a machine is gone: their tasks come back
when their lease has run out (6 s by default) and the reaper has seen it.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amas.client import Fleet
from amas.engine.hosts import HostRegistry
from amas.platforms.local.control import RunningFleet
from benchmarks.feed import feeding
from benchmarks.fleet import NAPS, running
from benchmarks.progress import say
from benchmarks.results import Measured
from benchmarks.watch import Watch
from benchmarks.work import naps

HOLD_S = 0.1
"""Each task holds its place that long, so that a host that is killed has its places full."""
BEAT_S = 2.0
"""Between two renewals of a lease; the kills are spread over it, for a host that just renewed is missed last."""
LIMIT_S = 120.0


@asynccontextmanager
async def host_beside(fleet: RunningFleet, client: Fleet, name: str) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """Run a host that no supervisor looks after."""
    command = [sys.executable, "-m", "amas", "host", "--home", str(fleet.home.folder), "--host-id", name]
    environ = os.environ | {"PYTHONPATH": str(NAPS.parent)}
    log = fleet.home.logs / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output, cwd=fleet.home.folder)  # noqa: ASYNC220
    try:
        async with asyncio.timeout(30):
            while name not in {view.id for view in await HostRegistry(client.engine).all()}:
                assert process.poll() is None, f"{name} ended: {log.read_text()[-500:]}"
                await asyncio.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


async def _kill(process: "subprocess.Popen[bytes]", name: str, client: Fleet, watch: Watch) -> dict[str, float]:
    """Kill a host and return how many tasks it had, and the seconds until each of them ran again."""
    registry = HostRegistry(client.engine)
    async with asyncio.timeout(30):
        while not await registry.running(name):  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.01)
    killed_ms = time.time() * 1000
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait)
    had = set(await registry.running(name))
    assert had, f"{name} had nothing to do when it was killed"
    async with asyncio.timeout(LIMIT_S):
        await watch.all_went_on(had)
    again = [(watch.again_ms[task] - killed_ms) / 1000 for task in had if task in watch.again_ms]
    return {"tasks": len(had), "first_s": round(min(again, default=0.0), 3), "last_s": round(max(again, default=0.0), 3)}


async def measure(*, quick: bool) -> Measured:
    """Return the seconds from a kill until the last of its tasks ran again; p99 of so few kills is the worst."""
    kills, name = 1 if quick else 6, "doomed-2"
    found = []
    async with (
        running(hosts=1, fleet_file=NAPS) as (fleet, client),
        Watch.open(client.engine.url, fleet.state.cell) as watch,
        feeding(client, lambda: naps(100 if quick else 500, HOLD_S), queued=300 if quick else 2_000),
    ):
        for number in range(kills):
            say(f"kill {number + 1} of {kills}")
            async with host_beside(fleet, client, name) as process:
                await asyncio.sleep(0.2 + BEAT_S * number / kills)
                found.append(await _kill(process, name, client, watch))
    return Measured({"host_kill_recovery_s_p99": max(kill["last_s"] for kill in found)}, {"kills": found})
