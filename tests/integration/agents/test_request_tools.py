"""Tools that are requests, against a server on loopback that isn't always friendly."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import http_served
import pytest

from amas.agents.tools.base import Use
from amas.agents.tools.requests import RequestTool
from amas.errors import ToolFailed, ToolMisused
from amas.model.tools import HttpTool, Parameter, ToolSpec


class Handler(http_served.Whole):
    asked: list[tuple[str, str, dict[str, str], bytes]]
    elsewhere: str
    released: Event

    def do_GET(self) -> None:
        body = self.read()
        self.asked.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        if self.path.startswith("/moved"):
            self.say(307, headers={"Location": self.elsewhere})
            return
        if self.path.startswith("/hang"):
            self.released.wait(60)
            return
        if self.path.startswith("/json"):
            self.say(200, json.dumps({"path": self.path}).encode(), {"Content-Type": "application/json"})
            return
        answer = b"x" * (1 << 20) if self.path.startswith("/huge") else self.headers.get("authorization", "").encode()
        self.say(500 if self.path.startswith("/broken") else 200, answer, {"Content-Type": "text/plain"})

    do_POST = do_GET


@contextmanager
def running() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("OneHandler", (Handler,), {"asked": [], "elsewhere": "", "released": Event()})
    with http_served.running(http_served.bound(handler)) as url:
        try:
            yield url.removeprefix("http://"), handler
        finally:
            handler.released.set()


TEXT = Parameter()


async def call(
    url: str, arguments: dict[str, Any] | None = None, parameters: dict[str, Parameter] | None = None, **http: Any
) -> Any:
    spec = ToolSpec(http=HttpTool(**{"url": url, "private": True, **http}), parameters=parameters or {})
    made, use = RequestTool("look", spec), Use("look", arguments or {}, Path("/"), 60.0, 4096)
    try:
        await made.check(use.tool, use.arguments)
        async with asyncio.timeout(60):
            return await made.run(use)
    finally:
        await made.close()


async def test_parameters_stand_where_they_belong_and_nowhere_else() -> None:
    with running() as (at, handler):
        parameters = {
            "id": TEXT,
            "q": TEXT,
            "n": Parameter(type="integer", default=3),
            "on": Parameter(type="boolean", default=True),
        }
        hostile = "../a?b#c/ü\r\nX-Evil: 1"
        assert await call(f"http://{at}/json/{{id}}?q={{q}}", {"id": hostile, "q": "a&b=c"}, parameters) == {
            "path": "/json/..%2Fa%3Fb%23c%2F%C3%BC%0D%0AX-Evil%3A%201?q=a%26b%3Dc&n=3&on=true"
        }
        with pytest.raises(ToolMisused, match="climb"):
            await call(f"http://{at}/json/{{id}}", {"id": ".."}, {"id": TEXT})
        await call(f"http://{at}/text", {"id": "x"}, {"id": TEXT, "n": Parameter(type="integer", default=3)}, method="POST")
        method, path, headers, body = handler.asked[-1]
        assert (method, path, json.loads(body)) == ("POST", "/text", {"id": "x", "n": 3})
        assert headers["content-type"] == "application/json" and "x-evil" not in headers


async def test_a_secret_goes_to_its_host_and_comes_back_to_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOK_TOKEN", "tok-look-123456")
    (tmp_path / "token").write_text("tok-look-654321\n")
    with running() as (at, handler), running() as (other, stranger):
        assert await call(f"http://{at}/", headers={"Authorization": "env:LOOK_TOKEN"}) == "[env:LOOK_TOKEN]"
        assert await call(f"http://{at}/", headers={"Authorization": f"file:{tmp_path}/token"}) == f"[file:{tmp_path}/token]"
        assert [asked[2]["authorization"] for asked in handler.asked] == ["tok-look-123456", "tok-look-654321"]
        with pytest.raises(ToolFailed, match=r"answered 500: \[env:LOOK_TOKEN\]"):
            await call(f"http://{at}/broken", headers={"Authorization": "env:LOOK_TOKEN"})
        handler.elsewhere = f"http://{other}/there"
        with pytest.raises(ToolFailed, match="which isn't declared"):
            await call(f"http://{at}/moved", headers={"Authorization": "env:LOOK_TOKEN"})
        assert not stranger.asked
        assert await call(f"http://{at}/moved", headers={"Authorization": "env:LOOK_TOKEN"}, hosts=(other,)) == ""
        assert "authorization" not in stranger.asked[0][2]
        handler.elsewhere = "/moved"
        with pytest.raises(ToolFailed, match="in circles"):
            await call(f"http://{at}/moved")
        monkeypatch.delenv("LOOK_TOKEN")
        with pytest.raises(ToolFailed, match="lacks a secret"):
            await call(f"http://{at}/", headers={"Authorization": "env:LOOK_TOKEN"})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "[::ffff:127.0.0.1]"])
async def test_a_private_address_is_called_only_where_that_is_meant(host: str) -> None:
    with pytest.raises(ToolFailed, match=r"no public address|got no answer"):
        await call(f"http://{host}:9/", private=False)


STANDS_FOR_LOOPBACK = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]"]


@pytest.mark.parametrize("host", STANDS_FOR_LOOPBACK)
async def test_a_private_address_in_disguise_is_no_public_one(host: str) -> None:
    """Decimal, hexadecimal and octal numbers, and IPv6 addresses that stand for an IPv4 address."""
    with pytest.raises(ToolFailed, match="no public address"):
        await call(f"http://{host}:9/", private=False)


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "0.0.0.0"])
async def test_a_clouds_credentials_are_never_called(host: str) -> None:
    with pytest.raises(ToolFailed, match="link-local or metadata address"):
        await call(f"http://{host}/latest/meta-data/")


async def test_an_answer_is_bounded_in_size_and_time() -> None:
    with running() as (at, handler):
        with pytest.raises(ToolFailed, match="answered more than 4 KiB"):
            await call(f"http://{at}/huge")
        waiting = asyncio.create_task(call(f"http://{at}/hang"))
        async with asyncio.timeout(60):
            while not any(path == "/hang" for _, path, _, _ in handler.asked):
                await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
