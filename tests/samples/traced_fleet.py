"""Agents of a fleet whose trace goes over processes; a YAML file that tells where the servers are declares them."""

from amas import BaseAgent, Context, Message, MessageContext, MessageType, SubTask, agent
from amas.model.task import Json

KEYS = {"text": "test.model", "boxed": "traced.boxed", "foreign": "traced.foreign", "far": "traced.far"}


@agent("traced.chief")
async def chief(task: Context) -> Json:
    """Have everybody work, and tell a colleague who sits on another host."""
    task.log.info("begins")
    await task.send("colleague-1", MessageType.SHARE_FINDINGS, "look", key="told")
    outcomes = await task.spawn([SubTask(key=key, capability=capability, input={}) for key, capability in KEYS.items()])
    return {key: outcome.result for key, outcome in outcomes.items()}


@agent("traced.boxed")
async def boxed(task: Context) -> Json:
    """Use a tool from a process of its own."""
    told = await task.tool("place/told")
    return [told["result"], task.traceparent]  # type: ignore[call-overload,index]


class Colleague(BaseAgent):
    async def process_task(self, task: Context) -> Json:
        return None

    async def on_message(self, context: MessageContext, message: Message) -> None:
        context.log.info("heard")
