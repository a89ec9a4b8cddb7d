"""Tools of an MCP server: reached or started once for each host, listed, and called as `server/tool`.

What the server said of its tools when a host of the fleet first asked stands: agents and models see that, arguments are checked
against it, and a tool of which it says something else later is refused, as is one that wasn't there. What the fleet file pins
stands from the start. A server that ends is started again when it is used next, later each time. What it asks of us is refused.
Source: https://modelcontextprotocol.io/specification
"""

import asyncio
import hashlib
import importlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import msgspec

from amas.agents.tools.base import Use, bounded
from amas.clock import monotonic_s
from amas.errors import EngineError, FleetError, SecretUnreadable, ToolFailed, ToolMisused, ToolRefused
from amas.model.task import Json
from amas.model.tools import ToolCard, ToolSpec
from amas.observe.tracing import current
from amas.secrets import revealed, revealed_headers, scrubbed, scrubbed_line

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import RequestParamsMeta

    from amas.agents.tools.mcp_wire import ServerAddress, ServerProcess

START_S = 30.0
"""Seconds for a server to start and to say what it can."""
END_S = 5.0
"""Seconds for a connection to be closed in good order."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 60.0
STEADY_S = 60.0
"""A server that lived so long ended for the first time."""
TOOLS_MAX = 500
PAGES_MAX = 50
ABOUT_CHARS_MAX = 4096
SCHEMA_BYTES_MAX = 64 << 10
DIGEST_CHARS = 16

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_UNCHECKED = frozenset({"pattern", "patternProperties", "format", "unevaluatedProperties"})
"""A foreign regular expression can take for ever; the server looks at its own."""
CHECKS_MAX = 30_000
"""Rules that are applied to one use's arguments, a second's work: a few references can stand for more than there are atoms."""


FirstSaid = Callable[[str, Mapping[str, str]], Awaitable[Mapping[str, str]]]
"""Returns the digests that stand for a server: those that the fleet's first host was told, or else these."""


def _load() -> None:
    """Import the package and what we make of it: a second's work, for a thread, since a host's loop would stand still."""
    for name in ("mcp.types", "jsonschema.validators", "amas.agents.tools.mcp_wire"):
        importlib.import_module(name)


async def nobody_before(_: str, said: Mapping[str, str]) -> Mapping[str, str]:
    """Let what a server says now stand: where there is no fleet."""
    return said


