"""`python -m benchmarks.listeners [--listeners 1000] [--seconds 20]`: what those cost who follow the figures on `GET /api/live`.

Prints the control plane's CPU milliseconds a second with nobody, one and many listeners, while a few tasks a second make the
figures change, so that every listener gets a frame each second. The listeners read in this process, whose CPU isn't counted.
"""

import argparse
import asyncio
import json
from urllib.parse import urlsplit

import uvloop

from amas.client import Fleet
from benchmarks.fleet import cpu_by_process, running

SETTLE_S = 3.0


class Reader(asyncio.Protocol):
    """One listener: counts frames, keeps nothing."""

    def __init__(self) -> None:
        self.frames, self.bytes = 0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(  # type: ignore[attr-defined]  # uvloop's is no asyncio.Transport
            b"GET /api/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        self.frames += data.count(b"event: figures")
        self.bytes += len(data)


async def _busy(fleet: Fleet) -> None:
    while True:
        await fleet.submit("bench.noop", None)
        await asyncio.sleep(0.3)


async def measure(listeners: int, seconds: float) -> list[dict[str, float]]:
    """Return a row for nobody, one and `listeners` listeners."""
    rows = []
    async with running(hosts=1) as (fleet, client):
        address = urlsplit(fleet.state.api_url)
        working = asyncio.ensure_future(_busy(client))
        for count in (0, 1, listeners):
            loop = asyncio.get_running_loop()
            opened = [await loop.create_connection(Reader, address.hostname, address.port) for _ in range(count)]
            await asyncio.sleep(SETTLE_S)
            frames, sent = sum(one.frames for _, one in opened), sum(one.bytes for _, one in opened)
            before = cpu_by_process(fleet)
            await asyncio.sleep(seconds)
            after = cpu_by_process(fleet)
            frames, sent = sum(one.frames for _, one in opened) - frames, sum(one.bytes for _, one in opened) - sent
            rows.append(
                {
                    "listeners": count,
                    "control_plane_cpu_ms_per_s": round((after["control-plane"] - before["control-plane"]) / seconds * 1e3, 1),
                    "frames_per_listener_s": round(frames / seconds / count, 2) if count else 0.0,
                    "bytes_per_listener_s": round(sent / seconds / count) if count else 0,
                }
            )
            for transport, _ in opened:
                transport.close()
        working.cancel()
        await asyncio.wait([working])
    return rows


def main() -> None:
    """Measure and print a line of JSON for each number of listeners."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    for row in uvloop.run(measure(given.listeners, given.seconds)):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
