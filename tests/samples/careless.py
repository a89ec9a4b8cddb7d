"""A security reviewer that leaves two files out: the first time it is asked (`careless`), or always (`hopeless`); or does all and
writes down what its gate said (`obedient`).
"""

from pathlib import Path
from typing import Any

from amas import Context, agent
from amas.agents.skills.ruff_review import ruff_review


async def _leave_two_out(task: Context) -> Any:
    result = await ruff_review(task)
    return {**result, "covered": result["covered"][2:]}


@agent("development.security")
async def careless(task: Context) -> Any:
    """Leave two files out of the first answer, and do all that is asked for afterwards."""
    asked = Path(task.options["asked"])
    first = not asked.exists()
    asked.touch()
    return await (_leave_two_out(task) if first else ruff_review(task))


@agent("development.security")
async def hopeless(task: Context) -> Any:
    """Leave two files out of every answer."""
    return await _leave_two_out(task)


@agent("development.security")
async def obedient(task: Context) -> Any:
    """Do the work, and write down the gate's words."""
    if words := task.input.get("feedback"):
        Path(task.options["asked"]).write_text("".join(f"{each}\n" for each in words))
    return await ruff_review(task)
