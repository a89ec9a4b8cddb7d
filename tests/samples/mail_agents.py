"""Agents that write to each other."""

import os
from typing import Any

from amas import BaseAgent, Context, Message, MessageContext, MessageType, RetryLater, SyncContext, agent
from amas.errors import MessageForbidden
from amas.model.message import SENT_STEP
from amas.model.task import Json


@agent("mail.ask")
async def ask(task: Context) -> Json:
    answer = await task.request(task.input["of"], task.input["question"], timeout_s=60)
    return {"answer": answer.payload, "by": answer.sender}


@agent("mail.tell")
async def tell(task: Context) -> Json:
    """Send the same twice and another once, then fail the first time; the ids that were given out."""
    to = task.input["to"]
    ids = [await task.send(to, MessageType.STATUS, {"part": part}) for part in (1, 1, 2)]
    ids += [await task.send(to, "status", {"attempt": task.attempt}, key="once")]
    ids += (await task.broadcast("team:chief", MessageType.SHARE_FINDINGS, "to all")).ids.values()
    if task.attempt == 1:
        raise RetryLater("once more", delay_s=0.0)
    return ids


@agent("mail.upgraded")
async def upgraded(task: Context) -> Json:
    """Send what an attempt of an earlier release has sent, which kept the id and nothing else."""
    await task.recall(f"{SENT_STEP}once")
    await task.keep(f"{SENT_STEP}once", "sent-before")
    return await task.send(task.input["to"], MessageType.STATUS, "again", key="once")


@agent("mail.tell_sync")
def tell_sync(task: SyncContext) -> Json:
    sent = task.send(task.input["to"], "status", "from a thread")
    reached = task.share_context("team:chief", {"known": 1})
    answer = task.request("helper-1", 20, timeout_s=60)
    return [sent, sorted(reached.ids), answer.payload]


@agent("mail.read")
async def read(task: Context) -> Json:
    found = await task.receive(wait_s=task.input)
    stale = await task.acknowledge(found)
    return {"got": [[message.sender, message.payload, message.deliveries] for message in found], "stale": stale}


@agent("mail.isolated")
async def isolated(task: Context) -> Json:
    """Ask, answer and be refused, from a process that knows no secret."""
    answer = await task.request("helper-1", 4, timeout_s=60)
    (question,) = await task.receive(wait_s=60, limit=1)
    await task.reply(question, question.payload * 2)
    stale = await task.acknowledge(question)
    refused = ""
    try:
        await task.send("stranger-1", MessageType.STATUS, "psst")
    except MessageForbidden as error:
        refused = str(error)
    secrets = [name for name, value in os.environ.items() if "a-secret-of-the-fleet" in value]
    return {"answer": answer.payload, "stale": stale, "refused": refused, "secrets": secrets}


class Helper(BaseAgent):
    """Answers questions while it is idle: doubles numbers, and chokes on `poison`."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.choked = 0

    async def process_task(self, task: Context) -> Json:
        return self.choked

    async def on_message(self, ctx: MessageContext, message: Message) -> None:
        if message.payload == "poison" or (message.payload == "once" and message.deliveries == 1):
            self.choked += 1
            raise ValueError("indigestible")
        if message.type is MessageType.HELP_REQUEST:
            await ctx.reply(message, message.payload * 2)


noter = agent("mail.noter")(lambda task: None)
noted: list[tuple[str, Json]] = []


@noter.on_message
async def note(ctx: MessageContext, message: Message) -> None:
    noted.append((ctx.agent_id, message.payload))
