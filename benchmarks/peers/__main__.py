"""`python -m benchmarks.peers [--only NAME,...]`: run amas and its peers on the same work, print and keep the ratios."""

import argparse
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

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import page, plots, progress, results
from benchmarks.machine import yardstick_ms
from benchmarks.peers import amas_rows, ratios
from benchmarks.peers.amas_rows import Amounts
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


BARE = Peer("bare_cycle", (), valkey, "Lua functions by 100, 1 worker; nothing but storing, leasing and telling")
"""Not a peer: what is left of a queue when everything is left out. It needs nothing that isn't installed here."""


def measured(peer: Peer, wanted: Amounts) -> dict[str, Any]:
    """Return what its driver found out: rates, CPU per task of all its processes, and the times of tasks that come alone."""
    python = python_with(peer.name, peer.packages) if peer.packages else sys.executable
    with peer.store() as server:
        told = {"PEER_URL": server.url, "PEER_SERVER_PID": str(server.pid)}
        told |= {f"PEER_{name.upper()}": str(value) for name, value in wanted._asdict().items()}
        command = [python, APPS / f"with_{peer.name}.py"]
        environ = os.environ | told | {"PYTHONPATH": str(APPS)}
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as log:  # no pipes: a worker left behind would hold them
            done = subprocess.run(command, check=False, env=environ, cwd=APPS, stdout=said, stderr=log, timeout=PEER_LIMIT_S)
            said.seek(0)
            log.seek(0)
            if done.returncode:
                raise RuntimeError(f"{peer.name} failed: {log.read().decode()[-2000:]}")
            answer: dict[str, Any] = json.loads(said.read().splitlines()[-1])
    kind = "bare" if peer is BARE else "peer"
    return {"peer": peer.name.replace("_", " "), "kind": kind, "setup": peer.setup, **answer}


def _rows(peers: list[Peer], wanted: Amounts) -> list[dict[str, Any]]:
    measures: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        *((f"amas by {batch}", lambda batch=batch: uvloop.run(amas_rows.by_client(batch, wanted))) for batch in amas_rows.WAYS),
        ("amas by HTTP", lambda: uvloop.run(amas_rows.by_rest(wanted))),
        *((peer.name, partial(measured, peer, wanted)) for peer in (BARE, *peers)),
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


def main(arguments: list[str]) -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Run amas and its peers on the same work.")
    names = ", ".join(peer.name for peer in PEERS)
    parser.add_argument("--only", default="", help=f"peers, with commas between them: {names}; or bare_cycle for none of them")
    parser.add_argument("--tasks", type=int, default=10_000, help="in one run; a multiple of 500")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--round-trips", type=int, default=300, help="tasks one after the other, for the latency")
    parser.add_argument("--output", type=Path, default=results.PATH)
    asked = parser.parse_args(arguments)
    wanted = set(filter(None, asked.only.split(","))) or {peer.name for peer in PEERS}
    amounts = Amounts(asked.tasks, asked.runs, asked.round_trips)
    rows = _rows([peer for peer in PEERS if peer.name in wanted], amounts)
    found = results.load(asked.output)
    found.update(ratios.of(rows))
    found.setdefault("details", {})["peers"] = {"tasks": asked.tasks, "rows": rows}
    results.save(found, asked.output)
    if asked.output == results.PATH:
        plots.draw(found)
        page.write(found)
    print_rows(rows)


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print the table of rows and that of amas against the bare cycle."""
    console = Console(width=200)
    for titles, lines in ((ratios.TITLES, ratios.lines(rows)), (ratios.ROD_TITLES, ratios.rod_lines(rows))):
        shown = Table(box=None)
        for title in titles:
            shown.add_column(title)
        for line in lines:
            shown.add_row(*("" if cell is None else str(cell) for cell in line))
        console.print(shown)


if __name__ == "__main__":
    main(sys.argv[1:])
