"""kill -9 of one of three hosts with 30,000 agents at work, again and again: until all its agents live and its tasks are done.

The host that is killed stands beside the fleet, so nobody starts it again, as when a machine is gone: its lease has to run out
(6 s by default), then its tasks are given back and its agents dealt out to the others. A host of the fleet's own is started
again by the supervisor under its name, and what it ran is given back when it registers; a few of these are killed, too. Meanwhile
all families work, and some agents hold each task for a while, so that whoever is killed has its hands full. What became of
each task, and how many successes the engine counted, tell whether anything was lost or done twice.
"""

import asyncio
import os
import signal
import statistics
import time
from typing import Any

from amas.client import NewTask
from amas.engine.hosts import HostRegistry
from amas.model.states import TaskState
from benchmarks.feed import feeding
from benchmarks.fleet30k.place import LOOK_EVERY_S, Found, Place, Row
from benchmarks.fleet30k.rate import capabilities, tasks_over
from benchmarks.parts.kill_host import BEAT_S, LIMIT_S, host_beside
from benchmarks.work import naps

HOLD_S = 0.25
HELD = 300
"""Agents that hold each of their tasks for `HOLD_S`."""
POOLS = f"""
  - name: nap
    agent: agents:nap
    capabilities: [bench.nap]
    replicas: {HELD}
"""
DOOMED = "doomed"
"""The host that nobody starts again."""
STEADY_S = 2.0
"""Between two kills of the same host, so that a supervisor's pauses don't add up."""


def _work(place: Place) -> list[NewTask]:
    return [*naps(200, HOLD_S), *tasks_over(capabilities(place.spec), 54)]


async def _until_dealt(place: Place, dead_pid: int = 0) -> None:
    """Return when all agents live, on as many hosts as there are, none of which is the one that was killed."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            hosts = [host.about for host in await place.hosts()]
            if sum(host.agents for host in hosts) == place.agents and all(host.agents and host.pid != dead_pid for host in hosts):
                return
            await asyncio.sleep(LOOK_EVERY_S)


async def _kill(place: Place, name: str) -> dict[str, Any]:
    """Kill a host that has its hands full, and return what it had and the seconds until all of that was well again."""
    registry = HostRegistry(place.client.engine)
    async with asyncio.timeout(LIMIT_S):
        while len(await registry.running(name)) < HELD // 6:  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.01)
    about = next(host.about for host in await place.hosts() if host.id == name)
    killed_s = time.perf_counter()
    os.kill(about.pid, signal.SIGKILL)
    had = await registry.running(name)

    async def agents_live() -> float:
        await _until_dealt(place, about.pid)
        return time.perf_counter() - killed_s

    async def tasks_done() -> float:
        async with asyncio.timeout(LIMIT_S):
            while len(await place.client.queue.ended(had)) < len(had):  # noqa: ASYNC110  other processes' doing
                await asyncio.sleep(LOOK_EVERY_S)
        return time.perf_counter() - killed_s

    agents_s, tasks_s = await asyncio.gather(agents_live(), tasks_done())
    return {"agents": about.agents, "tasks": len(had), "agents_live_s": round(agents_s, 3), "tasks_done_s": round(tasks_s, 3)}


async def _totals(place: Place) -> int:
    """Return how often the engine has let a task succeed."""
    (found,) = await place.client.engine.read([("HGET", place.client.engine.key("totals"), "succeeded")])
    return int(found or 0)


async def measure(place: Place, *, kills: int, restarts: int) -> Found:
    """Kill so many hosts that nobody starts again, and then `restarts` that the supervisor does."""
    gone, again = [], []
    before = await _totals(place)
    async with feeding(place.client, lambda: _work(place), queued=500) as accepted:
        for number in range(kills):
            async with host_beside(place.fleet, place.client, DOOMED):
                await _until_dealt(place)
                await asyncio.sleep(BEAT_S * number / kills)  # spread over the beat: one that just renewed is missed last
                gone.append(await _kill(place, DOOMED))
        for _ in range(restarts):
            again.append(await _kill(place, "host-1"))
            await asyncio.sleep(STEADY_S)
    succeeded = await _totals(place) - before
    well = [(await handle.outcome()).state is TaskState.SUCCEEDED for handle in accepted]
    return {
        "kills": kills,
        "tasks": len(accepted),
        "lost": well.count(False),
        "doubled": succeeded - well.count(True),
        "worst_s": max(_all_well_s(kill) for kill in gone),
        "median_s": statistics.median(_all_well_s(kill) for kill in gone),
        "restarted_worst_s": max((_all_well_s(kill) for kill in again), default=0.0),
        "details": {"gone": gone, "restarted": again},
    }


def _all_well_s(kill: dict[str, Any]) -> float:
    return float(max(kill["agents_live_s"], kill["tasks_done_s"]))


def rows(found: Found) -> list[Row]:
    """Return the lines of the table; p99 of so few kills is the worst."""
    return [
        (
            f"{found['worst_s']:g}",
            "under 8",
            f"seconds until its agents live and its tasks are done, p99 of {found['kills']} kills",
        ),
        (f"{found['median_s']:g}", "", "the median"),
        (f"{found['restarted_worst_s']:g}", "", "the slowest where the supervisor starts the host again"),
        (f"{found['lost']}, {found['doubled']}", "0, 0", f"lost, and done twice, of {found['tasks']:,} tasks"),
    ]
