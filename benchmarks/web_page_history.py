"""`python -m benchmarks.web_page_history [--finished N]`: 30,000 agents with 1,000,000 finished tasks behind them.

Starts the fleet `blackroad`, has one task done, and writes copies of it into the history (`past.py`): the last day of a fleet
whose agents called a model for each. Tells how soon the fleet has added it up, how soon each read of the API that goes to the
history is answered, and then, as `web_page` does, how soon each page that does is usable, with nothing kept by the browser and on
the next visit.

The engine holds none of these tasks: it forgets what has ended, and what is in flight doesn't grow with what was done.
"""

import argparse
import asyncio
import json
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
import urllib.request
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from playwright.async_api import async_playwright

from amas.client import Fleet
from amas.clock import monotonic_s
from amas.fleet.load import load_fleet
from amas.model.goal import Goal
from amas.platforms.local.control import start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for
from benchmarks.machine import yardstick_ms
from benchmarks.past import fill, is_summed
from benchmarks.web_page import FLAGS, middle, seated, usable

FINISHED = 1_000_000
RECORDED_S = 30.0
SUMMED_S = 600.0
SHARED_S = 0.5
"""Longer than an answer is shared."""
TIMES = 3
COSTS = "() => document.querySelectorAll('[aria-label^=\"Costs by\"] tbody tr').length > 0"
AGENT = "() => document.querySelectorAll('main [aria-label=Tasks] tbody tr').length > 0"
STORY = "() => document.querySelectorAll('[aria-label=\"Where its time went\"] tbody tr').length > 0"
SAID = "() => /newest first/.test(document.querySelector('main')?.textContent ?? '')"
FIGURE = "() => /[0-9]/.test(document.querySelector('.value')?.textContent ?? '')"

ROUTES = (
    *("/api/metrics", "/api/agents/{agent}", "/api/tasks", "/api/tasks?agent_id={agent}"),
    *("/api/tasks?state=succeeded", "/api/tasks?state=failed", "/api/tasks?state=queued", "/api/tasks/{task}", "/api/workflows"),
    *("/api/workflows?state=succeeded", "/api/audit", "/api/usage", "/api/dead-letters"),
    *(f"/api/costs?by={by}" for by in ("day", "tenant", "workflow", "pool", "agent", "model", "task")),
    *(f"/api/costs?by={by}&since={{day}}" for by in ("pool", "agent", "task")),
    *("/api/costs?by=workflow&tenant=acme", "/api/costs?by=day&agent_id={agent}"),
    *("/api/analytics?hours=1", "/api/analytics?hours=24", "/api/report?since_s=3600", "/api/report?since_s=86400"),
)
"""Every read of the API that goes to the history; `{day}` is 24 hours ago."""
ANSWERED_S = 120.0


async def done(home: Path, capability: str) -> str:
    """Have one task done, wait until the history has it whole, and return its id."""
    async with Fleet.connect(home=home) as client:
        task = await client.submit(capability, {"n": 1})
        await task.result(timeout_s=RECORDED_S)
    with closing(sqlite3.connect(home / "records.sqlite3", timeout=RECORDED_S)) as records:
        async with asyncio.timeout(RECORDED_S):
            while not records.execute("SELECT 1 FROM tasks WHERE id = ? AND finished_ms > 0", (task.id,)).fetchone():  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    return task.id


async def added_up(records: Path) -> float:
    """Return the seconds until the fleet has added up what was written into its history."""
    began_s = monotonic_s()
    async with asyncio.timeout(SUMMED_S):
        while not await asyncio.to_thread(is_summed, records):  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.2)
    return monotonic_s() - began_s


def _day_ago() -> str:
    return (datetime.now(UTC) - timedelta(days=1)).isoformat().replace("+00:00", "Z")


def _answered_ms(address: str, path: str, places: dict[str, str]) -> float:
    """Return the median of what an answer takes, each made anew: a shared one has gone by then."""
    taken = []
    for _ in range(TIMES):
        began_s = monotonic_s()
        with urllib.request.urlopen(address + path.format(**places), timeout=ANSWERED_S) as answer:
            answer.read()
        taken.append(1000 * (monotonic_s() - began_s))
        time.sleep(SHARED_S)
    return round(statistics.median(taken), 1)


async def measure(finished: int, *, pages: bool) -> dict[str, Any]:
    """Return how soon the API answers, and how soon each page is usable."""
    spec = load_fleet("blackroad", agents=True)
    pool = next(pool for pool in spec.pools if pool.skill == "none")
    told: dict[str, Any] = {"yardstick_ms": [round(yardstick_ms(), 1)], "finished": finished}
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        fleet = await start_fleet(request_for("blackroad", Home(Path(folder)), ports=(0, 0), bound=True))
        try:
            await seated(fleet.state.api_url, sum(pool.replicas for pool in spec.pools))
            task_id = await done(fleet.home.folder, pool.capabilities[0])
            began_s = monotonic_s()
            records = fleet.home.folder / "records.sqlite3"
            pools = [(each.name, each.replicas) for each in (pool, *spec.pools) if each.replicas]
            goal = msgspec.msgpack.encode(Goal(text="Read it", tenant="acme"))
            await asyncio.to_thread(fill, records, task_id=task_id, pools=pools, finished=finished, goal=goal)
            print(f"filled: {monotonic_s() - began_s:.0f} s, {records.stat().st_size / 2**20:.0f} MiB", file=sys.stderr)
            told["added_up_s"] = round(await added_up(records), 1)
            places = {"agent": f"{pool.name}-1", "task": task_id, "day": _day_ago()}
            told["routes"] = {path: await asyncio.to_thread(_answered_ms, fleet.state.api_url, path, places) for path in ROUTES}
            if not pages:
                return told
            signs = {
                "/": FIGURE,
                f"/agents/{pool.name}-1": AGENT,
                f"/tasks/{task_id}": STORY,
                "/costs": COSTS,
                "/queues": SAID,
                "/goals": SAID,
                "/tasks": AGENT,
                f"/tasks?agent={pool.name}-1": AGENT,
            }
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
                for path, sign in signs.items():
                    told[path] = middle([await usable(browser, fleet.state.api_url, path, sign) for _ in range(TIMES)])
        finally:
            await fleet.stop()
    told["yardstick_ms"].append(round(yardstick_ms(), 1))
    return told


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web_page_history", description=__doc__)
    parser.add_argument("--finished", type=int, default=FINISHED, help="tasks in the history")
    parser.add_argument("--routes", action="store_true", help="time the API only, and open no page")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(measure(options.finished, pages=not options.routes)), indent=2))


if __name__ == "__main__":
    main()
