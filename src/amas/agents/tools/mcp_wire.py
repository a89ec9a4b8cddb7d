"""How an MCP server is talked to: over the standard input and output of a process of ours, or by streamable HTTP.

Both are transports for the `mcp` package (the extra `mcp`; imported at the first use of such a tool). A server is foreign code:
it gets no variable of the host's environment but those that programs need, it dies with its host, and no message of it is read
that is larger than `MESSAGE_BYTES_MAX`. Over HTTP only the declared server is called, as in `requests.py`.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from amas.agents.tools.requests import reject_address
from amas.errors import ToolFailed

MESSAGE_BYTES_MAX = 8 << 20
"""Of what a server says at a time."""
SAID_CHARS = 300
"""Of a server's last words."""
INHERITED = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
CONNECT_S = 10.0

_DIES_WITH_US = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.exit(f"{sys.argv[1]} can't be started: {error.strerror}")
"""
"""A few ms of Python that has the kernel end the server when its host ends, and becomes the server."""

Streams = tuple[ObjectReceiveStream[SessionMessage | Exception], ObjectSendStream[SessionMessage]]


class ServerProcess:
    """A server that is a process: `opened` is a transport."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._command, self._env = command, env
        self._last_words = bytearray()
        self.why_ended = ""
        self.place = ""
        """Where it is, for those who look why it doesn't answer: nowhere but here."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Streams]:
        """Start the process; it is ended with all that it started in its session when the block is left."""
        said, heard = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        ours, theirs = anyio.create_memory_object_stream[SessionMessage](0)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _DIES_WITH_US, *self._command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name in INHERITED if (value := os.environ.get(name))} | dict(self._env),
            start_new_session=True,
            limit=MESSAGE_BYTES_MAX,
        )
        assert process.stdin and process.stdout and process.stderr, "all three are pipes"
        tasks = [
            asyncio.create_task(self._hear(process.stdout, said), name="mcp-out"),
            asyncio.create_task(self._say(theirs, process.stdin, process.pid), name="mcp-in"),
            asyncio.create_task(self._keep_last_words(process.stderr), name="mcp-err"),
        ]
        try:
            yield heard, ours
        finally:
            _kill(process.pid)
            for task in tasks:
                task.cancel()
            _let_go(process)
            await asyncio.gather(process.wait(), *tasks, return_exceptions=True)
            for stream in (said, heard, ours, theirs):
                stream.close()

    async def _hear(self, lines: asyncio.StreamReader, said: ObjectSendStream[SessionMessage | Exception]) -> None:
        async with said:  # its end is the connection's
            while True:
                try:
                    line = await lines.readline()
                except ValueError:
                    self.why_ended = f"it said more than {MESSAGE_BYTES_MAX >> 20} MiB at once"
                    return
                if not line:
                    last = self._last_words.decode(errors="replace").strip().rpartition("\n")[2][-SAID_CHARS:]
                    self.why_ended = self.why_ended or f"it ended{f': {last}' if last else ''}"
                    return
                try:
                    message = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                except ValueError:
                    continue  # what servers print by mistake
                await said.send(message)

    async def _say(self, messages: ObjectReceiveStream[SessionMessage], to: asyncio.StreamWriter, pid: int) -> None:
        async with messages:
            async for each in messages:
                to.write(each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                try:
                    await to.drain()
                except OSError:  # it ended, or it lives on and will never hear us
                    self.why_ended = self.why_ended or "it doesn't listen any more"
                    _kill(pid)
                    return

    async def _keep_last_words(self, lines: asyncio.StreamReader) -> None:
        while piece := await lines.read(1 << 16):
            self._last_words += piece
            del self._last_words[: -4 * SAID_CHARS]


def _let_go(process: asyncio.subprocess.Process) -> None:
    """Close our ends of its pipes: asyncio waits for their other ends, which one that left the session may hold open."""
    pipes: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]  # there is no other way to them
    for number in (0, 1, 2):
        if isinstance(pipe := pipes.get_pipe_transport(number), asyncio.WriteTransport):
            pipe.abort()
        elif pipe is not None:
            pipe.close()


def _kill(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


class ServerAddress:
    """A server with an address: `opened` is a transport."""

    def __init__(self, tool: str, url: str, headers: Mapping[str, str], *, private: bool) -> None:
        self._url, self._headers = url, headers
        self.why_ended = ""
        parts = urlsplit(url)
        self.place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}: "
        """Its address without what may be secret."""
        self._guarded = _Guarded(tool, private=private, forgotten=self._forgotten)

    def _forgotten(self) -> None:
        self.why_ended = "it has forgotten the session: it was started anew"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        """Reach the server."""
        from mcp.client.streamable_http import streamable_http_client

        headers = {**self._headers, "accept-encoding": "identity"}
        timeout = httpx2.Timeout(CONNECT_S, read=None)  # a use has a time-out of its own
        async with (
            httpx2.AsyncClient(transport=self._guarded, headers=headers, timeout=timeout, trust_env=False) as client,
            streamable_http_client(self._url, http_client=client, max_sse_event_size=MESSAGE_BYTES_MAX) as streams,
        ):
            yield streams


class _Guarded(httpx2.AsyncBaseTransport):
    """Connects to the address that was looked at, and reads no more than it should."""

    def __init__(self, tool: str, *, private: bool, forgotten: Callable[[], None]) -> None:
        """`forgotten` is called when the server doesn't know the session any more."""
        self._tool, self._private, self._forgotten = tool, private, forgotten
        self._inner = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            looked_up = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            address = str(looked_up[0][4][0])
            reject_address(self._tool, host, address, private=self._private)
        except (OSError, ToolFailed) as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        request.url = request.url.copy_with(host=address)  # its Host header says the name
        request.extensions = {**request.extensions, "sni_hostname": host}
        response = await self._inner.handle_async_request(request)
        request.url = request.url.copy_with(host=host)
        if response.status_code == 404 and "mcp-session-id" in request.headers:
            self._forgotten()
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("the server packs its answers, which was not asked for", request=request)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream), "an async transport's streams are async"
            response.stream = _Bounded(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    """A body that breaks off where it is too large."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._stream:
            read += len(piece)
            if read > MESSAGE_BYTES_MAX:
                raise httpx2.ReadError(f"the server said more than {MESSAGE_BYTES_MAX >> 20} MiB at once")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
