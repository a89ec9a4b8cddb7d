"""Clients that send what two servers would read differently, don't read what they asked for, or only hold connections."""

import asyncio
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from amas.server import patience
from amas.server.plane import ControlPlane

from .conftest import WORK, Hands, client_of
from .test_bad_bodies import LIMIT_S, answer, status
from .test_serve import served, serving  # noqa: F401  a fixture

SIZE = 16 << 20
HOST = b"host: localhost\r\n"
SECOND = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /api/tasks HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
SMUGGLED = {
    "both lengths": POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, with a tab": POST + b"content-length: 4\r\ntransfer-encoding:\tchunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"content-length: 0\r\ncontent-length: 40\r\n\r\n",
    "a list of lengths": POST + b"content-length: 0, 0\r\n\r\n",
    "a signed length": POST + b"content-length: +0\r\n\r\n",
    "a negative length": POST + b"content-length: -1\r\n\r\n",
    "a length over 64 bits": POST + b"content-length: 18446744073709551616\r\n\r\n",
    "an unknown coding": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, and not last": POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a blank before the colon": POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded field": b"GET /health HTTP/1.1\r\n" + HOST + b"x: a\r\n transfer-encoding: chunked\r\n\r\n",
    "a NUL in a field": b"GET /health HTTP/1.1\r\n" + HOST + b"x: a\0b\r\n\r\n",
    "a lone CR in a field": b"GET /health HTTP/1.1\r\n" + HOST + b"x: a\rb: c\r\n\r\n",
    "lone LFs": b"GET /health HTTP/1.1\nhost: localhost\n\n",
    "a chunk longer than 64 bits": CHUNKED + b"fffffffffffffffff\r\n",
    "a chunk that ends elsewhere": CHUNKED + b"2\r\n{}GET / HTTP/1.1\r\n0\r\n\r\n",
    "a chunk with a line in its extension": CHUNKED + b"2;a=b\nGET /\r\n{}\r\n0\r\n\r\n",
    "chunks with lone LFs": CHUNKED + b"2\n{}\n0\n\n",
}


@pytest.mark.parametrize("how", SMUGGLED)
async def test_what_a_proxy_may_read_otherwise_is_read_by_nobody(
    served: ControlPlane,  # noqa: F811
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Were it taken, the second request would be one that nobody has sent, in the name of whoever comes next."""
    async with serving(served) as (port, _):
        found = await answer(port, SMUGGLED[how] + SECOND)
    assert status(found) == 400
    assert found.count(b"HTTP/1.1 ") == 1, found
    assert not caplog.messages, "who may show nothing may write nothing into our logs"


async def test_a_body_where_none_is_due_is_no_request(served: ControlPlane) -> None:  # noqa: F811
    inner = b"GET /api/agents HTTP/1.1\r\n" + HOST + b"\r\n"
    head = b"GET /health HTTP/1.1\r\n" + HOST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(inner)
    async with serving(served) as (port, _):
        found = await answer(port, head + inner)
    assert status(found) == 200 and found.count(b"HTTP/1.1 ") == 1


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set once the server has given a connection up, or a client has."""
    event, lost = asyncio.Event(), patience.ImpatientProtocol.connection_lost

    def noted(self: patience.ImpatientProtocol, exc: Exception | None) -> None:
        event.set()
        lost(self, exc)

    monkeypatch.setattr(patience.ImpatientProtocol, "connection_lost", noted)
    return event


@pytest.fixture
async def path(served: ControlPlane) -> str:  # noqa: F811
    """The address of a result of 16 MiB, far more than the kernel keeps of what nobody reads."""
    hands = Hands(served)
    await hands.register()
    async with client_of(served) as client:
        task_id = (await client.post("/api/tasks", json={"capability": WORK})).json()["id"]
    (claimed,) = await hands.claim()
    await hands.finish(claimed, await served.values.put("x" * SIZE, "the result"))
    return f"/api/tasks/{task_id}/result"


def asking(port: int, path: str, *, takes: int) -> socket.socket:
    """Return a connection that has asked for something and takes in that many bytes, or twice as many, before they are read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    return client


def rest_of(client: socket.socket, *, pause: threading.Event | None = None) -> int:
    """Read to the end and return how many bytes came; `pause`: never set, it is waited for between pieces."""
    seen = 0
    with client, suppress(ConnectionResetError):
        client.settimeout(LIMIT_S)
        while piece := client.recv(1 << 18):
            seen += len(piece)
            if pause:
                pause.wait(0.02)
    return seen


async def test_an_answer_that_nobody_reads_is_given_up(
    served: ControlPlane,  # noqa: F811
    path: str,
    gone: asyncio.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forty of them held a gigabyte of the control plane's memory for as long as they liked."""
    monkeypatch.setattr(patience, "READ_S", 0.3)
    async with serving(served) as (port, _):
        client = await asyncio.to_thread(asking, port, path, takes=1 << 12)
        async with asyncio.timeout(LIMIT_S):
            await gone.wait()
        assert await asyncio.to_thread(rest_of, client) < SIZE


async def test_who_reads_slowly_gets_all_of_it(
    served: ControlPlane,  # noqa: F811
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "READ_S", 0.3)
    async with serving(served) as (port, _):
        client = await asyncio.to_thread(asking, port, path, takes=1 << 18)
        assert await asyncio.to_thread(rest_of, client, pause=threading.Event()) > SIZE


async def test_connections_that_are_only_held_leave_files_for_the_rest(
    served: ControlPlane,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "connections_max", lambda: 5)
    async with serving(served) as (port, _), asyncio.timeout(LIMIT_S):
        held = []
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(SECOND)
            assert (await reader.readline()).split()[1] == b"200"
            held.append(writer)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await reader.read() == b"", "one too many is closed without a word"
        writer.close()
        held.pop().close()
        while True:
            with suppress(ConnectionResetError):
                if status(await answer(port, SECOND.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")) or b"- 0 -") == 200:
                    break
            await asyncio.sleep(0.01)
        for each in held:
            each.close()


def test_a_low_limit_of_files_is_raised_as_far_as_the_system_lets_it() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 3000)); "
        "from amas.server.patience import connections_max, open_many_files; few = connections_max(); open_many_files(); "
        "print(few, connections_max(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["192", "2250", "3000", "3000"]
