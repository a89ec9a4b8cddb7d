"""Reads a second of the API, in the mix of scripts/load-test-orchestration.js, over a fleet with a history.

The mix: a seventh each of metrics, tasks, agents, workflows, pools, health, and of single tasks, one of 5,000 by chance, which
nobody else asks for at the time. 1,000 a second arrive by chance from another process (`benchmarks/read_load.py`), first all
paths together, then each alone, whose CPU is what one such read costs the control plane; what it takes while nobody asks is taken
off. Then the same mix with 30,000 agents. On both fleets the last mix is asked for with a tenant's API keys: lists, health, and
single tasks of the tenant's own.
"""

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from typing import Any

import msgspec

from amas.client import Fleet, NewTask
from amas.platforms.local.control import RunningFleet
from benchmarks.fleet import cpu_by_process, recorded, running
from benchmarks.fleet30k.place import up
from benchmarks.progress import say
from benchmarks.read_load import Request
from benchmarks.results import Measured
from benchmarks.work import LIMIT_S, PAYLOAD, submit

PATHS = ("/api/metrics", "/api/tasks?limit=20", "/api/agents?limit=50", "/api/workflows?limit=20", "/api/pools", "/api/health")
TASK = "/api/tasks/{id}"
TENANT = "acme"
TENANTS_PATHS = ("/api/tasks?limit=20", "/api/workflows?limit=20", "/api/costs", "/api/health")
"""What a tenant's caller may read of the paths that are shared."""
KEYS = 5
PER_S = 1000
ALONE_PER_S = 143
"""What the mix has of each path: what is shared is shared among as many."""
CONNECTIONS = 20
BATCH = 100
SETTLE_S = 2.0
TASKS = 5_000
"""Done before anybody reads, so many that the same one is rarely asked for twice in a moment."""
HANDS = 8
NOOPS = f"""
  - name: noop
    agent: agents:noop
    capabilities: [bench.noop]
    replicas: {HANDS}
"""
"""Beside the 30,000, so that there are tasks to read."""
Row = dict[str, Any]


def _driven(wanted: Request) -> dict[str, Row]:
    command = [sys.executable, "-m", "benchmarks.read_load"]
    done = subprocess.run(command, input=msgspec.json.encode(wanted), stdout=subprocess.PIPE, check=True)
    found: dict[str, Row] = msgspec.json.decode(done.stdout)
    return found


async def _cpu_s(fleet: RunningFleet) -> float:
    return cpu_by_process(fleet)["control-plane"]


async def _asked(
    fleet: RunningFleet, paths: dict[str, list[str]], *, seconds: float, per_s: float, idle: float, keys: list[str] | None = None
) -> dict[str, Row]:
    """Return what was seen by path, and in `all` the control plane's CPU for each read, in us; `idle`: what it takes a second."""
    before, began = await _cpu_s(fleet), time.perf_counter()
    found = await asyncio.to_thread(_driven, Request(fleet.state.api_url, paths, per_s, seconds, CONNECTIONS, keys or []))
    spent = await _cpu_s(fleet) - before - idle * (time.perf_counter() - began)
    found["all"]["cpu_us"] = round(max(0.0, spent) / found["all"]["reads"] * 1e6)
    return found


async def _idle(fleet: RunningFleet, seconds: float) -> float:
    """Return the CPU seconds a second of a control plane that nobody asks."""
    await asyncio.sleep(SETTLE_S)
    before = await _cpu_s(fleet)
    await asyncio.sleep(seconds)
    return (await _cpu_s(fleet) - before) / seconds


async def _done(client: Fleet, tasks: int, tenant: str = "") -> list[str]:
    """Have so many tasks done; return their ids."""
    if tenant:
        made = [NewTask(capability="bench.noop", input=PAYLOAD, tenant=tenant) for _ in range(BATCH)]
        handles = [handle for _ in range(0, tasks, BATCH) for handle in await client.submit_batch(made)]
    else:
        handles = await submit(client, tasks, BATCH)
    await client.results(handles, timeout_s=LIMIT_S)
    return [handle.id for handle in handles]


def _keys(url: str) -> list[str]:
    """Make API keys of the tenant; from the first one on nobody gets in without one."""
    made: list[str] = []
    for number in range(KEYS + 1):  # the first is nobody's, and makes the others
        wanted = {"name": f"k{number}", "role": "operator", "tenant": TENANT} if made else {"name": "k0", "role": "system-admin"}
        shown = {"authorization": f"Bearer {made[0]}"} if made else {}
        request = urllib.request.Request(
            f"{url}/api/keys", json.dumps(wanted).encode(), {"content-type": "application/json", **shown}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            made.append(json.load(answer)["key"])
    return made[1:]


async def _of_tenants(fleet: RunningFleet, client: Fleet) -> list[Row]:
    """Return what a tenant's callers see; the fleet's door is closed to all others from then on."""
    seconds = 20.0
    ids = await _done(client, TASKS, TENANT)
    await recorded(fleet)
    keys = await asyncio.to_thread(_keys, fleet.state.api_url)
    mix = {path: [path] for path in TENANTS_PATHS} | {TASK: [f"/api/tasks/{id_}" for id_ in ids]}
    idle = await _idle(fleet, seconds / 2)
    say(f"{PER_S} reads a second with {KEYS} keys of a tenant, by chance of {', '.join(mix)}")
    rows = await _asked(fleet, mix, seconds=seconds, per_s=PER_S, idle=idle, keys=keys)
    return [{"path": path, **row} for path, row in rows.items()]


async def _measured(fleet: RunningFleet, ids: list[str], *, quick: bool, each: bool) -> list[Row]:
    seconds, per_s = (0.5, 100) if quick else (20.0, PER_S)
    await recorded(fleet)
    mix = {path: [path] for path in PATHS} | {TASK: [f"/api/tasks/{id_}" for id_ in ids]}
    idle = await _idle(fleet, seconds / 2)
    say(f"{per_s} reads a second, by chance of {', '.join(mix)}")
    rows = await _asked(fleet, mix, seconds=seconds, per_s=per_s, idle=idle)
    if each:
        for path, paths in mix.items():
            say(f"{ALONE_PER_S} a second of {path}")
            alone = await _asked(fleet, {path: paths}, seconds=seconds / 4, per_s=ALONE_PER_S, idle=idle)
            rows[path]["cpu_us"] = alone["all"]["cpu_us"]
    return [{"path": path, **row} for path, row in rows.items()]


async def measure(*, quick: bool) -> Measured:
    """Return rows by path; the flat keys are those of the mix, on the fleet with the history."""
    async with running(hosts=1) as (fleet, client):
        ids = await _done(client, 100 if quick else TASKS)
        rows = await _measured(fleet, ids, quick=quick, each=not quick)
        wide, wide_tenants = list[Row](), list[Row]()
        tenants = [] if quick else await _of_tenants(fleet, client)  # a quick run shares its fleet with others
    if not quick:
        async with up("blackroad", more=NOOPS, most=HANDS) as place:
            wide = await _measured(place.fleet, await _done(place.client, TASKS), quick=False, each=False)
            wide_tenants = await _of_tenants(place.fleet, place.client)
    mix = next(row for row in rows if row["path"] == "all")
    keys = {"read_p99_ms": mix["p99"], "read_cpu_us": mix["cpu_us"]}
    return Measured(keys, {"rates": rows, "tenants": tenants, "agents_30k": wide, "agents_30k_tenants": wide_tenants})
