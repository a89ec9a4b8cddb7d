"""MCP servers as tools: real ones, written with the package, that misbehave."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from amas.agents.tools import mcp_server
from amas.agents.tools.base import Use
from amas.agents.tools.mcp_server import McpTools
from amas.engine.connection import Engine
from amas.engine.tools import ToolLedger
from amas.errors import ToolFailed, ToolMisused, ToolRefused
from amas.model.tools import McpServer, ToolSpec

SAMPLES = Path(__file__).parents[2] / "samples"
SERVER = str(SAMPLES / "mcp_server.py")


@asynccontextmanager
async def tools(server: McpServer, *of: Any) -> AsyncIterator[McpTools]:
    made = McpTools("docs", ToolSpec(mcp=server), *of)
    try:
        yield made
    finally:
        await made.close()


def process(folder: Path, **more: Any) -> McpServer:
    return McpServer(command=(sys.executable, SERVER, "stdio", str(folder)), **more)


def hostile(folder: Path, **more: Any) -> McpServer:
    return McpServer(command=(sys.executable, "-S", str(SAMPLES / "hostile_mcp.py"), str(folder)), **more)


async def call(made: McpTools, name: str, arguments: dict[str, Any] | None = None, *, timeout_s: float = 60.0) -> Any:
    use = Use(f"docs/{name}", arguments or {}, Path("/"), timeout_s, 64 << 10)
    await made.check(use.tool, use.arguments)
    async with asyncio.timeout(timeout_s):
        return await made.run(use)


def starts(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "starts").read_text().split()]


async def test_a_servers_tools_are_listed_checked_and_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMAS_SECRET", "hidden")
    monkeypatch.setenv("DOCS_TOKEN", "tok-123456")
    async with tools(process(tmp_path, env={"TOKEN": "env:DOCS_TOKEN"})) as made:
        cards = {card.name: card for card in await made.cards()}
        assert cards["docs/add"].about == "Add two numbers." and cards["docs/add"].parameters["required"] == ["a", "b"]
        assert await call(made, "add", {"a": 2, "b": 3}) == {"result": 5}
        with pytest.raises(ToolMisused, match="'two' is not of type 'integer'"):
            await call(made, "add", {"a": "two", "b": 3})
        with pytest.raises(ToolRefused, match="had no tool 'subtract'"):
            await call(made, "subtract")
        with pytest.raises(ToolFailed, match="Error executing tool broken"):
            await call(made, "broken")
        known = (await call(made, "environment"))["result"]
        assert "hidden" not in known and "TOKEN=[env:DOCS_TOKEN]" in known and "tok-123456" not in known
        with pytest.raises(TimeoutError):
            await call(made, "hang", timeout_s=0.2)
        assert await call(made, "add", {"a": 1, "b": 1}) == {"result": 2}, "a call that hangs holds up no other"
    assert len(starts(tmp_path)) == 1
    assert not Path(f"/proc/{starts(tmp_path)[0]}").exists()


async def test_a_server_that_ends_is_started_again_later_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_server, "PAUSE_MIN_S", 0.01)
    async with tools(hostile(tmp_path)) as made:
        for _ in range(2):
            with pytest.raises(ToolFailed, match="it ended: a last word"):
                await call(made, "die")
        assert await call(made, "add", {"a": 1, "b": 2}) == "3"
        assert made._ends == 2 and len(starts(tmp_path)) == 3
        (tmp_path / "ends").touch()
        with pytest.raises(ToolFailed):
            await call(made, "die")
        with pytest.raises(ToolFailed, match="can't be used: it ended: it won't start"):
            await call(made, "add", {"a": 1, "b": 2})
        assert made._ends == 4
        (tmp_path / "ends").unlink()
        with pytest.raises(ToolFailed, match="more than 8 MiB at once"):
            await call(made, "huge")
        assert await call(made, "nonsense") == "0"
        assert await call(made, "add", {"a": 1, "b": 2}) == "3"


async def test_what_a_server_says_first_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_server, "PAUSE_MIN_S", 0.01)
    async with tools(hostile(tmp_path)) as made:
        first = (await made.cards())[0]
        assert {card.name for card in await made.cards()} == {
            f"docs/{name}" for name in ("add", "die", "huge", "change", "nonsense", "hang", "deaf", "leave")
        }
        await call(made, "change")
        await until_it_is_refused(made)
        with pytest.raises(ToolFailed):
            await call(made, "die")
        with pytest.raises(ToolRefused, match=f"says something else of its tool 'add' than before .digest {first.digest}, now"):
            await call(made, "add", {"a": 1, "b": 2})
        assert await call(made, "nonsense") == "0", "its other tools are what they were"
        assert first in await made.cards(), "nobody gets to see the new words"
    async with tools(hostile(tmp_path, pinned={"add": first.digest})) as made:
        assert await made.cards() == [], "nor words that aren't those that are pinned"
        with pytest.raises(ToolRefused, match="says something else"):
            await call(made, "add", {"a": 1, "b": 2})
        with pytest.raises(ToolRefused, match="had no tool 'die'"):
            await call(made, "die")


async def test_what_a_server_said_first_stands_for_every_host_and_after_a_restart(tmp_path: Path, engine: Engine) -> None:
    """A server that is updated behind the fleet's back, by `npx` for one, isn't believed anew because a host is new."""
    said, sums = ToolLedger(engine).first_said, {"a": 1, "b": 2}
    async with tools(process(tmp_path), said) as made:
        assert await call(made, "add", sums) == {"result": 3}
        first = next(card for card in await made.cards() if card.name == "docs/add")
    (tmp_path / "changed").touch()
    async with tools(process(tmp_path), said) as made:
        assert "docs/add" not in {card.name for card in await made.cards()}, "no model reads what it says by now"
        with pytest.raises(ToolRefused, match=f"digest {first.digest}, now .*pin the new digest in the fleet file"):
            await call(made, "add", sums)
        assert "PATH" in str(await call(made, "environment")), "its other tools are what they were"
    async with tools(process(tmp_path)) as looked_at:  # as `amas tools --probe` does
        now = next(card for card in await looked_at.cards() if card.name == "docs/add")
    async with tools(process(tmp_path, pinned={"add": now.digest}), said) as made:
        assert await call(made, "add", sums) == {"result": 3}, "somebody has looked at it"
    (tmp_path / "changed").unlink()
    async with tools(process(tmp_path), said) as made:
        assert await call(made, "add", sums) == {"result": 3}
    async with tools(process(tmp_path, env={"MODE": "new"}), said) as made:
        assert len(await made.cards()) > 3, "one that is declared in another way is another"


async def until_it_is_refused(made: McpTools) -> None:
    """Return when the server's word that its tools have changed was heard."""
    async with asyncio.timeout(60):
        while True:
            try:
                await made.check("docs/add", {"a": 1, "b": 2})
            except ToolRefused:
                return
            await asyncio.sleep(0.01)


