"""`python -m benchmarks.history_reads [--finished N] [--json]`: the reads of a long history that had to go over it once.

Writes a day of a million finished tasks (`past.py`) into a SQLite file, as an earlier version leaves it, adds it up as the
control plane does, and reads it as the API does, without a server in between: each read three times, by the clock and in CPU. An
answer is kept until something is written, so each time another second is asked about.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from amas.clock import new_id, now_ms
from amas.core.report import slots_of
from amas.model.goal import Goal
from amas.model.task import TaskSpec
from amas.records.ended import Span
from amas.records.store import Records
from amas.records.tables import tasks
from benchmarks.machine import yardstick_ms
from benchmarks.past import APART_MS, fill

FINISHED = 1_000_000
POOLS = tuple((f"pool{number}", 1000) for number in range(30))
TIMES = 3
HOUR_MS = 3_600_000

Read = Callable[[Records, int], Awaitable[Any]]


def _since(hours: float, at_ms: int) -> int:
    return at_ms - round(hours * HOUR_MS)


READS: dict[str, Read] = {
    "analytics, 1 h": lambda records, at: records.analytics(_since(1, at)),
    "analytics, 24 h": lambda records, at: records.analytics(_since(24, at)),
    "report, 1 h": lambda records, at: records.work_in(slots_of(_since(1, at), at)),
    "report, 24 h": lambda records, at: records.work_in(slots_of(_since(24, at), at)),
    "costs by agent, 24 h": lambda records, at: records.costs("agent", Span(since_ms=_since(24, at))),
    "costs by pool, 24 h": lambda records, at: records.costs("pool", Span(since_ms=_since(24, at))),
    "tasks of a tenant without any": lambda records, at: records.tasks(tenant=f"nobody-{at}"),
    "goals of a tenant without any": lambda records, at: records.workflows(tenant=f"nobody-{at}"),
    "tasks of a tenant": lambda records, at: records.tasks(tenant="acme", cursor=f"{at:x}"),
}


async def _one_task(records: Records) -> str:
    """Write the task that the others are copies of, and return its id."""
    at_ms, task_id = now_ms(), new_id()
    row = {
        **{"id": task_id, "state": "succeeded", "capability": "bench.noop", "layer": "execution", "tenant": "acme", "attempt": 1},
        **{"agent_id": "pool0-1", "host_id": "host-1", "created_ms": at_ms - 2000, "started_ms": at_ms - 1500},
        **{"finished_ms": at_ms, "spec": msgspec.msgpack.encode(TaskSpec(capability="bench.noop")), "result": b"\xc0"},
    }
    async with records._database.writing() as connection:
        await connection.execute(sa.insert(tasks), row)
    return task_id


async def _timed(records: Records, read: Read) -> dict[str, float]:
    taken, used = [], []
    for turn in range(TIMES):
        at_ms, began_s, began_cpu_s = now_ms() + 1000 * turn, time.perf_counter(), time.process_time()
        await read(records, at_ms)
        taken.append(1000 * (time.perf_counter() - began_s))
        used.append(1000 * (time.process_time() - began_cpu_s))
    return {"ms": round(statistics.median(taken), 1), "cpu_ms": round(statistics.median(used), 1)}


async def measure(finished: int) -> dict[str, Any]:
    """Return what each read takes, and how long the history was added up for."""
    told: dict[str, Any] = {"finished": finished, "hours": round(finished * APART_MS / HOUR_MS, 1)}
    told["yardstick_ms"] = [round(yardstick_ms(), 1)]
    goal = msgspec.msgpack.encode(Goal(text="Read it", tenant="acme"))
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        path = Path(folder, "records.sqlite3")
        async with await Records.open(f"sqlite:///{path}") as records:
            task_id = await _one_task(records)
            await asyncio.to_thread(fill, path, task_id=task_id, pools=POOLS, finished=finished, goal=goal)
            began_s = time.process_time()
            while await records.sum_older():
                pass
            told["added_up_cpu_s"] = round(time.process_time() - began_s, 1)
            told["reads"] = {name: await _timed(records, read) for name, read in READS.items()}
    told["yardstick_ms"].append(round(yardstick_ms(), 1))
    return told


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history_reads", description=__doc__)
    parser.add_argument("--finished", type=int, default=FINISHED, help="tasks in the history")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    told = asyncio.run(measure(options.finished))
    if options.json:
        print(json.dumps(told, indent=2))
        return
    print(f"{told['finished']} tasks over {told['hours']} h, added up in {told['added_up_cpu_s']} s of CPU")
    for name, each in told["reads"].items():
        print(f"{name:32} {each['ms']:9.1f} ms {each['cpu_ms']:9.1f} ms of CPU")
    print(f"yardstick {told['yardstick_ms'][0]} and {told['yardstick_ms'][1]} ms")


if __name__ == "__main__":
    main()