class McpTools:
    """One server's tools."""

    def __init__(self, name: str, spec: ToolSpec, first_said: FirstSaid = nobody_before) -> None:
        """FleetError where the package isn't there."""
        assert spec.mcp is not None, "an mcp tool says mcp"
        if find_spec("mcp") is None:
            raise FleetError("an MCP server needs the extra `mcp`: pip install 'amas[mcp]'")
        self._name, self._spec, self._mcp, self._first_said = name, spec, spec.mcp, first_said
        self._known: dict[str, ToolCard] = {}
        """What stands, by the server's own names; empty until it was asked."""
        self._stands: Mapping[str, str] = {}
        """The digests that their words must have."""
        self._changed: dict[str, str] = {}
        """The digests of those of which it says something else by now."""
        self._connection: _Connection | None = None
        self._lock = asyncio.Lock()
        self._ends, self._not_before_s = 0, 0.0
        self._closed = False
        self.why_away = ""
        """Why the server couldn't be reached the last time that it was tried; empty once it is."""

    async def cards(self) -> Sequence[ToolCard]:
        """Ask the server, where it wasn't asked yet."""
        if not self._known:
            await self._connected()
        return list(self._known.values())

    async def check(self, tool: str, arguments: dict[str, Json]) -> None:
        """Compare them with the schema that stands, and what the server says of the tool with what it said."""
        short = tool.partition("/")[2]
        await self._connected()
        if short in self._changed:
            raise ToolRefused(self._why_changed(short), tool=tool)
        card = self._known.get(short)
        if card is None:
            named = ", ".join(list(self._known)[:20]) or "none"
            raise ToolRefused(
                f"the MCP server {self._name} had no tool {short!r} when it was first asked; it had {named}", tool=tool
            )
        _check(tool, card.parameters, arguments)

    async def run(self, use: Use) -> Json:
        """Call it; its result is what it answers as structured content, else its text, else its parts."""
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED

        connection, short = await self._connected(), use.tool.partition("/")[2]
        if short in self._changed:  # since it was checked
            raise ToolFailed(self._why_changed(short), tool=use.tool)
        connection.calls += 1
        try:
            result = await connection.client.call_tool(short, use.arguments, meta=_meta())
        except asyncio.CancelledError:
            connection.relist = True  # it may hang: whoever comes next asks it first
            raise
        except (MCPError, RuntimeError, ValueError, OSError) as error:  # what the server, or what is between, did wrong
            if isinstance(error, MCPError) and error.code == CONNECTION_CLOSED:
                connection.lost()
            why = connection.why_ended or str(error) or type(error).__name__
            raise ToolFailed(f"the tool {use.tool} failed: {scrubbed(why)}", tool=use.tool) from error
        finally:
            connection.calls -= 1
        content = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in result.content]
        texts = [str(each.get("text", "")) for each in content if each.get("type") == "text"]
        if result.is_error:
            raise ToolFailed(f"the tool {use.tool} failed: {scrubbed(' '.join(texts))[:2000]}", tool=use.tool)
        said: Any = content
        if result.structured_content is not None:
            said = result.structured_content
        elif len(texts) == len(content):
            said = "\n".join(texts)
        told = bounded(use.tool, said, use.result_bytes_max)
        return msgspec.json.decode(scrubbed_line(msgspec.json.encode(told)))

    def _why_changed(self, short: str) -> str:
        return (
            f"the MCP server {self._name} says something else of its tool {short!r} than before (digest {self._stands[short]}, "
            f"now {self._changed[short] or 'nothing'}): look at it, and pin the new digest in the fleet file where that is meant"
        )

    async def close(self) -> None:
        """End the connection, and the server where it is ours; who is about to start one finds that it's over."""
        self._closed = True
        await self._left()

    async def _left(self) -> None:
        if self._connection:
            await self._connection.close()
            self._connection = None

    # -- the connection

    async def _connected(self) -> "_Connection":
        """Return a connection to the server, made anew where there is none, after a pause where it keeps ending."""
        async with self._lock:
            held = self._connection
            if held and held.alive:
                if held.relist:
                    await self._ask_again(held)
                return held
            if held:
                await self._left()
                self._ended(after_s=monotonic_s() - held.began_s)
            if (pause_s := self._not_before_s - monotonic_s()) > 0:
                await asyncio.sleep(pause_s)
            made = _Connection(self._name, await self._wire())
            try:
                async with asyncio.timeout(START_S):
                    await made.open()
                    await self._compare(await self._listed(made))
            except BaseException as error:
                await made.close()
                self._ended(after_s=0.0)
                if isinstance(error, ToolFailed):
                    self.why_away = str(error)
                if isinstance(error, TimeoutError):
                    raise ToolFailed(f"the MCP server {self._name} says nothing for {START_S:g} s", tool=self._name) from error
                raise
            self._connection, self.why_away = made, ""
            if self._closed:
                await self._left()
                raise ToolFailed(f"the MCP server {self._name} was declared anew: use it again", tool=self._name)
            return made

    async def _ask_again(self, held: "_Connection") -> None:
        """Ask a server again what it can, that says this changed or left a call unanswered; one that keeps silent is given up."""
        held.relist = False
        try:
            async with asyncio.timeout(START_S):
                await self._compare(await self._listed(held))
        except BaseException as error:
            held.relist = True
            if not held.calls:  # else it may be busy with them
                held.lost("it left a call unanswered")
            if isinstance(error, TimeoutError):
                raise ToolFailed(f"the MCP server {self._name} says nothing for {START_S:g} s", tool=self._name) from error
            raise

    async def _wire(self) -> "ServerProcess | ServerAddress":
        await asyncio.to_thread(_load)
        from amas.agents.tools.mcp_wire import ServerAddress, ServerProcess

        mcp = self._mcp
        try:
            resolved = await (
                asyncio.to_thread(revealed_headers, mcp.headers) if mcp.url else asyncio.to_thread(revealed, mcp.env)
            )
        except SecretUnreadable as error:
            raise ToolFailed(f"the MCP server {self._name} lacks a secret: {error}", tool=self._name) from error
        if mcp.url:
            return ServerAddress(self._name, mcp.url, resolved, private=mcp.private)
        return ServerProcess(mcp.command, resolved)

    def _ended(self, *, after_s: float) -> None:
        self._ends = 1 if after_s > STEADY_S else self._ends + 1
        self._not_before_s = monotonic_s() + min(PAUSE_MIN_S * 2 ** (self._ends - 1), PAUSE_MAX_S)

    async def _listed(self, connection: "_Connection") -> dict[str, ToolCard]:
        """Return what the server says of its tools now; those whose names or schemas can't be used are left out."""
        from mcp import MCPError

        found: dict[str, ToolCard] = {}
        cursor: str | None = None
        try:
            for _ in range(PAGES_MAX):
                page = await connection.client.list_tools(cursor=cursor)
                for tool in page.tools:
                    said = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
                    schema = said.get("inputSchema") or {}
                    size = len(msgspec.json.encode(schema))
                    if _NAME.fullmatch(tool.name) and size <= SCHEMA_BYTES_MAX and len(found) < TOOLS_MAX:
                        about = str(said.get("description") or said.get("title") or "")[:ABOUT_CHARS_MAX]
                        found[tool.name] = ToolCard(
                            name=f"{self._name}/{tool.name}", kind="mcp", about=about, parameters=schema, digest=digest(said)
                        )
                cursor = page.next_cursor
                if cursor is None:
                    break
        except (MCPError, ValueError, OSError) as error:
            why = connection.why_ended or str(error)
            raise ToolFailed(f"the MCP server {self._name} doesn't say what it can do: {why}", tool=self._name) from error
        return found

    async def _compare(self, listed: dict[str, ToolCard]) -> None:
        """Note what differs from what stands. That is shown to nobody: who wrote it may have meant it for a model's eyes."""
        if not self._stands:
            self._stands = self._mcp.pinned or await self._said_first({name: card.digest for name, card in listed.items()})
        self._known |= {name: card for name, card in listed.items() if card.digest == self._stands.get(name)}
        now = {name: listed[name].digest if name in listed else "" for name in self._stands}
        self._changed = {name: digest for name, digest in now.items() if digest != self._stands[name]}

    async def _said_first(self, said: Mapping[str, str]) -> Mapping[str, str]:
        """Return what stands of a server that says this; one that is declared in another way is another."""
        if not said:
            return said
        declared = hashlib.sha256(msgspec.json.encode(self._mcp, order="deterministic")).hexdigest()[:DIGEST_CHARS]
        try:
            return await self._first_said(f"{self._name} {declared}", said)
        except EngineError as error:
            why = f"the engine can't say what the MCP server {self._name} said of its tools before: {error}"
            raise ToolFailed(why, tool=self._name) from error


