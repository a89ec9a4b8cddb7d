"""Words about tools and who may use them (docs/policies.md).

A tool is whatever an agent does outside its own code: a Python function, a request over HTTP, a command in a sandbox, a tool of
an MCP server. Each use is one `ToolCall`, and one `Decision` says whether it may run and why. Who runs tools asks a `ToolGuard`.
"""

from typing import Protocol

import msgspec

from amas.model.task import Json


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One use of a tool by an agent, before it runs."""

    agent: str
    pool: str
    layer: str
    tenant: str
    tool: str
    """As the fleet file names it; a tool of an MCP server is `server/tool`."""
    arguments: dict[str, Json]
    """As the agent gave them, checked against the tool's signature or schema."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy says of a call."""

    allowed: bool
    why: str
    """One sentence for people and for the agent that was refused."""
    rules: tuple[str, ...] = ()
    """Names of the rules that decided; none where nothing allowed it."""
    retry_after_s: float | None = None
    """Seconds until a limit has room again, when it was a limit that refused."""


class ToolGuard(Protocol):
    """Who is asked before a tool runs."""

    async def permit(self, call: ToolCall) -> Decision:
        """Decide, and take from the limits that the deciding rules set; the call that is refused takes nothing."""
        ...
