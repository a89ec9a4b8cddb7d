"""MCP servers as tools: real ones, written with the package, that misbehave."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from amas.agents.tools import mcp_server
from amas.agents.tools.base import Use
from amas.agents.tools.mcp_server import McpTools
from amas.errors import ToolFailed, ToolMisused, ToolRefused
from amas.model.tools import McpServer, ToolSpec

SAMPLES = Path(__file__).parents[2] / "samples"
SERVER = str(SAMPLES / "mcp_server.py")


@asynccontextmanager
async def tools(server: McpServer) -> AsyncIterator[McpTools]:
    made = McpTools("docs", ToolSpec(mcp=server))
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
            f"docs/{name}" for name in ("add", "die", "huge", "change", "nonsense")
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
        assert [card.name for card in await made.cards()] == ["docs/add"]
        with pytest.raises(ToolRefused, match="says something else"):
            await call(made, "add", {"a": 1, "b": 2})
        with pytest.raises(ToolRefused, match="had no tool 'die'"):
            await call(made, "die")


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


def test_a_schema_is_foreign_too() -> None:
    slow = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}, "pattern": {"type": "integer"}}}
    mcp_server._check("docs/x", slow, {"x": "a" * 40 + "!"})
    with pytest.raises(ToolMisused, match="pattern"):
        mcp_server._check("docs/x", slow, {"pattern": "x"})
    with pytest.raises(ToolFailed, match="can't be used"):
        mcp_server._check("docs/x", {"$ref": "http://127.0.0.1:1/schema"}, {})
    with pytest.raises(ToolFailed, match="can't be used"):
        mcp_server._check("docs/x", {"$ref": "#"}, {})