async def test_a_server_with_an_address_is_reached_where_that_is_declared(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = await asyncio.create_subprocess_exec(
        sys.executable, SERVER, str(port), str(tmp_path), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        url = f"http://127.0.0.1:{port}/mcp"
        async with tools(McpServer(url=url)) as made:
            with pytest.raises(ToolFailed, match="no public address: say private: true"):
                await call(made, "add", {"a": 1, "b": 2})
        async with tools(McpServer(url=url, private=True)) as made:
            assert await call(made, "add", {"a": 1, "b": 2}) == {"result": 3}
            with pytest.raises(ToolFailed, match="docs/huge"):
                await call(made, "huge")
            assert await call(made, "add", {"a": 2, "b": 2}) == {"result": 4}
    finally:
        server.kill()
        await server.wait()


async def said(file: Path) -> None:
    """Return when a server has made a file."""
    async with asyncio.timeout(60):
        while not file.exists():
            await asyncio.sleep(0.01)


async def test_a_server_whose_program_is_not_there_is_told_by_its_name() -> None:
    async with tools(McpServer(command=("no-such-program", "--stdio"))) as made:
        with pytest.raises(ToolFailed, match="no-such-program can't be started: No such file or directory"):
            await made.cards()


async def test_a_server_that_says_nothing_is_ended_with_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_server, "END_S", 3600)
    (tmp_path / "silent").touch()
    async with tools(hostile(tmp_path)) as made:
        asked = asyncio.create_task(made.cards())
        await said(tmp_path / "starts")
        asked.cancel()
        _, late = await asyncio.wait((asked,), timeout=60)
        assert not late
    assert not Path(f"/proc/{starts(tmp_path)[0]}").exists()


async def test_a_server_that_left_a_call_unanswered_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_server, "PAUSE_MIN_S", 0.01)
    async with tools(hostile(tmp_path)) as made:
        hangs = asyncio.create_task(call(made, "hang"))
        await said(tmp_path / "hangs")
        hangs.cancel()
        await asyncio.wait((hangs,))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await made.check("docs/add", {"a": 1, "b": 2})
        assert await call(made, "add", {"a": 1, "b": 2}) == "3"
        assert await call(made, "deaf") == "0"
        with pytest.raises(ToolFailed, match="doesn't listen any more"):
            await call(made, "add", {"a": 1, "b": 2})
        assert await call(made, "add", {"a": 1, "b": 2}) == "3"
    assert len(starts(tmp_path)) == 3


async def test_what_a_server_leaves_behind_keeps_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_server, "END_S", 3600)
    made = McpTools("docs", ToolSpec(mcp=hostile(tmp_path)))
    child = int(await call(made, "leave"))
    try:
        async with asyncio.timeout(60):  # it has the server's pipes open
            await made.close()
    finally:
        os.kill(child, signal.SIGKILL)


