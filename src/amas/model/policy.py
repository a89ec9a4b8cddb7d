"""Words about tools and who may use them (docs/policies.md).

A tool is whatever an agent does outside its own code: a Python function, a request over HTTP, a command in a sandbox, a tool of
an MCP server. Each use is one `ToolCall`, and one `Decision` says whether it may run and why. Who runs tools asks a `ToolGuard`.
What it goes by are the fleet's `PolicyRule`s: allowed is what some rule allows and none denies.
"""

from typing import Literal, Protocol, get_args

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


Effect = Literal["allow", "deny"]
Each = Literal["agent", "pool", "tenant", "fleet"]
"""Who shares a limit's calls: those of one agent, pool or tenant, or everybody."""
EACH: tuple[Each, ...] = get_args(Each)
Scalar = bool | int | float | str

GRANT = "pool:"
"""How the names of rules begin that stand for the tools which a pool's declaration grants it; no other name begins so."""


class CallLimit(msgspec.Struct, frozen=True, kw_only=True):
    """So many calls within any stretch of time of a length."""

    calls: int
    per_s: float
    each: Each = "fleet"


class ArgumentTest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one argument must be; everything that is said must hold."""

    equals: Scalar | None = None
    one_of: tuple[Scalar, ...] | None = msgspec.field(name="in", default=None)
    matches: tuple[str, ...] = ()
    """Globs, one of which the whole text matches: `*` stands for any characters."""
    under: tuple[str, ...] = ()
    """Folders, in one of which the path lies or which it is; a path that doesn't begin with / counts from the task's folder."""
    host: tuple[str, ...] = ()
    """Globs, one of which the host of the URL matches, in lower case."""
    at_least: float | None = None
    at_most: float | None = None


class PolicyRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule. Empty where it says nothing of agents, pools, ...: it is for all of them. Names are globs."""

    name: str
    effect: Effect
    tools: tuple[str, ...] = ("*",)
    agents: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    """Of the agent's pool, one of which must match."""
    when: dict[str, ArgumentTest] = {}
    """By argument; all must hold."""
    limit: CallLimit | None = None
    """Of an allow: it allows so many. Of a deny: it denies what is beyond so many."""
    why: str = ""
    """Said to who is refused."""
    cedar: str = ""
    """A policy of a .cedar file as it stands there, in place of all of the above but name, effect and why."""
    at: str = ""
    """`file:line`."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was refused, as the engine keeps it."""

    at_ms: int
    agent: str
    pool: str
    tenant: str
    tool: str
    arguments: str
    """As JSON, cut off where it is long."""
    why: str
    rules: tuple[str, ...]
