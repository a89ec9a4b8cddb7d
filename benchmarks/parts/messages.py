"""Messages between agents on different hosts: how many a second, how long one takes, and what a host's death by kill -9 loses.

Hosts are processes of `benchmarks/messages.py` with a hundred agents on each side, and the engine has every acknowledgement on
disk. A message counts when it was signed, sent, checked, handed out, handled and acknowledged. Its time is from the call of
`send_message` in one process to the hands of the agent in the other. It is lost when the sender was told that it is sent and no
process has handled it; one that was acknowledged may not be handled again.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from amas.engine.connection import Engine
from benchmarks.fleet import engine_alone, engine_cpu_us
from benchmarks.messages import AGENTS
from benchmarks.progress import say
from benchmarks.results import Measured, quantiles

LIMIT_S = 300.0
"""Seconds after which a run is stuck."""
LOW_LOAD_PER_S = 100.0
"""Messages of all agents together in the run that measures the time of one."""


class Host(NamedTuple):
    """A process of `benchmarks/messages.py` that is ready."""

    process: asyncio.subprocess.Process
    ledger: Path | None = None

    async def say(self, word: str) -> None:
        """Tell it to begin, or to stop."""
        assert self.process.stdin
        self.process.stdin.write(f"{word}\n".encode())
        await self.process.stdin.drain()

    async def heard(self) -> Any:
        """Return what it says next."""
        assert self.process.stdout
        async with asyncio.timeout(LIMIT_S):
            return json.loads(await self.process.stdout.readline())


@asynccontextmanager
async def host(
    side: str, engine: Engine, agents: tuple[int, int], *rest: object, ledger: Path | None = None
) -> AsyncIterator[Host]:
    """Run a process for agents with numbers from and to, and give it when it is ready."""
    command = [sys.executable, "-m", "benchmarks.messages", side, engine.url, *map(str, agents), *map(str, rest)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 26)
    try:
        one = Host(process, ledger)
        assert await one.heard() == "ready"
        yield one
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def drained(engine: Engine) -> None:
    """Wait until every inbox is empty."""
    async with asyncio.timeout(LIMIT_S):
        while await engine.client.hlen(engine.key("inboxes")):  # noqa: ASYNC110  another process's work
            await asyncio.sleep(0.01)


Line = tuple[str, str, int]
"""Sender, recipient, number."""


def entries(ledgers: Iterable[Path]) -> dict[str, list[Line]]:
    """Return what ledgers say was `handled` and `acknowledged`, in their order; a line that was cut off isn't there."""
    found: dict[str, list[Line]] = {"handled": [], "acknowledged": []}
    for ledger in ledgers:
        for line in ledger.read_text().rpartition("\n")[0].splitlines():
            kind, sender, recipient, number = line.split()
            found[kind].append((sender, recipient, int(number)))
    return found


def out_of_order(handled: Iterable[Line]) -> int:
    """Return how many messages a process handled after a later one of the same sender to the same recipient."""
    by_pair: dict[tuple[str, str], list[int]] = {}
    for sender, recipient, number in handled:
        by_pair.setdefault((sender, recipient), []).append(number)
    return sum(after <= before for numbers in by_pair.values() for before, after in pairwise(numbers))


async def run(folder: Path, each: int, per_s: float = 0.0) -> dict[str, Any]:
    """Send `each` messages from each agent and return messages a second, each one's milliseconds and CPU by process."""
    ledger = folder / f"ledger-{time.monotonic_ns()}"
    async with (
        engine_alone() as engine,
        host("receive", engine, (1, AGENTS), ledger, ledger=ledger) as receiver,
        host("send", engine, (1, AGENTS), each, per_s) as sender,
    ):
        cpu_us = await engine_cpu_us(engine)
        await receiver.say("begin")
        await sender.say("begin")
        sent = await sender.heard()
        await drained(engine)
        seconds = time.monotonic() - sent["began_s"]
        cpu_us = await engine_cpu_us(engine) - cpu_us
        await receiver.say("stop")
        received = await receiver.heard()
    count, found = each * AGENTS, entries([ledger])
    assert len(set(found["acknowledged"])) == count, "a message got lost without any fault"
    assert out_of_order(found["handled"]) == 0, "a message overtook another"
    cpu = {"engine": cpu_us, "sender": sent["cpu_s"] * 1e6, "receiver": received["cpu_s"] * 1e6}
    return {"per_s": count / seconds, "taken_ms": received["taken_ms"], "cpu_us": {name: us / count for name, us in cpu.items()}}


