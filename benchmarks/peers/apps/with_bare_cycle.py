"""Not a peer, a rod to measure with: the least that a durable queue in Lua must do (`bare_cycle.lua`), by 100 in a call.

One worker on uvloop runs what it claims, each task with a time limit and a lease, and stores the results; the submitter hears of
every end. What amas takes beyond this is what its features cost, on whatever machine both run.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import redis.asyncio as driver
import uvloop
from harness import URL, Payload, drive, payload, work

BATCH = 100
LEASE_MS = 30_000
LIMIT_S = 30.0
PATIENCE_S = 5


def _call(server: "driver.Redis", function: str, *arguments: object) -> Any:
    return server.fcall(function, 0, *arguments)


async def _agent(task: Payload) -> dict[str, bool]:
    return work(task)


async def _attempt(task_id: bytes, body: bytes) -> tuple[bytes, str]:
    async with asyncio.timeout(LIMIT_S):
        return task_id, json.dumps(await _agent(json.loads(body)))


async def worker() -> None:
    """Claim and run until killed."""
    server, name = driver.Redis.from_url(URL), f"worker-{os.getpid()}"
    while True:
        claimed = await _call(server, "claim", BATCH, name, int(time.time() * 1000) + LEASE_MS)
        if not claimed:
            await server.blpop("bell", PATIENCE_S)
            continue
        pairs = zip(claimed[::2], claimed[1::2], strict=True)
        ended = await asyncio.gather(*(asyncio.create_task(_attempt(*pair)) for pair in pairs))
        await _call(server, "complete", *(part for pair in ended for part in pair))


class Submitter:
    """Submits tasks and hears of their ends."""

    def __init__(self) -> None:
        self._server, self._ears = driver.Redis.from_url(URL), driver.Redis.from_url(URL).pubsub()
        self._open: set[bytes] = set()
        self._all_ended = asyncio.Event()
        self._last = 0

    async def begin(self) -> None:
        """Load the functions and listen."""
        await self._server.function_load(Path(__file__).with_name("bare_cycle.lua").read_text(), replace=True)
        await self._ears.subscribe("ended")
        self._hearing = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        async for message in self._ears.listen():
            if message["type"] == "message":
                self._open.difference_update(message["data"].split(b","))
                if not self._open:
                    self._all_ended.set()

    async def _submit(self, count: int) -> list[bytes]:
        ids = [b"%08d" % number for number in range(self._last, self._last + count)]
        self._last += count
        self._open.update(ids)
        self._all_ended.clear()
        bodies = (json.dumps(payload(number)) for number in range(count))
        await _call(self._server, "submit", *(part for pair in zip(ids, bodies, strict=True) for part in pair))
        return ids

    async def run(self, tasks: int) -> None:
        """Submit so many and hear of the end of each."""
        for first in range(0, tasks, BATCH):
            await self._submit(min(BATCH, tasks - first))
        await self._all_ended.wait()

    async def one(self) -> None:
        """Submit one and see its result."""
        (task_id,) = await self._submit(1)
        await self._all_ended.wait()
        assert json.loads(await self._server.hget(f"task:{task_id.decode()}", "result")) == {"ok": True}

    async def forget(self) -> None:
        """Empty the server; the functions stay."""
        await self._server.flushdb()


def main() -> None:
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    run, submitter = loop.run_until_complete, Submitter()
    run(submitter.begin())
    drive(
        [[sys.executable, __file__, "work"]],
        lambda tasks: run(submitter.run(tasks)),
        lambda _: 0,
        lambda: run(submitter.forget()),
        one=lambda _: run(submitter.one()),
        also_unsynced=True,
    )


if __name__ == "__main__":
    uvloop.run(worker()) if sys.argv[1:] == ["work"] else main()
