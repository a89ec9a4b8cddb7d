"""The agents under test: one that does nothing, and one that waits as long as it is told."""

import asyncio

from amas import Context, agent


@agent("bench.noop")
async def noop(task: Context) -> dict[str, bool]:
    """Return at once."""
    return {"ok": True}


@agent("bench.nap")
async def nap(task: Context) -> dict[str, bool]:
    """Return after the given seconds; nothing is used up meanwhile but a place."""
    await asyncio.sleep(task.input["seconds"])
    return {"ok": True}