async def one_write(count: int) -> dict[str, float]:
    """Return the milliseconds of a bare write to the engine; a message takes two, one after the other, and a bell between."""
    taken = []
    async with engine_alone() as engine:
        for number in range(count):
            began = time.perf_counter()
            await engine.client.set(engine.key("bench"), number)
            taken.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(1 / LOW_LOAD_PER_S)
    return quantiles(taken)


async def kill(folder: Path, each: int) -> dict[str, Any]:
    """Kill one of two receiving hosts at full load, start another for its agents, and return what became of the messages."""
    half = AGENTS // 2
    ledgers = [folder / name for name in ("survivor", "victim", "successor")]
    async with (
        engine_alone() as engine,
        host("receive", engine, (half + 1, AGENTS), ledgers[0]),
        host("receive", engine, (1, half), ledgers[1], ledger=ledgers[1]) as victim,
        host("send", engine, (1, AGENTS), each, 0.0) as sender,
    ):
        await sender.say("begin")
        async with asyncio.timeout(LIMIT_S):
            while not ledgers[1].exists() or ledgers[1].stat().st_size < each * half * 10:  # noqa: ASYNC110  its work
                await asyncio.sleep(0.001)
        victim.process.kill()
        await victim.process.wait()
        killed_s = time.monotonic()
        async with host("receive", engine, (1, half), ledgers[2]):
            ready_s = time.monotonic() - killed_s
            await sender.heard()
            await drained(engine)
    before, after = entries(ledgers[:2]), entries(ledgers[2:])
    handled = before["handled"] + after["handled"]
    for one in ledgers:
        assert out_of_order(entries([one])["handled"]) == 0, "a message overtook another"
    return {
        "messages": each * AGENTS,
        "acknowledged_by_victim": len(entries([ledgers[1]])["acknowledged"]),
        "lost": each * AGENTS - len(set(handled)),
        "handled_twice": sum(times > 1 for times in Counter(handled).values()),
        "handled_after_acknowledgement": len(set(before["acknowledged"]) & set(after["handled"])),
        "successor_ready_s": round(ready_s, 3),
    }


async def measure(*, quick: bool) -> Measured:
    """Return messages a second, milliseconds of one at low load, CPU microseconds of each, and what kills lost."""
    each, paced, kills = (20, 1, 1) if quick else (1_000, 20, 3)
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as name:
        folder = Path(name)
        say(f"{each * AGENTS:,} messages, fsync")
        runs = sorted([await run(folder, each) for _ in range(1 if quick else 3)], key=lambda one: float(one["per_s"]))
        full = runs[len(runs) // 2]
        say("low load")
        write = await one_write(count=100 if quick else 1_000)
        low = quantiles((await run(folder, paced, LOW_LOAD_PER_S))["taken_ms"])
        killed = []
        for number in range(kills):
            say(f"kill {number + 1} of {kills}")
            (folder / str(number)).mkdir()
            killed.append(await kill(folder / str(number), each))
    assert not any(one["handled_after_acknowledgement"] for one in killed), "an acknowledged message was handled again"
    keys = {
        "messages_per_s_fsync": round(full["per_s"]),
        "message_latency_p50_ms": low["p50"],
        "message_latency_p99_ms": low["p99"],
        "messages_lost_host_kill": sum(one["lost"] for one in killed),
        "cpu_us_per_message": round(sum(full["cpu_us"].values()), 1),
    }
    details = {
        "runs_per_s": [round(one["per_s"]) for one in runs],
        "cpu_us": {part: round(us, 1) for part, us in full["cpu_us"].items()},
        "full_load_ms": quantiles(full["taken_ms"]),
        "low_load_ms": low,
        "one_write_ms": write,
        "kills": killed,
    }
    return Measured(keys, details)
