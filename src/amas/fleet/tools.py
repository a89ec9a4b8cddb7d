"""A fleet file's `tools:`: from what it says to `ToolSpec`s, and what is wrong with them and with the pools that name them.

`ToolsReading` and `grant_problems` look at the file alone; `tool_problems` imports functions, as `amas up` does with agents.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from amas.agents.tools.functions import PythonTool
from amas.errors import FleetError, FleetFileInvalid, SecretUnreadable
from amas.fleet.declared import Time
from amas.fleet.declared_tools import DeclaredHttpTool, DeclaredShellTool, DeclaredTool
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.meant import did_you_mean
from amas.model.tools import HttpTool, McpServer, Parameter, ShellTool, ToolSpec, names_of, placeholders
from amas.model.yamlfile import YamlFile
from amas.secrets import revealed

TIMEOUT_MAX_S = 3600.0
"""What takes longer is a task."""
RESULT_KB_MAX = 16 << 10
"""What is larger is a file in the task's folder."""
MEMORY_MB_MAX, CPU_MAX_S, PROCESSES_MAX, FILE_MB_MAX = 1 << 20, 86_400, 4096, 1 << 20
PROCESSES_MIN = 2
"""The sandbox's own beginnings count."""
SAFE_METHODS = frozenset({"GET", "HEAD"})

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_TYPES: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}

Found = Iterator[tuple[str, str]]
"""Fields within a tool, and what is wrong there."""


class ToolsReading:
    """Reads the tools of one file."""

    def __init__(self, file: YamlFile, seconds: Callable[[Time, str], float]) -> None:
        self._file, self._seconds = file, seconds

    def specs(self, said: Mapping[str, DeclaredTool]) -> dict[str, ToolSpec]:
        """Return the tools by name; FleetFileInvalid at the first mistake."""
        return {name: self._spec(name, each, f"tools.{name}") for name, each in said.items()}

    def _spec(self, name: str, said: DeclaredTool, at: str) -> ToolSpec:
        if not _NAME.fullmatch(name):
            raise self._file.invalid(f"{name!r} must be lower case words joined by hyphens, such as send-mail", at)
        if [bool(said.python), said.http is not None, said.shell is not None, said.mcp is not None].count(True) != 1:
            ways = "python: module:function, http: {url: ...}, shell: {command: [...]} or mcp: {command: [...]} or {url: ...}"
            raise self._file.invalid(f"must be one kind of tool: say one of {ways}", at)
        spec = ToolSpec(
            python=said.python,
            http=HttpTool(**msgspec.structs.asdict(said.http)) if said.http else None,
            shell=self._shell(said.shell, at) if said.shell else None,
            mcp=said.mcp,
            about=said.about,
            parameters={each: self._parameter(given, f"{at}.parameters.{each}") for each, given in said.parameters.items()},
            timeout_s=self._seconds(said.timeout, f"{at}.timeout"),
            result_kb=said.result_kb,
            repeatable=_safe(said.http) if said.repeatable is None else said.repeatable,
        )
        for field, message in _mistakes(spec):
            raise self._file.invalid(message, f"{at}.{field}")
        return spec

    def _shell(self, said: DeclaredShellTool, at: str) -> ShellTool:
        given = msgspec.structs.asdict(said)
        beside = Path(self._file.path).parent
        given["read"] = tuple(str((beside / Path(path).expanduser()).absolute()) for path in said.read)
        return ShellTool(cpu_s=round(self._seconds(given.pop("cpu"), f"{at}.shell.cpu")), **given)

    def _parameter(self, given: Any, at: str) -> Parameter:
        try:
            return msgspec.convert({"type": given} if isinstance(given, str) else given, Parameter)
        except msgspec.ValidationError as error:
            raise self._not_a_parameter(given, at, error) from error

    def _not_a_parameter(self, given: Any, at: str, error: msgspec.ValidationError) -> FleetFileInvalid:
        ways = "write string, integer, number or boolean, or {type: ..., about: ..., default: ...}"
        return self._file.invalid(f"{given!r} is no parameter ({str(error).partition(' - ')[0]}): {ways}", at)


def _safe(http: DeclaredHttpTool | None) -> bool:
    return http is not None and http.method in SAFE_METHODS


def _mistakes(spec: ToolSpec) -> Found:
    if not 0 < spec.timeout_s <= TIMEOUT_MAX_S:
        yield "timeout", f"is {spec.timeout_s:g} s, but must be more than 0 and up to {TIMEOUT_MAX_S:g} s"
    if not 1 <= spec.result_kb <= RESULT_KB_MAX:
        yield "result_kb", f"is {spec.result_kb}, but must be from 1 to {RESULT_KB_MAX}"
    if spec.parameters and not (spec.http or spec.shell):
        yield "parameters", f"are what {'its signature' if spec.python else 'its server'} says: remove them"
    for name, parameter in spec.parameters.items():
        yield from _of_parameter(name, parameter)
    if spec.python and not _FUNCTION.fullmatch(spec.python):
        yield "python", f"{spec.python!r} must be module:function, such as my_tools:look_up"
    if spec.http:
        yield from _of_http(spec.http, spec.parameters)
    if spec.shell:
        yield from _of_shell(spec.shell, spec.parameters)
    if spec.mcp:
        yield from _of_mcp(spec.mcp)


