"""The part `tools` of a fleet file as it is written; `tools.py` makes `ToolSpec`s of it."""

from typing import Any

import msgspec

from amas.model.tools import RESULT_KB, TIMEOUT_S, McpServer, Method


class DeclaredHttpTool(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a server."""

    url: str
    method: Method = "GET"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    private: bool = False


class DeclaredShellTool(msgspec.Struct, frozen=True, kw_only=True):
    """A command in a sandbox."""

    command: tuple[str, ...]
    read: tuple[str, ...] = ()
    memory_mb: int = 256
    cpu: float | str = 30
    processes: int = 64
    file_mb: int = 256


class DeclaredTool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool."""

    python: str = ""
    http: DeclaredHttpTool | None = None
    shell: DeclaredShellTool | None = None
    mcp: McpServer | None = None
    about: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    """By name: a type, or a mapping with `type`, `about` and `default`."""
    timeout: float | str = TIMEOUT_S
    result_kb: int = RESULT_KB
    repeatable: bool | None = None
    """Not said: true for requests that by their method change nothing."""
