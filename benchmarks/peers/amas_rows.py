"""amas on the peers' work: a whole fleet, history included, on a Valkey with the peers' settings, over TCP as they have it."""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from amas.client import Fleet, NewTask
from amas.platforms.local.control import start_fleet
from amas.platforms.local.request import StartRequest
from benchmarks.fleet import NOOP, recorded
from benchmarks.peers.apps.harness import WARM, payload, tree_cpu_s
from benchmarks.peers.servers import valkey

WAYS = {500: "batches of 500", 1: "single calls, 100 at a time"}
HOSTS = 1
"""The host isn't what holds it back, and a second one takes CPU from the rest."""
AT_ONCE = 100


async def _run(client: Fleet, tasks: int, batch: int) -> None:
    handles = []
    for start in range(0, tasks, max(batch, AT_ONCE)):
        inputs = [payload(number) for number in range(start, min(tasks, start + max(batch, AT_ONCE)))]
        if batch > 1:
            handles += await client.submit_batch(NewTask(capability="bench.noop", input=one) for one in inputs)
        else:
            handles += await asyncio.gather(*(client.submit("bench.noop", one) for one in inputs))
    await client.results(handles, timeout_s=120)


async def measured(batch: int, tasks: int, runs: int) -> dict[str, Any]:
    """Return rates and CPU per task of all processes, the client's and the engine's included."""
    rates, costs = [], []
    with valkey() as server, tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        fleet = await start_fleet(
            StartRequest(
                home=folder, fleet_file=str(NOOP), hosts=HOSTS, engine_url=f"{server.url}/0", port=0, metrics_port=0, bound=True
            )
        )
        try:
            async with Fleet.connect(home=Path(folder)) as client:
                await _run(client, WARM, batch)
                for _ in range(runs):
                    await recorded(fleet)
                    roots = [os.getpid(), server.pid]
                    cpu, began = tree_cpu_s(roots), time.perf_counter()
                    await _run(client, tasks, batch)
                    rates.append(round(tasks / (time.perf_counter() - began)))
                    await recorded(fleet)
                    costs.append((tree_cpu_s(roots) - cpu) / tasks * 1e6)
        finally:
            await fleet.stop()
    return {
        "peer": f"amas, {WAYS[batch]}",
        "batch": batch,
        "setup": f"everything switched on, {HOSTS} host",
        "runs": rates,
        "cpu_us_per_task": round(sorted(costs)[runs // 2]),
    }
