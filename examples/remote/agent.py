"""Counts the words of texts for a fleet, from anywhere: AMAS_URL says where it is, AMAS_REMOTE_TOKEN opens its door."""

import os

from amas.remote import Agent, Message, RemoteRefused, Task

agent = Agent(os.environ.get("AGENT_NAME", "words-py"), labels={"lang": "py"}, slots=4)


@agent.can("text.words")
async def words(task: Task) -> dict[str, int]:
    return {"words": len(task.input["text"].split())}


@agent.hears
async def hear(message: Message) -> str:
    return f"{agent.id} read {message.payload!r}"


try:
    agent.run()
except RemoteRefused as refused:
    raise SystemExit(f"{agent.id} isn't let in: {refused}") from None