class _Connection:
    """One life of a connection, in a task of its own, as the package wants it."""

    def __init__(self, server: str, wire: "ServerProcess | ServerAddress") -> None:
        self._server, self._wire = server, wire
        self._over = asyncio.Event()
        self._opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self.began_s = monotonic_s()
        self.relist = False
        """Whether the server is to be asked again what it can: it said that this has changed, or left a call unanswered."""
        self.calls = 0
        """Under way."""

    @property
    def client(self) -> "Client":
        """Who talks."""
        return self._opened.result()

    @property
    def alive(self) -> bool:
        """Whether the server hasn't gone away, as far as is known."""
        return self._task is not None and not self._task.done() and not self.why_ended

    @property
    def why_ended(self) -> str:
        """Why it went away; empty while it didn't."""
        return self._wire.why_ended

    def lost(self, why: str = "the connection was closed") -> None:
        """Note that it's of no use any more."""
        self._wire.why_ended = self._wire.why_ended or why

    async def open(self) -> None:
        """Return when the server answers; ToolFailed where it doesn't."""
        self._task = asyncio.create_task(self._live(), name=f"mcp-{self._server}")
        await asyncio.shield(self._opened)

    async def close(self) -> None:
        """End it: in good order where it was open and that is soon done."""
        self._over.set()
        if self._task:
            if not self._opened.done():
                self._task.cancel()
            try:
                await asyncio.wait((self._task,), timeout=END_S)
            finally:  # whoever closes may be stopped as well
                self._task.cancel()
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()  # somebody has looked

    async def _live(self) -> None:
        from mcp import Client
        from mcp.types import ToolListChangedNotification

        async def heard(message: Any) -> None:
            self.relist = self.relist or isinstance(getattr(message, "root", message), ToolListChangedNotification)

        try:
            async with Client(self._wire.opened(), cache=None, message_handler=heard) as client:
                self._opened.set_result(client)
                await self._over.wait()
        except Exception as error:  # noqa: BLE001  the server, or what lies between, may do anything
            if not self._opened.done():
                why = self.why_ended or f"{self._wire.place}{'; '.join(map(str, _leaves(error)))}"
                self._opened.set_exception(ToolFailed(f"the MCP server {self._server} can't be used: {why}", tool=self._server))


