"""`python -m benchmarks.web_page_history [--finished N]`: the web page of 30,000 agents, 1,000,000 finished tasks behind them.

Starts the fleet `blackroad`, has one task done, and writes copies of it into the history: each with an attempt and its cost, one
every 86 ms of the last day, by the agents of the same pool in turn. Then tells, as `web_page` does, how soon each page that reads
the history is usable, with nothing kept by the browser and on the next visit.

The engine holds none of these tasks: it forgets what has ended, and what is in flight doesn't grow with what was done.
"""

import argparse
import asyncio
import json
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from amas.client import Fleet
from amas.clock import monotonic_s
from amas.fleet.load import load_fleet
from amas.platforms.local.control import start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for
from benchmarks.machine import yardstick_ms
from benchmarks.web_page import FLAGS, middle, seated, usable

FINISHED = 1_000_000
APART_MS = 86
"""A million of them are a day's."""
AT_ONCE = 50_000
"""Rows of a transaction: the fleet's own recorder writes in between."""
RECORDED_S = 30.0
LOCKED_S = 30.0
TIMES = 3
ROWS = "() => document.querySelectorAll('main tbody tr').length > 1"
AGENT = "() => document.querySelectorAll('main [aria-label=Tasks] tbody tr').length > 1"
STORY = "() => document.querySelectorAll('[aria-label=\"Where its time went\"] tbody tr').length > 0"
SAID = "() => /newest first/.test(document.querySelector('main')?.textContent ?? '')"
FIGURE = "() => /[0-9]/.test(document.querySelector('.value')?.textContent ?? '')"

COPIES = {
    "tasks": {
        "id": "{id}",
        "agent_id": "{agent}",
        **dict.fromkeys(("created_ms", "queued_ms", "started_ms", "finished_ms"), "{column} - {ago}"),
    },
    "attempts": {"task_id": "{id}", "agent_id": "{agent}", **dict.fromkeys(("started_ms", "finished_ms"), "{column} - {ago}")},
    "costs": {"task_id": "{id}", "agent_id": "{agent}", "at_ms": "{column} - {ago}"},
}
"""What a copy has in the place of its original's: ids as the engine makes them, of the copy's own time."""
ID = "printf('%08x-%04x-7%03x-8000-%012x', ({at_ms} - {ago}) / 65536, ({at_ms} - {ago}) % 65536, i % 4096, i)"


def copied(records: sqlite3.Connection, table: str, *, task_id: str, pool: str, agents: int, first: int, last: int) -> None:
    """Write copies of a task's rows, with these numbers."""
    key = "id" if table == "tasks" else "task_id"
    ago = f"i * {APART_MS}"
    parts = {
        "id": ID.format(at_ms="(SELECT created_ms FROM tasks WHERE id = :task)", ago=ago),
        "agent": f"'{pool}-' || (1 + i % {agents})",
        "ago": ago,
    }
    columns = [row[1] for row in records.execute(f"PRAGMA table_info({table})")]
    given = [COPIES[table].get(column, "{column}").format(column=f"t.{column}", **parts) for column in columns]
    with records:
        records.execute(
            "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last) "
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(given)} FROM n, {table} t WHERE t.{key} = :task",
            {"first": first, "last": last, "task": task_id},
        )


def fill(path: Path, *, task_id: str, pool: str, agents: int, finished: int) -> None:
    """Make the history as long as was asked for."""
    with closing(sqlite3.connect(path, timeout=LOCKED_S)) as records:
        for first in range(1, finished + 1, AT_ONCE):
            last = min(finished, first + AT_ONCE - 1)
            for table in ("costs", "attempts", "tasks"):
                copied(records, table, task_id=task_id, pool=pool, agents=agents, first=first, last=last)


async def done(home: Path, capability: str) -> str:
    """Have one task done, wait until the history has it whole, and return its id."""
    async with Fleet.connect(home=home) as client:
        task = await client.submit(capability, {"n": 1})
        await task.result(timeout_s=RECORDED_S)
    with closing(sqlite3.connect(home / "records.sqlite3", timeout=LOCKED_S)) as records:
        async with asyncio.timeout(RECORDED_S):
            while not records.execute("SELECT 1 FROM tasks WHERE id = ? AND finished_ms > 0", (task.id,)).fetchone():  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    return task.id


async def measure(finished: int) -> dict[str, Any]:
    """Return how soon each page is usable."""
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
            await asyncio.to_thread(fill, records, task_id=task_id, pool=pool.name, agents=pool.replicas, finished=finished)
            print(f"filled: {monotonic_s() - began_s:.0f} s, {records.stat().st_size / 2**20:.0f} MiB", file=sys.stderr)
            signs = {
                "/": FIGURE,
                f"/agents/{pool.name}-1": AGENT,
                f"/tasks/{task_id}": STORY,
                "/costs": ROWS,
                "/queues": SAID,
                "/goals": SAID,
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
    print(json.dumps(asyncio.run(measure(parser.parse_args().finished)), indent=2))


if __name__ == "__main__":
    main()
