"""A reader that knows a text by its tools alone."""

from amas import Context, agent
from amas.errors import ToolRefused


@agent("text.look")
async def look(task: Context) -> dict:
    (task.workspace / "text.txt").write_text(task.input)
    words = await task.tool("count-words", text=task.input)
    told = {"words": words}
    try:
        lines = await task.tool("sorted-lines", file="text.txt")
        told["lines"] = lines["stdout"].split("\n")[:-1]
        await task.tool("forget", path=str(task.workspace / "text.txt"))
    except ToolRefused as refused:
        told["refused"] = f"{refused.tool}: {refused}"
    return told
