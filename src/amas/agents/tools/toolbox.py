"""The tools of a host: what an attempt's `task.tool(...)` comes to, for its own agents and for isolated ones alike.

One use goes through these, in this order: what an earlier attempt got, from the journal; the arguments, against what the tool
takes; the guard; the announcement, for a tool that isn't repeatable; the tool, within its time; and its outcome, into the
journal. A refusal is an outcome, too. So a use that was journaled isn't done again, and one that may have been done is known.

What must never happen: that a tool runs which the guard wasn't asked about, or one that isn't repeatable twice under one key.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NoReturn, TypeVar

from amas.agents.context import Context
from amas.agents.tools.base import Tool, Use
from amas.agents.tools.functions import PythonTool
from amas.agents.tools.mcp_server import FirstSaid, McpTools, nobody_before
from amas.agents.tools.requests import RequestTool
from amas.agents.tools.shell import SandboxedTool
from amas.clock import monotonic_s
from amas.errors import FleetError, ToolFailed, ToolRefused, ToolUnsure
from amas.model.fleet import PoolSpec
from amas.model.meant import did_you_mean
from amas.model.numbers import pool_named
from amas.model.policy import Decision, ToolCall, ToolGuard
from amas.model.task import Json
from amas.model.tools import ToolCard, ToolSpec, granted, names_of, use_step
from amas.observe import events

BEGUN = "/begun"
"""After a use's step, the step that announces it."""
CARDS_S = 10.0
"""Seconds that the list of an agent's tools waits for an MCP server, which is missing then."""

Result = TypeVar("Result")

_KINDS: dict[str, Callable[[str, ToolSpec], Tool]] = {
    "python": PythonTool,
    "http": RequestTool,
    "shell": SandboxedTool,
}


