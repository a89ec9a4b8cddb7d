"""Tasks a second from end to end through the Python client, against the size of batches and the number of hosts.

A run submits no-op tasks of 256 bytes and awaits them; it ends when the submitter holds every result. Every acknowledgement is on
disk and everything is switched on: history, leases, API, metrics. A batch of 1 is single calls from 100 coroutines.
"""

import statistics
from typing import Any

from benchmarks.fleet import recorded, running
from benchmarks.progress import say
from benchmarks.results import Measured
from benchmarks.work import one_run

BATCHES = (1, 10, 100, 500, 1000)


async def _with_hosts(hosts: int, *, quick: bool) -> list[dict[str, Any]]:
    tasks, runs = (1_000, 1) if quick else (10_000, 5)
    rows = []
    async with running(hosts=hosts) as (fleet, client):
        await one_run(client, tasks, 500)  # warm
        for batch in BATCHES:
            say(f"{hosts} hosts, batches of {batch}")
            rates = []
            for _ in range(runs):
                await recorded(fleet)  # a run must not pay for the history of the one before
                rates.append(round(await one_run(client, tasks, batch)))
            rows.append({"hosts": hosts, "batch": batch, "tasks_per_s": round(statistics.median(rates)), "runs": rates})
    return rows


async def measure(*, quick: bool) -> Measured:
    """Return rates by batch and hosts; the flat key is the best median."""
    rows = [row for hosts in ((1,) if quick else (1, 2)) for row in await _with_hosts(hosts, quick=quick)]
    return Measured(
        {
            "tasks_per_s_client_fsync": max(row["tasks_per_s"] for row in rows),
            "tasks_per_s_client_single_calls_fsync": max(row["tasks_per_s"] for row in rows if row["batch"] == 1),
        },
        {"rates": rows},
    )
