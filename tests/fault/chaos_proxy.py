"""A way to the engine that can be broken: cut, reset in the middle of a call, silent, or slow. It runs in the test's own loop.

`connects` counts how often anybody knocked, so that a test can say that nobody did so without a pause.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

Target = Path | tuple[str, int]
PIECE_BYTES = 1 << 16


class _Link:
    """One connection through the proxy."""

    def __init__(self, ends: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
        self.ends = ends
        self.silent = False

    def reset(self) -> None:
        """End both sides with a reset, unsent bytes and all."""
        for _, writer in self.ends:
            raw = writer.get_extra_info("socket")
            if raw.family != socket.AF_UNIX:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class ChaosProxy:
    """Carries bytes between clients on a TCP port and one server, as badly as it is told to."""

    def __init__(self, target: Target) -> None:
        self.target = target
        """Where new connections lead; may be set anew, as a service's address is when a replica is promoted."""
        self.connects = 0
        self.delay_s = 0.0
        """Added to each piece, either way."""
        self.refuses = False
        """New connections are reset at once."""
        self.silent = False
        """New connections are taken, and swallow everything."""
        self.reset_in_bytes: int | None = None
        """Bytes of answers until the next reset of everything."""
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ChaosProxy"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.reset()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    def swallow(self) -> None:
        """Make what is connected now half-open: it stays up and carries nothing."""
        for link in self._links:
            link.silent = True

    def reset(self) -> None:
        """Reset what is connected now."""
        for link in list(self._links):
            link.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connects += 1
        ends = [(reader, writer)]
        link = _Link(ends)
        if self.refuses:
            link.reset()
            return
        link.silent = self.silent
        if not self.silent:
            try:
                if isinstance(self.target, Path):
                    ends.append(await asyncio.open_unix_connection(self.target))
                else:
                    ends.append(await asyncio.open_connection(*self.target))
            except OSError:
                link.reset()
                return
        self._links.add(link)
        ways = [(ends[0][0], ends[-1][1] if len(ends) == 2 else None, False)]
        if len(ends) == 2:
            ways.append((ends[1][0], ends[0][1], True))
        pipes = [asyncio.create_task(self._carry(link, *way)) for way in ways]
        self._tasks.update(pipes)
        for pipe in pipes:
            pipe.add_done_callback(self._tasks.discard)
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        self._links.discard(link)
        for _, writer in ends:
            writer.close()

    async def _carry(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter | None, answers: bool) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if link.silent or sink is None:
                    continue
                if answers and self.reset_in_bytes is not None:
                    self.reset_in_bytes -= len(piece)
                    if self.reset_in_bytes <= 0:
                        self.reset_in_bytes = None
                        sink.write(piece[: len(piece) // 2])  # in the middle of an answer
                        self.reset()
                        return
                sink.write(piece)
                await sink.drain()