def _of_parameter(name: str, parameter: Parameter) -> Found:
    at, default = f"parameters.{name}", parameter.default
    if not name.isidentifier():
        yield at, f"{name!r} can't be a parameter's name: write letters, digits and _"
    if default is None:
        return
    if not isinstance(default, _TYPES[parameter.type]) or (isinstance(default, bool) and parameter.type != "boolean"):
        yield f"{at}.default", f"is {default!r}, which is no {parameter.type}"


def _of_http(http: HttpTool, parameters: Mapping[str, Parameter]) -> Found:
    if why := _address_mistake(http.url):
        yield "http.url", why
        return
    yield from _of_templates([("http.url", http.url)], parameters)
    parts = urlsplit(http.url)
    if "{" in f"{parts.scheme}{parts.netloc}":
        yield "http.url", "has a parameter in its host: an agent may fill in the path and the query only"
    yield from (("http.hosts", f"{host!r} is no host: write api.example.com") for host in http.hosts if "/" in host or not host)
    yield from _of_references("http.headers", http.headers)


def _of_shell(shell: ShellTool, parameters: Mapping[str, Parameter]) -> Found:
    if not shell.command or not shell.command[0]:
        yield "shell.command", "is empty: write a program and its arguments, such as [wc, -l, '{file}']"
        return
    yield from _of_templates([(f"shell.command[{index}]", part) for index, part in enumerate(shell.command)], parameters)
    if "{" in shell.command[0]:
        yield "shell.command[0]", "is filled in by the agent: name the program"
    used = {name for part in shell.command for name in placeholders(part)}
    for name in set(parameters) - used:
        yield f"parameters.{name}", f"stands nowhere in the command: write {{{name}}} where it belongs, or remove it"
    bounds = (
        ("memory_mb", shell.memory_mb, 16, MEMORY_MB_MAX),
        ("cpu", shell.cpu_s, 1, CPU_MAX_S),
        ("processes", shell.processes, PROCESSES_MIN, PROCESSES_MAX),
        ("file_mb", shell.file_mb, 1, FILE_MB_MAX),
    )
    for field, value, least, most in bounds:
        if not least <= value <= most:
            yield f"shell.{field}", f"is {value}, but must be from {least} to {most}"


def _of_mcp(mcp: McpServer) -> Found:
    if bool(mcp.command) == bool(mcp.url):
        yield "mcp", "needs one of command: [program, ...], which starts the server, and url:, where it is reached"
    if mcp.url and (why := _address_mistake(mcp.url)):
        yield "mcp.url", why
    if mcp.url and mcp.env:
        yield "mcp.env", "is for a server that is started by a command: use headers"
    if mcp.command and mcp.headers:
        yield "mcp.headers", "are for a server with a url: use env"
    yield from _of_references("mcp.headers", mcp.headers)
    yield from _of_references("mcp.env", mcp.env)


def _address_mistake(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname and not parts.username and parts.port != 0
    except ValueError:
        sound = False
    return "" if sound else f"{url!r} is no address: write https://host/path, with secrets under headers"


def _of_templates(templates: list[tuple[str, str]], parameters: Mapping[str, Parameter]) -> Found:
    for field, template in templates:
        try:
            names = placeholders(template)
        except ValueError as error:
            yield field, f"{template!r} is no template: {error}; a brace that is meant as such is written twice"
            continue
        for name in names:
            if name not in parameters:
                mend = did_you_mean(name, parameters) or f": declare it under parameters, such as {name}: string"
                yield field, f"there is no parameter {name!r}{mend}"


def _of_references(field: str, values: Mapping[str, str]) -> Found:
    for name, value in values.items():
        if "\n" in value or "\r" in value:
            yield f"{field}.{name}", "has more than one line"


def grant_problems(pool: PoolSpec, tools: Mapping[str, ToolSpec]) -> Found:
    """Return what is wrong with the tools that a pool names, whose field is `tools`."""
    for index, grant in enumerate(pool.tools):
        spec = tools.get(names_of(grant))
        if spec is None:
            mend = did_you_mean(names_of(grant), tools) or ": declare it under the fleet's tools"
            yield f"tools[{index}]", f"there is no tool {names_of(grant)!r}{mend}"
        elif "/" in grant and spec.mcp is None:
            yield (
                f"tools[{index}]",
                f"{names_of(grant)!r} is no MCP server, so it has no tools of its own: write {names_of(grant)}",
            )
        elif grant in pool.tools[:index]:
            yield f"tools[{index}]", f"{grant!r} stands here twice: keep one"


def tool_problems(spec: FleetSpec) -> Found:
    """Import the functions that tools name, look for the secrets that they need, and return what is wrong."""
    for name, tool in spec.tools.items():
        if tool.python:
            try:
                PythonTool(name, tool)
            except FleetError as error:
                yield f"tools.{name}.python", str(error)
        for section, values in _secrets(tool):
            for key, value in values.items():
                try:
                    revealed({key: value})
                except SecretUnreadable as error:
                    yield f"tools.{name}.{section}.{key}", str(error)


def _secrets(tool: ToolSpec) -> Iterator[tuple[str, Mapping[str, str]]]:
    if tool.http:
        yield "http.headers", tool.http.headers
    if tool.mcp:
        yield "mcp.headers", tool.mcp.headers
        yield "mcp.env", tool.mcp.env