class Toolbox:
    """A host's tools."""

    def __init__(self, guard: ToolGuard, first_said: FirstSaid = nobody_before) -> None:
        """`first_said`: what MCP servers said of their tools to the fleet's first host that asked."""
        self.guard = guard
        """Who decides."""
        self._first_said = first_said
        self._specs: dict[str, ToolSpec] = {}
        self._pools: dict[str, PoolSpec] = {}
        self._made: dict[str, Tool] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._missing: dict[str, str] = {}
        """Why tools couldn't be listed when they were last asked, as the log says it: once for each reason."""

    def follow(self, pools: Iterable[PoolSpec], tools: Mapping[str, ToolSpec]) -> None:
        """Have these tools for agents of these pools, the whole fleet's; a tool that was declared anew is made anew."""
        self._pools = {pool.name: pool for pool in pools}
        for name in [name for name in self._made if tools.get(name) != self._specs[name]]:
            task = asyncio.ensure_future(self._made.pop(name).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._specs = dict(tools)

    async def close(self) -> None:
        """End what tools keep running."""
        await asyncio.gather(*(tool.close() for tool in self._made.values()), *self._closing, return_exceptions=True)
        self._made.clear()

    # -- what an attempt asks

    async def cards(self, context: Context) -> list[ToolCard]:
        """Return the tools that the agent's pool names; what can't be asked now is a card that says why it is `missing`."""
        pool = self._pools.get(pool_named(context.agent_id))
        grants = pool.tools if pool else ()
        names = [name for name in dict.fromkeys(map(names_of, grants)) if name in self._specs]
        found = await asyncio.gather(*map(self.cards_or_why, names))
        for name, cards in zip(names, found, strict=True):
            self._note(context, name, next((card.missing for card in cards), ""))
        return [card for cards in found for card in cards if card.missing or granted(card.name, grants)]

    async def cards_or_why(self, name: str) -> list[ToolCard]:
        """Return what one of the fleet's tools says of itself, or a card that says why it is `missing`; within `CARDS_S`."""
        try:
            tool = self._tool(name)
            try:
                async with asyncio.timeout(CARDS_S):
                    return list(await tool.cards())
            except TimeoutError:
                why = _silent(tool, name, CARDS_S)
        except (ToolFailed, ToolRefused) as error:
            why = str(error)
        spec = self._specs[name]
        return [ToolCard(name=name, kind=spec.kind, about=spec.about, parameters={}, missing=why)]

    def _note(self, context: Context, name: str, missing: str) -> None:
        """Log what can't be listed, once for each reason, and that it can again."""
        if missing == self._missing.get(name, ""):
            return
        self._missing[name] = missing
        if missing:
            context.log.warning("a tool is missing", event=events.TOOL_MISSING, tool=name, why=missing)
        else:
            context.log.info("a tool is there again", event=events.TOOL_BACK, tool=name)

    async def permit(self, context: Context, tool: str, arguments: dict[str, Json]) -> Decision:
        """Ask the guard for an agent."""
        member = context.member
        return await self.guard.permit(
            ToolCall(
                agent=context.agent_id,
                pool=member.pool,
                layer=member.layer,
                tenant=context.spec.tenant,
                tool=tool,
                arguments=arguments,
            )
        )

    async def use(self, context: Context, tool: str, arguments: dict[str, Json], key: str) -> Json:
        """Return a tool's result, from the journal where this use, `key`, was made before; raises as `Context.tool` says."""
        step = use_step(tool, key)
        known, outcome = await context.recall(step)
        if not known:
            outcome = await self._outcome(context, tool, arguments, step)
        return _told(tool, outcome)

    async def _outcome(self, context: Context, tool: str, arguments: dict[str, Json], step: str) -> Json:
        spec, made = self._spec(tool), self._tool(names_of(tool))
        if not spec.repeatable and (await context.recall(step + BEGUN))[0]:
            return await context.keep(step, {"unsure": _unsure(tool)})
        await _within(made.check(tool, arguments), tool, spec.timeout_s, late=lambda: _silent(made, tool, spec.timeout_s))
        decision = await self.permit(context, tool, arguments)
        if not decision.allowed:
            refused: Json = {"why": decision.why, "rules": list(decision.rules), "retry_after_s": decision.retry_after_s}
            return await context.keep(step, {"refused": refused})
        if not spec.repeatable:
            await context.keep(step + BEGUN, context.attempt)
        use, began_s = Use(tool, arguments, context.workspace, spec.timeout_s, spec.result_kb << 10), monotonic_s()
        outcome: dict[str, Json] = {}
        try:
            outcome["result"] = await _within(made.run(use), tool, spec.timeout_s)
        except ToolFailed as error:
            if spec.repeatable:
                raise
            outcome["failed"] = str(error)
        finally:
            took_s, state = round(monotonic_s() - began_s, 3), "succeeded" if "result" in outcome else "failed"
            context.log.info("a tool was used", event=events.TOOL_USED, tool=tool, outcome=state, took_s=took_s)
        return await context.keep(step, outcome)

    # -- the fleet's tools

    def kind(self, tool: str) -> str:
        """Return which kind a tool is of, "" for one that there is none of."""
        spec = self._specs.get(names_of(tool))
        return spec.kind if spec else ""

    def _spec(self, tool: str) -> ToolSpec:
        spec = self._specs.get(names_of(tool))
        if spec is None or ("/" in tool) != (spec.kind == "mcp"):
            mend = did_you_mean(tool, self._specs) or ": declare it under the fleet's tools"
            raise ToolRefused(f"the fleet has no tool {tool!r}{mend}", tool=tool)
        return spec

    def _tool(self, name: str) -> Tool:
        """Return a tool, made when it is first asked for."""
        if name not in self._made:
            spec = self._specs[name]
            try:
                self._made[name] = self._new(name, spec)
            except FleetError as error:
                raise ToolRefused(f"the tool {name} can't be made: {error}", tool=name) from error
        return self._made[name]

    def _new(self, name: str, spec: ToolSpec) -> Tool:
        return McpTools(name, spec, self._first_said) if spec.kind == "mcp" else _KINDS[spec.kind](name, spec)


async def _within(work: Awaitable[Result], tool: str, limit_s: float, *, late: Callable[[], str] | None = None) -> Result:
    """Return what comes of `work`; ToolFailed where it takes too long, with what `late` says of that."""
    try:
        async with asyncio.timeout(limit_s):
            return await work
    except TimeoutError as error:
        why = late() if late else f"the tool {tool} took longer than {limit_s:g} s"
        raise ToolFailed(why, tool=tool) from error


def _silent(tool: Tool, name: str, limit_s: float) -> str:
    """Return why a tool can't be used that didn't answer within `limit_s` seconds, and what was wrong with its server before."""
    if not isinstance(tool, McpTools):
        return f"the tool {name} said nothing for {limit_s:g} s"
    said = f"the tool {name} can't be used now: " if "/" in name else ""
    before = f"; the last time, {tool.why_away}" if tool.why_away else ""
    return f"{said}the MCP server {names_of(name)} said nothing for {limit_s:g} s{before}"


def _told(tool: str, outcome: Json) -> Json:
    """Return a result, or raise what else became of a use."""
    assert isinstance(outcome, dict), "a use is journaled as a mapping"
    if "result" in outcome:
        return outcome["result"]
    return _raised(tool, outcome)


def _raised(tool: str, outcome: dict[str, Json]) -> NoReturn:
    match outcome:
        case {"refused": {"why": str(why), "rules": list(rules), "retry_after_s": float() | int() | None as retry_after_s}}:
            raise ToolRefused(why, tool=tool, rules=tuple(map(str, rules)), retry_after_s=retry_after_s)
        case {"unsure": str(why)}:
            raise ToolUnsure(why, tool=tool)
        case _:
            raise ToolFailed(str(outcome.get("failed")), tool=tool, final=True)


def _unsure(tool: str) -> str:
    return (
        f"the tool {tool} began in an earlier attempt that ended before it could say what came of it, so it may have run: "
        "look, and use it again if it hasn't; say repeatable: true of a tool that may simply run twice"
    )
