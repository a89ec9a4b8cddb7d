"""`python -m benchmarks.read_load`: asks a control plane for reads at a steady rate, from a process of its own.

Takes one JSON object on standard input, `{"url", "paths", "per_s", "seconds", "connections", "keys"}`, and writes one to standard
output: by path, how many were answered, the milliseconds since a read was due (p50, p99, p99.9) and the bytes of its last answer;
so of `all`; and as `generator`, how late this process itself came to a read that was due. That is in every other figure too:
where it is milliseconds, they say how busy the machine was, and not how quick the control plane is.

Arrivals are open: a read is due by the clock and by chance, whatever became of those before it; while every connection is busy
it waits, and its wait counts. Connections are kept alive. HTTP is spoken by hand: a client library takes more than the server.
"""

import asyncio
import json
import random
import sys
from collections import deque
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.results import quantiles

LIMIT_S = 600.0


class Request(msgspec.Struct, frozen=True):
    """What to do."""

    url: str
    paths: dict[str, list[str]]
    """By name; one of a name's paths is chosen by chance, and so is the name."""
    per_s: float
    seconds: float
    connections: int
    keys: list[str] = []
    """API keys, of which each read shows one by chance; none: it shows nothing."""


class Connection(asyncio.Protocol):
    """One kept-alive connection: asks for one thing at a time."""

    def __init__(self, load: "Load") -> None:
        self._load, self._transport, self._seen = load, None, b""
        self._length = -1
        self._asked = ("", 0.0)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._load.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._load.free:  # it was needed so little that its time ran out: 20 s without a request
            self._load.free.remove(self)
        else:
            self._load.broke(f"the server closed a connection: {exc}")

    def ask(self, name: str, path: str, due_s: float) -> None:
        """Send a request that was due at a time of the loop's clock."""
        self._asked, self._seen, self._length = (name, due_s), b"", -1
        shown = self._load.shown()
        self._transport.write(b"GET %s HTTP/1.1\r\nhost: localhost\r\n%s\r\n" % (path.encode(), shown))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if self._length < 0:
            head, found, _ = self._seen.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self._load.broke(f"{self._asked[0]}: {head.splitlines()[0].decode()}")
                return
            self._length = len(head) + 4 + int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(self._seen) >= self._length:
            self._load.answered(self, *self._asked, len(self._seen))


class Load:
    """All of them."""

    def __init__(self, wanted: Request) -> None:
        self._wanted, self._loop = wanted, asyncio.get_running_loop()
        self._draw = random.Random(7)
        self._waiting: deque[tuple[str, str, float]] = deque()
        self._shown = [b"authorization: Bearer %s\r\n" % key.encode() for key in wanted.keys] or [b""]
        self._open = 0
        self._over: asyncio.Future[None] = self._loop.create_future()
        self.free: list[Connection] = []
        self.took_ms: dict[str, list[float]] = {name: [] for name in wanted.paths}
        self.late_ms: list[float] = []
        self.bytes: dict[str, int] = {}

    def shown(self) -> bytes:
        """Return the header line by which a read says who asks."""
        return self._draw.choice(self._shown)

    async def run(self) -> None:
        """Ask for as long as is wanted, and wait for the last answer; RuntimeError for an answer that isn't 200."""
        address = urlsplit(self._wanted.url)
        for _ in range(self._wanted.connections):
            await self._loop.create_connection(lambda: Connection(self), address.hostname, address.port)
        names, draw = list(self._wanted.paths), self._draw
        due_s = self._loop.time()
        until_s = due_s + self._wanted.seconds
        while due_s < until_s and not self._over.done():
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            while due_s <= self._loop.time():
                name = draw.choice(names)
                self.late_ms.append((self._loop.time() - due_s) * 1000)
                self._ask(name, draw.choice(self._wanted.paths[name]), due_s)
                due_s += draw.expovariate(self._wanted.per_s)
        async with asyncio.timeout(LIMIT_S):
            while self._open and not self._over.done():  # noqa: ASYNC110  a moment, once
                await asyncio.sleep(0.01)
        if self._over.done():
            self._over.result()

    def answered(self, connection: Connection, name: str, due_s: float, size: int) -> None:
        """Take an answer, and ask with the connection for what waits longest."""
        self.took_ms[name].append((self._loop.time() - due_s) * 1000)
        self.bytes[name] = size
        self._open -= 1
        if self._waiting:
            connection.ask(*self._waiting.popleft())
        else:
            self.free.append(connection)

    def broke(self, why: str) -> None:
        """End with an error."""
        if not self._over.done():
            self._over.set_exception(RuntimeError(why))

    def _ask(self, name: str, path: str, due_s: float) -> None:
        self._open += 1
        if self.free:
            self.free.pop().ask(name, path, due_s)
        else:
            self._waiting.append((name, path, due_s))


async def drive(wanted: Request) -> dict[str, Any]:
    """Do what is wanted and return what was seen, by path's name, and `all` of them."""
    load = Load(wanted)
    await load.run()
    rows = {
        name: {"reads": len(took), **quantiles(took), "bytes": load.bytes[name]} for name, took in load.took_ms.items() if took
    }
    everything = [one for took in load.took_ms.values() for one in took]
    totals = {"all": everything, "generator": load.late_ms}
    return rows | {name: {"reads": len(took), **quantiles(took), "bytes": 0} for name, took in totals.items()}


def main() -> None:
    """Serve one request."""
    import uvloop

    print(json.dumps(uvloop.run(drive(msgspec.json.decode(sys.stdin.buffer.read(), type=Request)))))


if __name__ == "__main__":
    main()
