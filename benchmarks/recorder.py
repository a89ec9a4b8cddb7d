"""What the history costs: CPU microseconds a task from the journal's bytes to committed rows, in this process alone.

A real engine writes the journal of 30,000 tasks submitted in batches of 500, claimed and completed in batches of 256, as a busy
fleet does: claims lag behind submissions. It is read as the recorder reads it, half a second's worth at a time.
`python -m benchmarks.recorder [postgresql://...]` measures another database than SQLite.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from amas.clock import new_id
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.engine.hosts import HostAbout, HostRegistry
from amas.engine.journal import Journal
from amas.engine.queue import Slots, TaskQueue, make_submission
from amas.model.blob import to_blob
from amas.model.task import Completion, TaskSpec
from amas.records.store import Records
from benchmarks.work import PAYLOAD

TASKS = 30_000
SUBMIT, CLAIM = 500, 256
AHEAD = 2
"""Batches by which submissions are ahead of claims."""
READ_ENTRIES = 100
"""About 10,000 tasks."""
RUNS = 3


async def _write_journal(engine: Engine) -> None:
    queue, hosts = TaskQueue(engine), HostRegistry(engine)
    await hosts.register("host-1", HostAbout(0, "bench", "", ()), lease_s=3600)
    slots = [Slots(("bench.noop",), [f"noop-{n}" for n in range(CLAIM)])]
    submitted = claimed = 0
    while claimed < TASKS:
        if submitted < TASKS:
            spec = TaskSpec(capability="bench.noop", input=PAYLOAD)
            await queue.submit([make_submission(new_id(), spec) for _ in range(SUBMIT)], client_id="bench")
            submitted += SUBMIT
        while claimed < TASKS and (claimed + CLAIM <= submitted - AHEAD * SUBMIT or submitted == TASKS):
            got = await queue.claim("host-1", slots) or []
            await queue.complete("host-1", [Completion(task.id, task.attempt, to_blob({"ok": True})) for task in got])
            claimed += len(got)


async def _record(journal: Journal, records: Records) -> float:
    """Record the whole journal and return the CPU seconds that it took, in all threads."""
    position, began = "0-0", time.process_time()
    while entries := await journal.read(position, limit=READ_ENTRIES):
        position = (await records.apply(entries)).position
    return time.process_time() - began


async def _runs(url: str) -> list[float]:
    taken = []
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        server = EmbeddedEngine(Path(folder, "engine"))
        await server.start()
        try:
            async with Engine(server.url) as engine:
                await engine.wait_until_ready(timeout_s=10, load=True)
                async with await Records.open(url or f"sqlite:///{folder}/records.sqlite3") as records:
                    for _ in range(RUNS):
                        await engine.client.flushdb()
                        await _write_journal(engine)
                        taken.append(await _record(Journal(engine), records) / TASKS * 1e6)
        finally:
            await server.stop()
    return taken


def measure(url: str = "") -> dict[str, Any]:
    """Return CPU microseconds a task; `url` takes an empty database of one's own."""
    runs = asyncio.run(_runs(url))
    return {"recorder_cpu_us_per_task": round(statistics.median(runs), 1), "recorder_runs": [round(run, 1) for run in runs]}


if __name__ == "__main__":
    print(measure(*sys.argv[1:]))
