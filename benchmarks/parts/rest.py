"""Tasks a second through `POST /api/tasks/batch`: real HTTP from another process, results awaited on `POST /api/tasks/outcomes`.

The driver (`benchmarks/rest_load.py`) shares the two cores with the fleet. A batch of 1 goes over 100 connections.
"""

import asyncio
import statistics
import subprocess
import sys
from typing import Any

import msgspec

from benchmarks.fleet import recorded, running
from benchmarks.progress import say
from benchmarks.rest_load import Request
from benchmarks.results import Measured

BATCHES = (1, 10, 100, 500, 1000)
CONNECTIONS = 4
"""Enough that the next batch is read while the last one is stored."""


def driven(wanted: Request) -> dict[str, Any]:
    """Return what the driver found out."""
    command = [sys.executable, "-m", "benchmarks.rest_load"]
    done = subprocess.run(command, input=msgspec.json.encode(wanted), stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = msgspec.json.decode(done.stdout)
    return answer


async def _with_hosts(hosts: int, *, quick: bool) -> list[dict[str, Any]]:
    tasks, runs = (1_000, 1) if quick else (10_000, 3)
    rows = []
    async with running(hosts=hosts) as (fleet, _):
        for batch in (100, 500) if quick else BATCHES:
            say(f"{hosts} hosts, batches of {batch}")
            connections = 100 if batch == 1 else CONNECTIONS
            url = fleet.state.api_url
            found = await asyncio.to_thread(driven, Request(url, tasks, batch, connections, runs))
            await recorded(fleet)
            rates = found["tasks_per_s"]
            rows.append({"hosts": hosts, "batch": batch, "tasks_per_s": round(statistics.median(rates)), "runs": rates}
                        | {"driver_cpu_us_per_task": found["cpu_us_per_task"]})  # fmt: skip
    return rows


async def measure(*, quick: bool) -> Measured:
    """Return rates by batch and hosts; the flat key is the best median."""
    rows = [row for hosts in ((1,) if quick else (1, 2)) for row in await _with_hosts(hosts, quick=quick)]
    return Measured({"tasks_per_s_rest_fsync": max(row["tasks_per_s"] for row in rows)}, {"rates": rows})
