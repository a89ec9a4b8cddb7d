"""Tasks a second from end to end, through the Python client in batches, every acknowledgement on disk.

One run: 10,000 no-op tasks of 256 bytes, submitted in batches of 500 and awaited; it ends when the submitter holds every result.
Beside it: what the bare server does with the very same calls, sent as ready-made bytes over one socket (`ceiling`).
"""

import asyncio
import json
import os
import statistics
import time
import urllib.request
from typing import Any

from amas.client import Fleet, NewTask
from amas.clock import new_id
from amas.engine.hosts import HostAbout
from amas.engine.library import LIBRARY
from amas.engine.queue import Slots, encode, make_submission
from amas.model.blob import to_blob
from amas.model.task import Completion, TaskSpec
from amas.platforms.local.control import RunningFleet
from benchmarks import fleet as under_test
from benchmarks.machine import cpu_s

TASKS = 10_000
BATCH = 500
PAYLOAD = {"text": "x" * 246}
"""256 bytes of JSON."""
RUNS = 5


async def _one_run(client: Fleet) -> float:
    began = time.perf_counter()
    handles = []
    for _ in range(0, TASKS, BATCH):
        handles += await client.submit_batch(NewTask(capability="bench.noop", input=PAYLOAD) for _ in range(BATCH))
    results = await client.results(handles, timeout_s=120)
    assert all(result == {"ok": True} for result in results)
    return TASKS / (time.perf_counter() - began)


async def _recorded(fleet: RunningFleet) -> None:
    """Wait until the history holds the run, so that the recorder's work is counted with what caused it."""

    def lag_s() -> float:
        with urllib.request.urlopen(f"{fleet.state.api_url}/api/metrics", timeout=10) as answer:
            return float(json.load(answer)["recorder_lag_s"])

    async with asyncio.timeout(60):
        while await asyncio.to_thread(lag_s) > 0:  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.25)  # seldom, for each look costs the control plane something


async def _measure(hosts: int) -> dict[str, Any]:
    async with under_test.running(hosts=hosts) as (fleet, client):
        await _one_run(client)  # warm
        rates, per_task = [], []
        for _ in range(RUNS):
            pids = under_test.pids(fleet)
            before = {name: cpu_s([pid]) for name, pid in pids.items()} | {"client": cpu_s([os.getpid()])}
            rates.append(await _one_run(client))
            await _recorded(fleet)
            after = {name: cpu_s([pid]) for name, pid in pids.items()} | {"client": cpu_s([os.getpid()])}
            per_task.append({name: (after[name] - before[name]) / TASKS * 1e6 for name in before})
    medians = {name: round(statistics.median(run[name] for run in per_task), 1) for name in per_task[0]}
    return {
        "hosts": hosts,
        "tasks_per_s": round(statistics.median(rates)),
        "runs": [round(rate) for rate in rates],
        "cpu_us_per_task": round(sum(medians.values()), 1),
        "cpu_us_per_task_by_process": medians,
    }


def _resp(*arguments: str | bytes | int) -> bytes:
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        raw = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(parts)


async def _ceiling() -> float:
    """Return tasks a second of submit, claim and complete as ready-made bytes on one socket, one call after the other."""
    async with under_test.running(hosts=0) as (fleet, client):
        prefix = client.engine.prefix

        def call(function: str, *arguments: str | bytes | int) -> bytes:
            return _resp("FCALL", f"{LIBRARY}_{function}", 1, prefix, *arguments)

        result = to_blob({"ok": True})
        agents = ["noop-1"] * BATCH
        claim = call("claim", 0, "bench", encode([Slots(("bench.noop",), agents)]))
        calls = [call("register", 0, 3_600_000, "bench", 3_600_000, encode(HostAbout(0, "bench", "", ())))]
        for _ in range(0, TASKS, BATCH):
            ids = [new_id() for _ in range(BATCH)]
            batch = [make_submission(an_id, TaskSpec(capability="bench.noop", input=PAYLOAD)) for an_id in ids]
            done = [Completion(an_id, 1, result) for an_id in ids]
            calls.append(call("submit", 0, 3_600_000, "bench", "0", "", "", 0, b"", b"", encode(batch)))
            calls += [claim, call("complete", 0, 3_600_000, "bench", encode(done))]
        reader, writer = await asyncio.open_unix_connection(fleet.state.engine_url.removeprefix("unix://"), limit=1 << 24)
        began = time.perf_counter()
        for command in calls:
            writer.write(command)
            await writer.drain()
            await _answer(reader)
        seconds = time.perf_counter() - began
        writer.close()
        return TASKS / seconds


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readline()
    kind, size = head[:1], head[1:-2]
    if kind == b"-":
        raise RuntimeError(head.decode())
    if kind == b"$" and size != b"-1":
        await reader.readexactly(int(size) + 2)
    elif kind == b"*":
        for _ in range(int(size)):
            await _answer(reader)


async def measure() -> dict[str, Any]:
    """Return rates, CPU per task and the ratio to the bare server."""
    ceiling = statistics.median([await _ceiling() for _ in range(3)])
    by_hosts = [await _measure(hosts) for hosts in (1, 2)]
    best = max(by_hosts, key=lambda run: run["tasks_per_s"])
    return {
        "tasks_per_s_client_fsync": best["tasks_per_s"],
        "cpu_us_per_task": best["cpu_us_per_task"],
        "engine_cycle_ceiling_per_s": round(ceiling),
        "ratio_to_ceiling": round(best["tasks_per_s"] / ceiling, 3),
        "by_hosts": by_hosts,
    }
