"""The engine's three calls, for parts that measure it alone: as ready-made bytes on one socket, or one kind after the other."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from amas.clock import new_id
from amas.engine.connection import Engine
from amas.engine.hosts import HostAbout, HostRegistry
from amas.engine.library import LIBRARY
from amas.engine.queue import Slots, TaskQueue, encode, make_submission
from amas.model.blob import Blob, to_blob
from amas.model.task import Claimed, Completion, Submission, TaskSpec
from benchmarks.fleet import engine_cpu_us
from benchmarks.work import PAYLOAD

BATCH = 500
HOST = "bench"
QUEUE = "bench.noop"
LEASE_S = 3600.0
RETENTION_MS = 3_600_000
RESULT: Blob = to_blob({"ok": True})


def submissions(count: int) -> list[Submission]:
    """Return so many new no-op tasks."""
    spec = TaskSpec(capability=QUEUE, input=PAYLOAD)
    return [make_submission(new_id(), spec) for _ in range(count)]


def free(places: int) -> list[Slots]:
    """Return what a host with so many free places asks with."""
    return [Slots((QUEUE,), ["noop-1"] * places)]


class Kinds:
    """Runs calls of one kind after the other and adds up what each costs the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue = TaskQueue(engine)
        self.cpu_us = {"submit": 0.0, "claim": 0.0, "complete": 0.0}
        """So far."""

    @classmethod
    async def begin(cls, engine: Engine) -> "Kinds":
        """Return one whose host is registered."""
        await HostRegistry(engine).register(HOST, HostAbout(0, "bench", "", ()), lease_s=LEASE_S)
        return cls(engine)

    async def submit(self, tasks: int) -> None:
        """Queue so many tasks."""
        batches = [submissions(BATCH) for _ in range(0, tasks, BATCH)]
        before = await engine_cpu_us(self._engine)
        for batch in batches:
            await self._queue.submit(batch, client_id=HOST)
        self.cpu_us["submit"] += await engine_cpu_us(self._engine) - before

    async def claim(self, tasks: int) -> list[Claimed]:
        """Claim so many tasks, which must be queued."""
        got: list[Claimed] = []
        before = await engine_cpu_us(self._engine)
        for _ in range(0, tasks, BATCH):
            got += await self._queue.claim(HOST, free(BATCH)) or ()
        self.cpu_us["claim"] += await engine_cpu_us(self._engine) - before
        assert len(got) == tasks, f"{len(got)} of {tasks} tasks were claimed"
        return got

    async def complete(self, claimed: Sequence[Claimed]) -> None:
        """Record the results of attempts."""
        done = [Completion(one.id, one.attempt, RESULT) for one in claimed]
        before = await engine_cpu_us(self._engine)
        for start in range(0, len(done), BATCH):
            refused = await self._queue.complete(HOST, done[start : start + BATCH])
            assert not refused, f"the engine refused outcomes: {refused}"
        self.cpu_us["complete"] += await engine_cpu_us(self._engine) - before


class Wire:
    """One socket to the engine and nothing of ours in between."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, prefix: str) -> None:
        self._reader, self._writer, self._prefix = reader, writer, prefix

    @classmethod
    @asynccontextmanager
    async def open(cls, engine: Engine) -> AsyncIterator["Wire"]:
        """Connect to an engine that listens on a unix socket."""
        reader, writer = await asyncio.open_unix_connection(engine.url.removeprefix("unix://"), limit=1 << 24)
        try:
            yield cls(reader, writer, engine.prefix)
        finally:
            writer.close()

    def call(self, function: str, *arguments: str | bytes | int) -> bytes:
        """Return a call as the bytes that go over the socket."""
        parts = ["FCALL", f"{LIBRARY}_{function}", 1, self._prefix, *arguments]
        raw = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
        return b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in raw)

    def cycle(self, tasks: int) -> list[bytes]:
        """Return the calls that take so many new tasks through their life."""
        calls = []
        claim = self.call("claim", 0, HOST, encode(free(BATCH)))
        for _ in range(0, tasks, BATCH):
            batch = submissions(BATCH)
            done = [Completion(submission.id, 1, RESULT) for submission in batch]
            calls.append(self.call("submit", 0, RETENTION_MS, HOST, "0", "", "", 0, b"", b"", encode(batch)))
            calls += [claim, self.call("complete", 0, RETENTION_MS, HOST, encode(done))]
        return calls

    async def say(self, calls: Sequence[bytes]) -> None:
        """Send calls, each after the answer to the one before."""
        for command in calls:
            self._writer.write(command)
            await self._writer.drain()
            await self._answer()

    async def _answer(self) -> None:
        head = await self._reader.readline()
        kind, size = head[:1], head[1:-2]
        if kind == b"-":
            raise RuntimeError(head.decode())
        if kind == b"$" and size != b"-1":
            await self._reader.readexactly(int(size) + 2)
        elif kind == b"*":
            for _ in range(int(size)):
                await self._answer()
