"""Agents whose work leaves every kind of span."""

from amas import BaseAgent, Context, GiveUp, Message, MessageContext, MessageType, SubTask, agent
from amas.model.task import Json


@agent("traced.lead")
async def lead(task: Context) -> Json:
    """Look, have a model write, and tell somebody."""
    await task.step("look", lambda: 1)
    outcomes = await task.spawn([SubTask(key="text", capability="test.model", input="Write.")])
    await task.send("listener-1", MessageType.SHARE_FINDINGS, "it is written", key="told")
    return outcomes["text"].result


@agent("traced.fails")
async def fails(task: Context) -> Json:
    raise GiveUp("there is nothing to do")


class Listener(BaseAgent):
    heard = 0

    async def process_task(self, task: Context) -> Json:
        return None

    async def on_message(self, context: MessageContext, message: Message) -> None:
        Listener.heard += 1
