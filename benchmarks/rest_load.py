"""`python -m benchmarks.rest_load`: drives `POST /api/tasks/batch` from a process of its own, as a program in any language would.

Reads one JSON object from standard input, `{"url", "tasks", "batch", "connections", "runs"}`, and writes one to standard output:
`{"tasks_per_s": [...], "cpu_us_per_task", "round_trips_s": [...]}`. Connections are kept alive. It waits for the results on
`POST /api/tasks/outcomes`, over two connections beside those that submit, and a run ends when it holds every result. With
`"round_trips"` so many tasks follow one after the other.

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

IDS_MAX = 1000
"""Tasks in one question for outcomes."""
WAITERS = 2
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Request(msgspec.Struct, frozen=True):
    """What to do."""

    url: str
    tasks: int
    batch: int
    connections: int
    runs: int
    input: dict[str, object] = msgspec.field(default_factory=lambda: dict(PAYLOAD))
    round_trips: int = 0


class _Ids(msgspec.Struct, frozen=True):
    ids: list[str]


class _Outcomes(msgspec.Struct, frozen=True):
    ended: list[msgspec.Raw]


_ids, _outcomes = msgspec.json.Decoder(_Ids), msgspec.json.Decoder(_Outcomes)


async def _post(streams: Streams, path: str, body: bytes, *, status: bytes) -> bytes:
    reader, writer = streams
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    content = await reader.readexactly(length)
    if not answer.startswith(b"HTTP/1.1 " + status):
        raise RuntimeError(f"{answer.splitlines()[0].decode()}: {content.decode()[:300]}")
    return content


async def _submitting(streams: Streams, body: bytes, left: Iterator[int], stored: "asyncio.Queue[list[str]]") -> None:
    for _ in left:
        await stored.put(_ids.decode(await _post(streams, "/api/tasks/batch", body, status=b"201")).ids)


async def _awaiting(streams: Streams, stored: "asyncio.Queue[list[str]]") -> None:
    """Take what was stored, up to a thousand tasks at a time, and wait for all of it; an empty batch is the end."""
    while ids := await stored.get():
        while len(ids) < IDS_MAX and not stored.empty():
            more = stored.get_nowait()
            if not more:
                stored.put_nowait(more)
                break
            ids += more
        for first in range(0, len(ids), IDS_MAX):
            part = ids[first : first + IDS_MAX]
            body = msgspec.json.encode({"ids": part})
            got = _outcomes.decode(await _post(streams, "/api/tasks/outcomes?wait=30", body, status=b"200")).ended
            assert len(got) == len(part)


async def _round_trip(streams: Streams, body: bytes) -> float:
    """Return the seconds from the submission of one task until its outcome is here."""
    began = time.perf_counter()
    stored = await _post(streams, "/api/tasks/batch", body, status=b"201")
    got = _outcomes.decode(await _post(streams, "/api/tasks/outcomes?wait=30", stored, status=b"200")).ended
    assert len(got) == 1
    return time.perf_counter() - began


async def drive(wanted: Request) -> dict[str, object]:
    """Do what is wanted and return rates and the CPU that it took here."""
    address = urlsplit(wanted.url)
    host, port = address.hostname or "", address.port or 80
    task = {"capability": "bench.noop", "input": wanted.input}
    body = msgspec.json.encode([task] * wanted.batch)
    rates, cpu = [], 0.0
    async with asyncio.timeout(LIMIT_S):
        submitters = [await asyncio.open_connection(host, port, limit=1 << 24) for _ in range(wanted.connections)]
        waiters = [await asyncio.open_connection(host, port, limit=1 << 24) for _ in range(WAITERS)]
        for number in range(wanted.runs + 1):
            before, began = time.process_time(), time.perf_counter()
            left = iter(range(wanted.tasks // wanted.batch))
            stored: asyncio.Queue[list[str]] = asyncio.Queue()
            waiting = [asyncio.ensure_future(_awaiting(streams, stored)) for streams in waiters]
            await asyncio.gather(*(_submitting(streams, body, left, stored) for streams in submitters))
            for _ in waiters:
                await stored.put([])
            await asyncio.gather(*waiting)
            if number:  # the first warms up
                rates.append(round(wanted.tasks / (time.perf_counter() - began)))
                cpu += time.process_time() - before
            await asyncio.sleep(0.5)  # the history of one run must not be the next one's burden
        round_trips = [await _round_trip(submitters[0], msgspec.json.encode([task])) for _ in range(wanted.round_trips)]
        for _, writer in (*submitters, *waiters):
            writer.close()
    cpu_us = round(cpu / wanted.runs / wanted.tasks * 1e6, 1)
    return {"tasks_per_s": rates, "cpu_us_per_task": cpu_us, "round_trips_s": round_trips}


def main() -> None:
    """Serve one request."""
    import uvloop

    print(json.dumps(uvloop.run(drive(msgspec.json.decode(sys.stdin.buffer.read(), type=Request)))))


if __name__ == "__main__":
    main()
