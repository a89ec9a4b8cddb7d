"""Agents that show who they are."""

from amas import Context, SyncContext, agent
from amas.model.task import Json


@agent("test.token")
async def token(task: Context) -> Json:
    """Return two tokens for the audience that the input names."""
    return [await task.token(task.input or ""), await task.token(task.input or "")]


@agent("test.token_sync")
def token_sync(task: SyncContext) -> Json:
    return [task.token(task.input or ""), task.token(task.input or "")]
