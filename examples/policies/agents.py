"""Agents of the example: what they do doesn't matter here, but what they may use."""

from amas import Context, agent


@agent("code.plan")
async def plan(task: Context) -> str:
    """Plan."""
    return f"a plan for {task.input}"


@agent("code.write")
async def write(task: Context) -> str:
    """Write."""
    return f"code for {task.input}"


@agent("code.review")
async def review(task: Context) -> str:
    """Review."""
    return f"{task.input} is fine"
