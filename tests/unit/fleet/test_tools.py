"""`tools:` of a fleet file: what it becomes, and how its mistakes are told."""

from pathlib import Path

import pytest

from amas.errors import FleetFileInvalid
from amas.fleet.load import load_fleet
from amas.model.fleet import FleetSpec
from amas.model.tools import Parameter, granted, users_of

POOL = "\npools:\n  - {name: one, layer: executive, agent: 'sample_agents:echo', capabilities: [test.echo], tools: [%s]}\n"


def fleet(folder: Path, tools: str, grants: str = "", *, agents: bool = False) -> FleetSpec:
    path = folder / "fleet.yaml"
    path.write_text("name: tools\ntools:\n" + tools + POOL % grants)
    return load_fleet(path, agents=agents)


def test_a_tool_is_what_its_file_says(tmp_path: Path) -> None:
    spec = fleet(
        tmp_path,
        "  look: {http: {url: 'https://x.example/{id}?q={q}'}, parameters: {id: integer, q: {type: string, default: all}}}\n"
        "  send: {http: {url: 'https://x.example/', method: POST}, timeout: 2m}\n"
        "  sort: {shell: {command: [sort, '{file}'], read: [data], cpu: 2m}, parameters: {file: string}}\n"
        "  docs: {mcp: {command: [docs-server]}}\n",
        "look, docs/search",
    )
    assert [(name, tool.kind, tool.repeatable) for name, tool in spec.tools.items()] == [
        ("look", "http", True), ("send", "http", False), ("sort", "shell", False), ("docs", "mcp", False)
    ]  # fmt: skip
    assert spec.tools["look"].parameters == {"id": Parameter(type="integer"), "q": Parameter(default="all")}
    assert spec.tools["send"].timeout_s == 120
    shell = spec.tools["sort"].shell
    assert shell is not None and shell.read == (str(tmp_path / "data"),) and shell.cpu_s == 120
    assert spec.pools[0].grants == ("look", "docs/search")


@pytest.mark.parametrize(
    ("tools", "grants", "line", "field", "why"),
    [
        ("  Look: {python: 'a:b'}", "", 3, "tools.Look", "lower case words"),
        ("  look: {about: x}", "", 3, "tools.look", "say one of python"),
        ("  look: {python: 'a:b', mcp: {command: [x]}}", "", 3, "tools.look", "say one of python"),
        ("  look: {python: 'a.b'}", "", 3, "tools.look.python", "module:function"),
        ("  look: {python: 'a:b', parameters: {x: string}}", "", 3, "tools.look.parameters", "its signature says"),
        ("  look: {python: 'a:b', timeout: 2d}", "", 3, "tools.look.timeout", "up to 3600 s"),
        ("  look: {python: 'a:b', result_kb: 0}", "", 3, "tools.look.result_kb", "from 1 to"),
        ("  look:\n    http: {url: 'ftp://x/'}", "", 4, "tools.look.http.url", "no address"),
        ("  look: {http: {url: 'https://u:p@x/'}}", "", 3, "tools.look.http.url", "no address"),
        ("  look: {http: {url: 'https://{host}/'}, parameters: {host: string}}", "", 3, "tools.look.http.url", "in its host"),
        ("  look: {http: {url: 'https://x/{idd}'}, parameters: {id: string}}", "", 3, "tools.look.http.url", "did you mean 'id'"),
        ("  look: {http: {url: 'https://x/{id!r}'}, parameters: {id: string}}", "", 3, "tools.look.http.url", "no template"),
        ("  look: {http: {url: 'https://x/{id'}, parameters: {id: string}}", "", 3, "tools.look.http.url", "no template"),
        ("  look: {http: {url: 'https://x/', hosts: ['https://y/']}}", "", 3, "tools.look.http.hosts", "no host"),
        ("  look: {http: {url: 'https://x/'}, parameters: {id: text}}", "", 3, "tools.look.parameters.id", "no parameter"),
        (
            "  look: {http: {url: 'https://x/'}, parameters: {n: {type: integer, default: x}}}",
            "", 3, "tools.look.parameters.n.default", "which is no integer",
        ),
        ("  sh: {shell: {command: []}}", "", 3, "tools.sh.shell.command", "is empty"),
        ("  sh: {shell: {command: ['{x}']}, parameters: {x: string}}", "", 3, "tools.sh.shell.command[0]", "filled in by"),
        ("  sh: {shell: {command: [ls]}, parameters: {x: string}}", "", 3, "tools.sh.parameters.x", "stands nowhere"),
        ("  sh: {shell: {command: [ls], memory_mb: 1}}", "", 3, "tools.sh.shell.memory_mb", "from 16"),
        ("  sh: {shell: {command: [ls], cpu: soon}}", "", 3, "tools.sh.shell.cpu", "is no time"),
        ("  docs: {mcp: {command: [x], url: 'https://x/'}}", "", 3, "tools.docs.mcp", "one of command"),
        ("  docs: {mcp: {url: 'https://x/', env: {A: b}}}", "", 3, "tools.docs.mcp.env", "use headers"),
        ("  look: {python: 'a:b'}", "lok", 5, "pools[0].tools[0]", "did you mean 'look'"),
        ("  look: {python: 'a:b'}", "look/it", 5, "pools[0].tools[0]", "no MCP server"),
        ("  look: {python: 'a:b'}", "look, look", 5, "pools[0].tools[1]", "stands here twice"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, tools: str, grants: str, line: int, field: str, why: str) -> None:
    with pytest.raises(FleetFileInvalid, match=why) as told:
        fleet(tmp_path, tools, grants)
    assert (told.value.line, told.value.field) == (line, field)


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ("python: 'tool_agents:nothing'", "has no attribute 'nothing'"),
        ("python: 'tool_agents:positional'", "can't be given by name"),
        ("http: {url: 'https://x.example/', headers: {Authorization: 'env:NOBODY_SET_THIS'}}", "no variable NOBODY_SET_THIS"),
        ("mcp: {command: [x], env: {A: 'file:/nowhere/at/all'}}", "can't be read"),
    ],
)
def test_what_a_tool_needs_is_looked_for_before_the_fleet_starts(tmp_path: Path, tool: str, why: str) -> None:
    with pytest.raises(FleetFileInvalid, match=why) as told:
        fleet(tmp_path, f"  look: {{{tool}}}", agents=True)
    assert told.value.line == 3


def test_a_grant_is_for_a_tool_or_a_server() -> None:
    assert granted("docs/search", ["docs"]) and granted("docs/search", ["docs/search"]) and granted("sort", ["x", "sort"])
    assert not granted("docs/search", ["docs/list"]) and not granted("docs", ["docs/search"]) and not granted("docsx", ["docs"])
    grants = {"one": ["docs"], "two": ["docs/search"], "three": ["sort"]}
    assert users_of("docs", grants) == ["one", "two"] and users_of("docs/list", grants) == ["one"]
