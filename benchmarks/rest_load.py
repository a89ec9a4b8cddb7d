"""`python -m benchmarks.rest_load`: drives `POST /api/tasks/batch` from a process of its own, as a program in any language would.

Reads one JSON object from standard input, `{"url", "tasks", "batch", "connections", "runs"}`, and writes one to standard output:
`{"tasks_per_s": [...], "cpu_us_per_task"}`. Connections are kept alive. It sees the ends of its tasks on `GET /api/events`, which
it follows from before the first request, and a run ends when all tasks have succeeded there.

HTTP is spoken by hand: a client library would take more CPU than the server, on the same two cores.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from benchmarks.work import LIMIT_S, PAYLOAD


class Request(msgspec.Struct, frozen=True):
    """What to do."""

    url: str
    tasks: int
    batch: int
    connections: int
    runs: int


class _Task(msgspec.Struct, frozen=True):
    id: str
    state: str


class _Event(msgspec.Struct, frozen=True):
    tasks: list[_Task] = []


class _Ids(msgspec.Struct, frozen=True):
    ids: list[str]


_event, _ids = msgspec.json.Decoder(_Event), msgspec.json.Decoder(_Ids)


class Ends:
    """Follows the stream of everything and knows which tasks have succeeded."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._seen: set[str] = set()
        self._news = asyncio.Event()
        self.connected = asyncio.Event()
        self._last_id = ""

    async def follow(self) -> None:
        """Read the stream until cancelled; come again, after the last event, when the server ends it."""
        while True:
            reader, writer = await asyncio.open_connection(self._host, self._port, limit=1 << 24)
            after = f"?after={self._last_id}" if self._last_id else ""
            writer.write(f"GET /api/events{after} HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            self.connected.set()
            async for line in reader:
                self._take(line)
            writer.close()

    def _take(self, line: bytes) -> None:
        if line.startswith(b"data: {"):
            self._seen.update(task.id for task in _event.decode(line[6:]).tasks if task.state == "succeeded")
            self._news.set()
        elif line.startswith(b"id: "):
            self._last_id = line[4:].strip().decode()

    async def all_of(self, ids: set[str]) -> None:
        """Return once all of these have succeeded."""
        while not ids <= self._seen:
            self._news.clear()
            await self._news.wait()
        self._seen -= ids


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> list[str]:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    body = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 201"):
        raise RuntimeError(f"{head.splitlines()[0].decode()}: {body.decode()[:300]}")
    return _ids.decode(body).ids


async def _connection(host: str, port: int, request: bytes, left: Iterator[int]) -> list[str]:
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 24)
    ids: list[str] = []
    for _ in left:
        ids += await _post(reader, writer, request)
    writer.close()
    return ids


async def drive(wanted: Request) -> dict[str, object]:
    """Do what is wanted and return rates and the CPU that it took here."""
    address = urlsplit(wanted.url)
    host, port = address.hostname or "", address.port or 80
    body = msgspec.json.encode([{"capability": "bench.noop", "input": PAYLOAD}] * wanted.batch)
    head = (
        f"POST /api/tasks/batch HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    ends = Ends(host, port)
    rates, cpu = [], 0.0
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        following = group.create_task(ends.follow())
        await ends.connected.wait()
        for number in range(wanted.runs + 1):
            before, began = time.process_time(), time.perf_counter()
            left = iter(range(wanted.tasks // wanted.batch))
            posting = (_connection(host, port, head.encode() + body, left) for _ in range(wanted.connections))
            await ends.all_of({task_id for ids in await asyncio.gather(*posting) for task_id in ids})
            if number:  # the first warms up
                rates.append(round(wanted.tasks / (time.perf_counter() - began)))
                cpu += time.process_time() - before
            await asyncio.sleep(0.5)  # the history of one run must not be the next one's burden
        following.cancel()
    return {"tasks_per_s": rates, "cpu_us_per_task": round(cpu / wanted.runs / wanted.tasks * 1e6, 1)}


def main() -> None:
    """Serve one request."""
    import uvloop

    print(json.dumps(uvloop.run(drive(msgspec.json.decode(sys.stdin.buffer.read(), type=Request)))))


if __name__ == "__main__":
    main()