def _meta() -> "RequestParamsMeta | None":
    """Return what goes with a call besides its arguments: where it stands in a trace, as the specification has it."""
    place = current()
    return cast("RequestParamsMeta", {"traceparent": place}) if place else None


def digest(said: dict[str, Any]) -> str:
    """Return a digest of all that a server says of a tool."""
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()[:DIGEST_CHARS]


class _TooMuch(Exception):
    """A schema takes more than CHECKS_MAX rules."""


def _check(tool: str, schema: dict[str, Json], arguments: dict[str, Json]) -> None:
    """Compare arguments with a server's schema, which is foreign: without its patterns, and without fetching anything."""
    from jsonschema.exceptions import SchemaError, best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = _validator()
    _left.set([CHECKS_MAX])
    try:
        kind.check_schema(schema)
        wrong = best_match(kind(schema, registry=Registry()).iter_errors(arguments))
    except (SchemaError, Unresolvable, RecursionError, _TooMuch) as error:
        why = f"it takes over {CHECKS_MAX} rules" if isinstance(error, _TooMuch) else str(error)[:500]
        raise ToolFailed(f"the schema of the tool {tool} can't be used: {why}", tool=tool) from error
    if wrong is not None:
        raise ToolMisused(
            f"the tool {tool} doesn't take these arguments: {wrong.message[:500]} - at {wrong.json_path}", tool=tool
        )


_left: ContextVar[list[int]] = ContextVar("rules left")


@cache
def _validator() -> Any:
    """Return what checks arguments by a foreign schema: no patterns, and so many rules at most."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    def counted(rule: Any) -> Any:
        def apply(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
            left = _left.get()
            left[0] -= 1
            if left[0] < 0:
                raise _TooMuch
            return rule(validator, value, instance, schema)

        return apply

    def further(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        known: Any = Draft202012Validator.VALIDATORS["additionalProperties"]
        return () if "patternProperties" in schema else known(validator, value, instance, schema)

    rules = {name: counted(rule) for name, rule in Draft202012Validator.VALIDATORS.items()}
    rules |= {"additionalProperties": counted(further), **dict.fromkeys(_UNCHECKED, lambda *_: ())}
    return extend(Draft202012Validator, rules)


def _leaves(error: BaseException) -> Iterable[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
