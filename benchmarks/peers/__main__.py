"""`python -m benchmarks.peers [--only NAME,...]`: run amas and its peers on the same work, print and keep the ratios."""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks import page, plots, progress, results
from benchmarks.machine import yardstick_ms
from benchmarks.peers import amas_rows
from benchmarks.peers.environments import python_with
from benchmarks.peers.servers import Server, postgres, valkey

PEER_LIMIT_S = 1200.0
APPS = Path(__file__).parent / "apps"


class Peer(NamedTuple):
    """A queue that somebody might use instead."""

    name: str
    packages: tuple[str, ...]
    store: Callable[[], AbstractContextManager[Server]]
    setup: str
    """How it was set up, for the table."""


PEERS = (
    Peer("saq", ("saq[redis,hiredis]==0.26.4", "typing-extensions", "uvloop"), valkey, "2 workers x 100, uvloop"),
    Peer("taskiq", ("taskiq==0.13.0", "taskiq-redis==1.2.4", "hiredis", "uvloop"), valkey, "streams, 2 workers x 100, uvloop"),
    Peer("dramatiq", ("dramatiq[redis]==2.2.1", "hiredis"), valkey, "2 processes x 16 threads"),
    Peer("celery", ("celery[redis]==5.7.0", "hiredis"), valkey, "2 workers x 4 threads, prefetch 64"),
    Peer("dbos", ("dbos==3.4.0", "psycopg[binary]"), postgres, "PostgreSQL, 2 executors x 100, enqueued by 100"),
)


def _measured(peer: Peer, tasks: int, runs: int) -> dict[str, Any]:
    python = python_with(peer.name, peer.packages)
    with peer.store() as server:
        told = {"PEER_URL": server.url, "PEER_SERVER_PID": str(server.pid), "PEER_TASKS": str(tasks), "PEER_RUNS": str(runs)}
        command = [python, APPS / f"with_{peer.name}.py"]
        environ = os.environ | told | {"PYTHONPATH": str(APPS)}
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as log:  # no pipes: a worker left behind would hold them
            done = subprocess.run(command, check=False, env=environ, cwd=APPS, stdout=said, stderr=log, timeout=PEER_LIMIT_S)
            said.seek(0)
            log.seek(0)
            if done.returncode:
                raise RuntimeError(f"{peer.name} failed: {log.read().decode()[-2000:]}")
            answer: dict[str, Any] = json.loads(said.read().splitlines()[-1])
    return {"peer": peer.name, "setup": peer.setup, **answer}


def _ours(batch: int, tasks: int, runs: int) -> dict[str, Any]:
    return asyncio.run(amas_rows.measured(batch, tasks, runs))


def _rows(peers: list[Peer], tasks: int, runs: int) -> list[dict[str, Any]]:
    measures: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        *((f"amas by {batch}", partial(_ours, batch, tasks, runs)) for batch in amas_rows.WAYS),
        *((peer.name, partial(_measured, peer, tasks, runs)) for peer in peers),
    ]
    rows = []
    with progress.shown(len(measures)):
        for name, measure in measures:
            progress.begin(name)
            before = yardstick_ms()
            row = measure()
            row |= {"tasks_per_s": round(statistics.median(row["runs"])), "yardstick_ms": [round(before), round(yardstick_ms())]}
            rows.append(row)
            progress.done()
    return rows


def _ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Put each row's ratio to amas into it, and return the flat keys; every peer here keeps results on disk."""
    ours = [row for row in rows if row["peer"].startswith("amas")]
    theirs = [row["tasks_per_s"] for row in rows if row not in ours]
    best = max(row["tasks_per_s"] for row in ours)
    for row in rows:
        row["amas_is_times"] = round(best / row["tasks_per_s"], 1)
    if not theirs:
        return {}
    singles = max(row["tasks_per_s"] for row in ours if row["batch"] == 1)
    return {
        "ratio_to_best_durable_peer": round(best / max(theirs), 2),
        "ratio_to_best_durable_peer_single_calls": round(singles / max(theirs), 2),
    }


def main(arguments: list[str]) -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Run amas and its peers on the same work.")
    parser.add_argument("--only", default="", help=f"peers, with commas between them: {', '.join(peer.name for peer in PEERS)}")
    parser.add_argument("--tasks", type=int, default=10_000, help="in one run; a multiple of 500")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=results.PATH)
    asked = parser.parse_args(arguments)
    wanted = set(filter(None, asked.only.split(","))) or {peer.name for peer in PEERS}
    rows = _rows([peer for peer in PEERS if peer.name in wanted], asked.tasks, asked.runs)
    found = results.load(asked.output)
    found.update(_ratios(rows))
    found.setdefault("details", {})["peers"] = {"tasks": asked.tasks, "rows": rows}
    results.save(found, asked.output)
    if asked.output == results.PATH:
        plots.draw(found)
        page.write(found)
    shown = Table(box=None)
    for title in ("peer", "tasks/s", "CPU us/task", "amas is times", "yardstick ms", "set up"):
        shown.add_column(title)
    for row in rows:
        cells = (row["peer"], row["tasks_per_s"], row["cpu_us_per_task"], row["amas_is_times"], row["yardstick_ms"], row["setup"])
        shown.add_row(*map(str, cells))
    Console(width=200).print(shown)


if __name__ == "__main__":
    main(sys.argv[1:])
