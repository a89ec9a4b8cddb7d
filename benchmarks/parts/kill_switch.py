"""The kill switch thrown for a whole fleet at work: until the API answered, and until every attempt had ended.

That an attempt has ended is seen by its place: the kill is lifted as soon as it is thrown, and a host takes a task up again only
where an attempt has made room. So the second figure holds the new claims besides.
"""

import asyncio
import time

from amas.cli.api import Api
from amas.client import Fleet
from amas.engine.hosts import HostRegistry
from benchmarks.fleet import NAPS, running
from benchmarks.progress import say
from benchmarks.results import Measured
from benchmarks.work import naps

PLACES = 400
"""Fewer than one call of the engine takes back: of more the rest would be let off when the kill is lifted at once."""
HOLD_S = 3600.0
LIMIT_S = 120.0


async def _attempts(client: Fleet) -> list[int]:
    """Return which attempt each task is at that runs on some host."""
    registry, engine = HostRegistry(client.engine), client.engine
    found = [task for host in await registry.all() for task in await registry.running(host.id)]
    claims = await engine.read([("HGET", engine.key("t", task), "c") for task in found])
    return [int((claim or b"0").partition(b"\n")[0]) for claim in claims]


async def _all_run(client: Fleet, count: int, attempt: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while (await _attempts(client)).count(attempt) < count:  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.02)


async def measure(*, quick: bool) -> Measured:
    """Return the seconds until a kill was answered, and until every attempt had ended; the worst of all kills."""
    count, kills = (32, 1) if quick else (PLACES, 3)
    found = []
    async with running(hosts=1, fleet_file=NAPS) as (fleet, client):
        api = Api.of(fleet.home)
        handles = await client.submit_batch(naps(count, HOLD_S))
        for number in range(kills):
            await _all_run(client, count, number + 1)
            say(f"kill {number + 1} of {kills}")
            began_s = time.monotonic()
            await asyncio.to_thread(api.post, "/api/kill", {"fleet": True, "why": "a benchmark"})
            answered_s = time.monotonic() - began_s
            await asyncio.to_thread(api.post, "/api/kill", {"lift": True})
            await _all_run(client, count, number + 2)
            found.append({"answered_s": round(answered_s, 3), "ended_s": round(time.monotonic() - began_s, 3)})
        await client.queue.cancel([handle.id for handle in handles])
    worst = {f"kill_switch_{name}": max(kill[name] for kill in found) for name in ("answered_s", "ended_s")}
    return Measured(worst, {"attempts": count, "kills": found})
