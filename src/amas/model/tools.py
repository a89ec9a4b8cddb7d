"""Tools as a fleet file declares them (docs/tools.md): what agents do outside their own code.

`FleetSpec.tools` has them by name, and a pool's `tools` names those that its agents may use. `agents/tools/` runs them.
"""

from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Literal

import msgspec

from amas.model.flow import RESERVED_PREFIX
from amas.model.task import Json

TIMEOUT_S = 60.0
RESULT_KB = 256
"""Of a result, where its tool says nothing: what a model or a person can still read."""

STEPS = f"{RESERVED_PREFIX}tool/"
"""Before the steps that uses of tools are journaled as."""

ParameterType = Literal["string", "integer", "number", "boolean"]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
ToolKind = Literal["python", "http", "shell", "mcp"]


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One argument of a tool that is no function and so has no signature."""

    type: ParameterType = "string"
    about: str = ""
    default: str | int | float | bool | None = None
    """None: it has to be given."""


class HttpTool(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a server."""

    url: str
    """With `{parameter}` in its path or query; its host is the only one that is called, besides `hosts`."""
    method: Method = "GET"
    headers: dict[str, str] = {}
    """A value `env:NAME` or `file:/path` is what stands there on the host, so no secret stands in a file or the journal."""
    hosts: tuple[str, ...] = ()
    """Where a redirect may lead besides; the headers don't go there."""
    private: bool = False
    """Whether its address may be one of this machine's or of a private network."""


class ShellTool(msgspec.Struct, frozen=True, kw_only=True):
    """A command in a sandbox."""

    command: tuple[str, ...]
    """The program and its arguments, with `{parameter}` within them; no shell reads them."""
    read: tuple[str, ...] = ()
    """Folders and files that it sees, read only, besides the system's programs."""
    memory_mb: int = 256
    """MiB, of all its processes together."""
    cpu_s: int = 30
    """CPU seconds of each of its processes."""
    processes: int = 64
    """At a time."""
    file_mb: int = 256
    """MiB, of each file that it writes."""


class McpServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server of the Model Context Protocol, whose tools are `name/tool`."""

    command: tuple[str, ...] = ()
    """Starts it, once for each host, and talks to it over its standard input and output."""
    url: str = ""
    """Where it is reached by streamable HTTP, in place of `command`."""
    env: dict[str, str] = {}
    """Of the command, which sees next to nothing else of the host's environment; `env:` and `file:` as in headers."""
    headers: dict[str, str] = {}
    private: bool = False
    """Whether the address may be one of this machine's or of a private network."""
    pinned: dict[str, str] = {}
    """Digests of its tools, by name, as `amas tools --probe` shows them; where any is named, no other tool is there."""


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One tool, of one of four kinds."""

    python: str = ""
    """`module:function`, called in the host."""
    http: HttpTool | None = None
    shell: ShellTool | None = None
    mcp: McpServer | None = None
    about: str = ""
    """For models and people; of a function by default its docstring's first line."""
    parameters: dict[str, Parameter] = {}
    """Of `http` and `shell`; functions and MCP servers say themselves what they take."""
    timeout_s: float = TIMEOUT_S
    """Seconds for one use."""
    result_kb: int = RESULT_KB
    """KiB of a result as JSON."""
    repeatable: bool = False
    """Whether a use may simply be done again where nobody knows what came of it."""

    @property
    def kind(self) -> ToolKind:
        """Which of the four."""
        if self.python:
            return "python"
        return "http" if self.http else "shell" if self.shell else "mcp"


class ToolCard(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as those see it who may use it."""

    name: str
    kind: ToolKind
    about: str
    parameters: dict[str, Json]
    """A JSON schema of its arguments."""
    digest: str = ""
    """Of what an MCP server says of it; empty for the other kinds."""
    missing: str = ""
    """Why it can't be used now, in a sentence; an MCP server that doesn't answer has such a card in the place of its tools."""


def names_of(grant: str) -> str:
    """Return the name in the fleet file of the tool that a grant is about: `docs` of `docs/search`."""
    return grant.partition("/")[0]


def granted(tool: str, grants: Iterable[str]) -> bool:
    """Return whether one of the grants is for a tool: it names it, or the MCP server whose tool it is."""
    return any(grant in (tool, names_of(tool)) for grant in grants)


def use_step(tool: str, key: str) -> str:
    """Return the step that one use of a tool is journaled as; `key` tells apart the uses within a task."""
    return f"{STEPS}{tool}/{key}"


def placeholders(text: str) -> list[str]:
    """Return the names in braces of a template; ValueError where the braces don't match or hold more than a name."""
    names = []
    for _, name, form, conversion in Formatter().parse(text):
        if name is None:
            continue
        if not name.isidentifier() or form or conversion:
            raise ValueError(f"{{{name}}} is no parameter's name")
        names.append(name)
    return names


def users_of(tool: str, grants: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the pools, of those whose grants are given, that may use a tool, or some of an MCP server's."""
    return sorted(
        pool for pool, named in grants.items() if granted(tool, named) or any(tool == names_of(grant) for grant in named)
    )
