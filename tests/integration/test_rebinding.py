"""Names that stand for one address when they are looked at and for another when they are connected to (DNS rebinding).

Here 127.0.0.1 plays the public address, where an honest server is, and 127.0.0.2 the one that nobody may reach; both listen on
one port. A name gives out one after the other: whoever asks it twice, once to check and once to connect, ends at the wrong one.
And redirects: an answer may send us to where we would never have gone by ourselves, with what we sent to the first.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from http_served import Whole, running
from secret_places import POD_TOKEN, kubernetes_server

from amas.agents import foreign
from amas.agents.http_agent import HttpAgent
from amas.agents.tools import requests
from amas.agents.tools.base import Use
from amas.agents.tools.mcp_server import McpTools
from amas.agents.tools.requests import RequestTool
from amas.errors import GiveUp, RetryLater, SecretUnreadable, ToolFailed, ToolRefused
from amas.model.fleet import PoolSpec
from amas.model.tools import HttpTool, McpServer, ToolSpec
from amas.policy.outbound import PostFailed, Reach, post
from amas.secrets import Known

NAME = "rebinding.example"
PUBLIC, PRIVATE = "127.0.0.1", "127.0.0.2"
METADATA = "http://169.254.169.254/latest/meta-data/"


class Here(ThreadingHTTPServer):
    """Answers as it is told, and keeps what it was asked and with which headers."""

    daemon_threads = True

    def __init__(self, address: str, port: int = 0) -> None:
        super().__init__((address, port), Handler)
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.location, self.status = "", 307


class Handler(Whole):
    server: Here

    def do_POST(self) -> None:
        body = self.read()
        self.server.asked.append((self.command, self.path))
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.location:
            self.say(self.server.status, headers={"Location": self.server.location})
            return
        asked = json.loads(body) if body.startswith(b"{") else {}
        if "id" not in asked or "method" not in asked:
            self.say(
                200 if self.command == "POST" and "method" not in asked else 405,
                b'{"ok": true}',
                {"Content-Type": "application/json"},
            )
            return
        result: dict[str, Any] = {}
        match asked["method"]:
            case "initialize":
                version = asked["params"]["protocolVersion"]
                result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "h", "version": "1"}}
            case "tools/list":
                result = {"tools": [{"name": "add", "description": "add", "inputSchema": {"type": "object"}}]}
            case "tools/call":
                result = {"content": [{"type": "text", "text": "honest"}]}
        said = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
        self.say(200, json.dumps(said).encode(), {"Content-Type": "application/json"})

    do_GET = do_POST

    def do_DELETE(self) -> None:  # noqa: N802  the base class's name
        self.do_POST()


@pytest.fixture
def honest() -> Iterator[Here]:
    server = Here(PUBLIC)
    with running(server):
        yield server


@pytest.fixture
def trap(honest: Here) -> Iterator[Here]:
    server = Here(PRIVATE, honest.server_port)
    with running(server):
        yield server


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let `NAME` be looked up: one address after the other, and the last for ever; 127.0.0.1 alone counts as public."""
    left = [PUBLIC, PRIVATE]
    real = socket.getaddrinfo

    def looked_up(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name != NAME:
            return real(host, port, *args, **more)
        return real(left.pop(0) if len(left) > 1 else left[0], port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    for module in (requests, foreign):
        monkeypatch.setattr(module, "is_public", lambda address: address == PUBLIC)
    return left


async def posted(url: str) -> None:
    reach = Reach(lambda address: address == PUBLIC, "no public address")
    await asyncio.to_thread(post, url, b"{}", {"authorization": "secret"}, reach=reach, timeout_s=10.0)


async def requested(url: str) -> None:
    tool = RequestTool("look", ToolSpec(http=HttpTool(url=url, method="POST", headers={"authorization": "secret"})))
    try:
        await tool.run(Use("look", {}, Path("/"), 10.0, 4096))
    finally:
        await tool.close()


async def called(url: str) -> None:
    tools = McpTools("docs", ToolSpec(mcp=McpServer(url=url, headers={"authorization": "secret"})))
    try:
        async with asyncio.timeout(60):
            await tools.check("docs/add", {})
            await tools.run(Use("docs/add", {}, Path("/"), 10.0, 64 << 10))
    finally:
        await tools.close()


async def handed(url: str) -> None:
    options = {"http": {"url": url, "headers": {"authorization": "secret"}, "timeout_s": 10}}
    pool = PoolSpec(name="foreign", agent="amas.agents.http_agent:HttpAgent", capabilities=("a.b",), options=options)
    foreign.judge(await HttpAgent("foreign-1", pool)._server.talk("POST", url, {"authorization": "secret"}, b"{}"))


WAYS: dict[str, Callable[[str], Any]] = {"webhook": posted, "tool": requested, "mcp": called, "agent": handed}
REFUSED = (PostFailed, ToolFailed, ToolRefused, GiveUp, RetryLater)


@pytest.mark.parametrize("way", WAYS)
async def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(
    honest: Here, trap: Here, answers: list[str], way: str
) -> None:
    if way == "mcp":  # it makes several requests, and looks at the name for each of them
        answers[:] = [PUBLIC] * 20 + [PRIVATE]
        await WAYS[way](f"http://{NAME}:{honest.server_port}/mcp")
        answers[:] = [PUBLIC, PRIVATE]
        with pytest.raises(REFUSED):
            await WAYS[way](f"http://{NAME}:{honest.server_port}/mcp")
    else:
        await WAYS[way](f"http://{NAME}:{honest.server_port}/hook")
    assert honest.asked and trap.asked == []
    assert all(headers["host"] == f"{NAME}:{honest.server_port}" for headers in honest.headers)


@pytest.mark.parametrize("way", WAYS)
async def test_a_name_that_stands_for_a_private_address_is_not_called(
    honest: Here, trap: Here, answers: list[str], way: str
) -> None:
    answers[:] = [PRIVATE]
    with pytest.raises(REFUSED):
        await WAYS[way](f"http://{NAME}:{trap.server_port}/hook")
    assert (honest.asked, trap.asked) == ([], [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("way", WAYS)
async def test_nobody_is_sent_elsewhere_by_an_answer(honest: Here, trap: Here, answers: list[str], way: str, status: int) -> None:
    answers[:] = [PUBLIC]
    honest.status = status
    for location in (
        f"http://{PRIVATE}:{trap.server_port}/",
        METADATA,
        "file:///etc/passwd",
        "gopher://127.0.0.2/",
        "http://[",
        "//",
    ):
        honest.location = location
        with pytest.raises(REFUSED) as refused:
            await WAYS[way](f"http://{NAME}:{honest.server_port}/hook")
        assert "secret" not in str(refused.value)
    assert trap.asked == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_cluster_s_api_sends_a_pod_s_token_nowhere_else(honest: Here, tmp_path: Path, status: int) -> None:
    with kubernetes_server(tmp_path) as (cluster, environ):
        known = Known(environ=environ, mounted=tmp_path / "mounted", account=tmp_path)
        cluster.sends_to = (status, f"http://{PUBLIC}:{honest.server_port}/")
        with pytest.raises(SecretUnreadable, match=f"the cluster's API answers {status}") as refused:
            known.reveal("k8s:openai#key")
        assert cluster.asked and honest.asked == []
        assert POD_TOKEN not in str(refused.value)
