"""The agent that does nothing."""

from amas import Context, agent


@agent("bench.noop")
async def noop(task: Context) -> dict[str, bool]:
    """Return at once."""
    return {"ok": True}
