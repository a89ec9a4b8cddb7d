"""Bytes of engine memory that a task of 256 bytes takes while it is queued, running and finished.

Finished ones stay for an hour by default. The journal isn't counted: a fleet's recorder trims it behind itself.
"""

from benchmarks.calls import Kinds
from benchmarks.fleet import engine_alone, engine_memory_bytes, forget_journal
from benchmarks.results import Measured


async def measure(*, quick: bool) -> Measured:
    """Return bytes per task, by state."""
    tasks = 5_000 if quick else 50_000
    async with engine_alone() as engine:
        kinds = await Kinds.begin(engine)
        await kinds.submit(500)
        await kinds.complete(await kinds.claim(500))  # what the first call allocates isn't a task's

        async def taken() -> int:
            await forget_journal(engine)
            return await engine_memory_bytes(engine)

        empty = await taken()
        await kinds.submit(tasks)
        queued = await taken()
        claimed = await kinds.claim(tasks)
        running = await taken()
        await kinds.complete(claimed)
        finished = await taken()
    found = {"queued": queued, "running": running, "finished": finished}
    return Measured({f"bytes_per_{state}_task": round((size - empty) / tasks) for state, size in found.items()}, {"tasks": tasks})
