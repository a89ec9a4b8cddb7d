"""Agents that run elsewhere, in Python: a function for each capability, and one call that works until it is told to end.

    agent = Agent("words-1", url="https://fleet.example", token=...)

    @agent.can("text.words")
    async def words(task: Task) -> dict[str, int]:
        return {"words": len(task.input["text"].split())}

    agent.run()

All connections go out from here, so it works behind NAT. docs/remote-agents.md has the protocol.
"""

from amas.errors import RemoteRefused, RemoteTokenRefused
from amas.remote.agent import Agent, Message, Task

__all__ = ["Agent", "Message", "RemoteRefused", "RemoteTokenRefused", "Task"]
