"""`python -m benchmarks.tracing [--tasks N] [--rounds N]`: what tracing costs in CPU a task, off and on, side by side.

Two whole fleets of one host run at a time, one that traces and one that doesn't. Each round has every way's tasks done, one way
after the other, so that what the machine does besides hits all alike; what counts is CPU time of all processes of the fleet and
of the client until the history holds everything, and of each way the median of its rounds.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from secrets import token_hex
from typing import NamedTuple

import uvloop

from amas.client import Fleet, NewTask
from amas.model.trace import TraceContext
from amas.observe.tracing import within
from amas.platforms.local.control import RunningFleet
from benchmarks.fleet import cpu_by_process, recorded, running
from benchmarks.machine import yardstick_ms

BATCH = 500
SINK = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
server.serve_forever()
"""
"""A receiver in a process of its own, whose time is nobody's."""


class Way(NamedTuple):
    """One way to have tasks done."""

    name: str
    traces: bool
    """Whether the fleet does."""
    kept: bool | None
    """Whether the tasks come with a trace that is kept; None: with no trace."""


WAYS = (
    Way("off, tasks without a trace", False, None),
    Way("off, a trace is carried", False, True),
    Way("on, tasks without a trace", True, None),
    Way("on, a trace that isn't kept", True, False),
    Way("on, a trace that is kept", True, True),
)


@contextmanager
def receiver() -> Iterator[str]:
    """Give the address of a receiver of spans."""
    with subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


@asynccontextmanager
async def started(*, traces: bool, url: str) -> AsyncIterator[tuple[RunningFleet, Fleet]]:
    """Run a fleet whose processes trace, or don't."""
    os.environ |= {"ORCHESTRATION_ENABLE_TRACING": str(traces).lower(), "OTEL_EXPORTER_OTLP_ENDPOINT": url}
    async with running(hosts=1) as pair:
        yield pair


async def cost_us(fleet: RunningFleet, client: Fleet, way: Way, tasks: int) -> float:
    """Return the microseconds of CPU that one of `tasks` tasks took."""
    before = sum(cpu_by_process(fleet).values())
    for _ in range(tasks // BATCH):
        place = "" if way.kept is None else str(TraceContext(token_hex(16), token_hex(8), way.kept))
        with within(place):
            made = await client.submit_batch([NewTask(capability="bench.noop")] * BATCH)
        await client.results(made)
    await recorded(fleet)
    return (sum(cpu_by_process(fleet).values()) - before) / tasks * 1e6


async def measure(tasks: int, rounds: int) -> dict[str, list[float]]:
    """Return what each way took in each round."""
    found: dict[str, list[float]] = {way.name: [] for way in WAYS}
    with receiver() as url:
        async with started(traces=False, url=url) as off, started(traces=True, url=url) as on:
            for way in WAYS:
                await cost_us(*(on if way.traces else off), way, BATCH)
            for number in range(rounds):
                for way in WAYS if number % 2 else reversed(WAYS):
                    found[way.name].append(await cost_us(*(on if way.traces else off), way, tasks))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000, help="of each way, in a round")
    parser.add_argument("--rounds", type=int, default=6)
    asked = parser.parse_args()
    before_ms = yardstick_ms()
    found = asyncio.run(measure(asked.tasks, asked.rounds))
    base = statistics.median(found[WAYS[0].name])
    for name, each in found.items():
        middle = statistics.median(each)
        told = ", ".join(f"{one:.1f}" for one in each)
        print(f"{name:30} {middle:6.1f} us a task  {middle / base - 1:+7.1%}  ({told})")
    print(f"yardstick {before_ms:.0f} ms before, {yardstick_ms():.0f} ms after")


if __name__ == "__main__":
    uvloop.install()
    main()
