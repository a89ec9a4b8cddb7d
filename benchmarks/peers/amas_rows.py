"""amas on the peers' work: a whole fleet, history included, on a Valkey with the peers' settings, over TCP as they have it."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from amas.client import Fleet, NewTask
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.request import StartRequest
from benchmarks import rest_load
from benchmarks.fleet import NOOP, recorded
from benchmarks.parts.rest import CONNECTIONS, driven
from benchmarks.peers.apps.harness import WARM, payload, quantiles_ms, tree_cpu_s
from benchmarks.peers.servers import Server, valkey

WAYS = {500: "batches of 500", 1: "single calls, 100 at a time"}
REST_BATCH = 500
HOSTS = 1
"""The host isn't what holds it back, and a second one takes CPU from the rest."""
AT_ONCE = 100
LIMIT_S = 120.0


class Amounts(NamedTuple):
    """How much is done."""

    tasks: int
    runs: int
    round_trips: int


class Place(NamedTuple):
    """What is measured."""

    fleet: RunningFleet
    client: Fleet
    server: Server

    def cpu_s(self) -> float:
        """Return the CPU seconds so far of all processes, this one and the engine included."""
        return tree_cpu_s([os.getpid(), self.server.pid])


@asynccontextmanager
async def _running() -> AsyncIterator[Place]:
    with valkey() as server, tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        fleet = await start_fleet(
            StartRequest(
                home=folder, fleet_file=str(NOOP), hosts=HOSTS, engine_url=f"{server.url}/0", port=0, metrics_port=0, bound=True
            )
        )
        try:
            async with Fleet.connect(home=Path(folder)) as client:
                yield Place(fleet, client, server)
        finally:
            await fleet.stop()


async def _run(client: Fleet, tasks: int, batch: int) -> None:
    handles = []
    for start in range(0, tasks, max(batch, AT_ONCE)):
        inputs = [payload(number) for number in range(start, min(tasks, start + max(batch, AT_ONCE)))]
        if batch > 1:
            handles += await client.submit_batch(NewTask(capability="bench.noop", input=one) for one in inputs)
        else:
            handles += await asyncio.gather(*(client.submit("bench.noop", one) for one in inputs))
    await client.results(handles, timeout_s=LIMIT_S)


async def _round_trips(client: Fleet, count: int) -> dict[str, float]:
    warm, taken = count // 10, []
    for number in range(warm + count):
        began = time.perf_counter()
        await (await client.submit("bench.noop", payload(number))).result(timeout_s=LIMIT_S)
        taken.append(time.perf_counter() - began)
    return quantiles_ms(taken[warm:])


async def by_client(batch: int, wanted: Amounts) -> dict[str, Any]:
    """Return rates and CPU per task of all processes; by single calls the times of tasks that come alone, too."""
    rates, costs = [], []
    async with _running() as place:
        await _run(place.client, WARM, batch)
        for _ in range(wanted.runs):
            await recorded(place.fleet)
            cpu, began = place.cpu_s(), time.perf_counter()
            await _run(place.client, wanted.tasks, batch)
            rates.append(round(wanted.tasks / (time.perf_counter() - began)))
            await recorded(place.fleet)
            costs.append((place.cpu_s() - cpu) / wanted.tasks * 1e6)
        row = _row(f"amas, {WAYS[batch]}", batch, rates, round(sorted(costs)[wanted.runs // 2]))
        if batch == 1:
            row["round_trip_ms"] = await _round_trips(place.client, wanted.round_trips)
            await place.client.engine.client.config_set("appendfsync", "no")
            row["round_trip_nofsync_ms"] = await _round_trips(place.client, wanted.round_trips)
    return row


async def by_rest(wanted: Amounts) -> dict[str, Any]:
    """Return the same through `POST /api/tasks/batch`; the CPU is that of all runs, the driver's start and warm-up included."""
    async with _running() as place:
        asked = rest_load.Request(
            place.fleet.state.api_url,
            wanted.tasks,
            REST_BATCH,
            CONNECTIONS,
            wanted.runs,
            input=payload(0),
            round_trips=wanted.round_trips,
        )
        cpu = place.cpu_s()
        found = await asyncio.to_thread(driven, asked)
        await recorded(place.fleet)
        done = wanted.tasks * (wanted.runs + 1) + wanted.round_trips
        cpu_us = round((place.cpu_s() - cpu) / done * 1e6)
    row = _row(f"amas, HTTP, batches of {REST_BATCH}", REST_BATCH, found["tasks_per_s"], cpu_us)
    return row | {"round_trip_ms": quantiles_ms(found["round_trips_s"])}


def _row(name: str, batch: int, rates: list[int], cpu_us: int) -> dict[str, Any]:
    setup = f"everything switched on, {HOSTS} host"
    return {"peer": name, "kind": "amas", "batch": batch, "setup": setup, "runs": rates, "cpu_us_per_task": cpu_us}