async def test_a_server_that_is_started_while_its_tool_is_taken_away_is_ended(tmp_path: Path) -> None:
    made = McpTools("docs", ToolSpec(mcp=hostile(tmp_path)))
    asked = asyncio.create_task(made.cards())
    await asyncio.sleep(0)
    await made.close()
    with pytest.raises(ToolFailed, match="was declared anew"):
        await asked
    assert not Path(f"/proc/{starts(tmp_path)[0]}").exists()


async def test_a_change_that_could_not_be_looked_at_is_looked_at_again(tmp_path: Path) -> None:
    async with tools(hostile(tmp_path)) as made:
        await made.cards()
        (tmp_path / "lists nothing").touch()
        await call(made, "change")
        async with asyncio.timeout(60):
            while True:
                try:
                    await made.check("docs/add", {"a": 1, "b": 2})
                except ToolFailed:
                    break
                await asyncio.sleep(0.01)
        (tmp_path / "lists nothing").unlink()
        with pytest.raises(ToolRefused, match="says something else"):
            await made.check("docs/add", {"a": 1, "b": 2})


async def test_a_server_with_an_address_that_forgot_the_session_gets_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_server, "PAUSE_MIN_S", 0.01)
    sessions: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        asked = (
            json.loads(await reader.readexactly(int(found[1]))) if (found := re.search("content-length: (\\d+)", head)) else {}
        )
        said = {"jsonrpc": "2.0", "id": asked.get("id")}
        status, more = "200 OK", ""
        match asked.get("method"):
            case "initialize":
                sessions.append(f"s{len(sessions)}")
                more = f"mcp-session-id: {sessions[-1]}\r\n"
                version, about = asked["params"]["protocolVersion"], {"name": "old", "version": "1"}
                said["result"] = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
            case "tools/list" | "tools/call" if f"mcp-session-id: {sessions[-1]}" not in head:
                status = "404 Not Found"
            case "tools/list":
                said["result"] = {"tools": [{"name": "add", "description": "add", "inputSchema": {"type": "object"}}]}
            case "tools/call":
                said["result"] = {"content": [{"type": "text", "text": sessions[-1]}]}
            case "server/discover":
                said["error"] = {"code": -32601, "message": "no such method"}
            case _:
                status = "202 Accepted" if asked else "405 Method Not Allowed"
        body = json.dumps(said).encode() if status == "200 OK" else b""
        kind = f"content-type: application/json\r\n{more}content-length: {len(body)}\r\nconnection: close"
        writer.write(f"HTTP/1.1 {status}\r\n{kind}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, tools(McpServer(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", private=True)) as made:
        assert await call(made, "add") == "s0"
        sessions.append("what a start anew leaves of them")
        with pytest.raises(ToolFailed, match="forgotten the session"):
            await call(made, "add")
        assert await call(made, "add") == "s2"


def test_a_schema_is_foreign_too() -> None:
    slow = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}, "pattern": {"type": "integer"}}}
    mcp_server._check("docs/x", slow, {"x": "a" * 40 + "!"})
    with pytest.raises(ToolMisused, match="pattern"):
        mcp_server._check("docs/x", slow, {"pattern": "x"})
    with pytest.raises(ToolFailed, match="can't be used"):
        mcp_server._check("docs/x", {"$ref": "http://127.0.0.1:1/schema"}, {})
    with pytest.raises(ToolFailed, match="can't be used"):
        mcp_server._check("docs/x", {"$ref": "#"}, {})
    mcp_server._check("docs/x", {"patternProperties": {"type": True, "^(a+)+$": {}}}, {"a" * 40 + "!": 1})
    mcp_server._check("docs/x", {"patternProperties": {"^x-": {}}, "additionalProperties": False}, {"x-y": 1})
    with pytest.raises(ToolMisused, match="'y' was unexpected"):
        mcp_server._check("docs/x", {"properties": {"x": {}}, "additionalProperties": False}, {"y": 1})
    twice = {f"n{i}": {"allOf": [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(40)}
    with pytest.raises(ToolFailed, match="over 30000 rules"):
        mcp_server._check("docs/x", {"$defs": {**twice, "n40": {}}, "$ref": "#/$defs/n0"}, {})


IMPORTS = """
import asyncio, sys, threading
from pathlib import Path
from amas.agents.tools.mcp_server import McpTools
from amas.model.tools import McpServer, ToolSpec

by = set()
def hear(event, given):
    if event == "import" and given[0].partition(".")[0] in ("mcp", "mcp_types", "jsonschema"):
        by.add(threading.current_thread() is threading.main_thread() and given[0] not in sys.modules)
sys.addaudithook(hear)

async def main():
    made = McpTools("docs", ToolSpec(mcp=McpServer(command=(sys.executable, sys.argv[1], "stdio", sys.argv[2]))))
    assert by == set(), "making one imports nothing"
    assert await made.cards()
    await made.close()
    print(sorted(by))

asyncio.run(main())
"""


def test_the_package_is_imported_by_a_thread_since_a_host_s_loop_waits_for_nobody(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPORTS, SERVER, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("[False]\n", "")
