"""What is put under test: a whole local fleet with everything switched on, or the engine alone, each in a folder of its own."""

import asyncio
import json
import os
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from amas.client import Fleet
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.request import StartRequest
from benchmarks.machine import cpu_s

NOOP = Path(__file__).with_name("noop.yaml")
NAPS = Path(__file__).with_name("naps.yaml")
WIDE = Path(__file__).with_name("wide.yaml")


_SHORT_LEASE = {"AMAS_LEASE_S": "1.5", "AMAS_BEAT_EVERY_S": "0.5"}
_shared: list[RunningFleet] = []
"""The one fleet of a quick run."""


@asynccontextmanager
async def _started(fleet_file: Path, hosts: int) -> AsyncIterator[RunningFleet]:
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        request = StartRequest(home=folder, fleet_file=str(fleet_file), hosts=hosts, port=0, metrics_port=0, bound=True)
        fleet = await start_fleet(request)
        try:
            yield fleet
        finally:
            await fleet.stop()


@asynccontextmanager
async def shared() -> AsyncIterator[None]:
    """Let every `running` give the same fleet, one whose hosts are given up soon: a quick run has no time for a new one each."""
    os.environ.update(_SHORT_LEASE)
    try:
        async with _started(NAPS, 1) as fleet:
            _shared.append(fleet)
            yield
    finally:
        _shared.clear()
        for name in _SHORT_LEASE:
            del os.environ[name]


@asynccontextmanager
async def running(*, hosts: int, fleet_file: Path = NOOP) -> AsyncIterator[tuple[RunningFleet, Fleet]]:
    """Run a fleet of its own, or the shared one, and give it with a connected client."""
    async with AsyncExitStack() as stack:
        fleet = _shared[0] if _shared else await stack.enter_async_context(_started(fleet_file, hosts))
        yield fleet, await stack.enter_async_context(Fleet.connect(home=fleet.home.folder))


@asynccontextmanager
async def engine_alone() -> AsyncIterator[Engine]:
    """Run an engine as a local fleet has it, with the function library and nobody else, and give a connection."""
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        server = EmbeddedEngine(Path(folder))
        await server.start()
        try:
            async with Engine(server.url) as engine:
                await engine.check(load=True)
                yield engine
        finally:
            await server.stop()


def pids(fleet: RunningFleet) -> dict[str, int]:
    """Return the process ids of the fleet's parts, by name, and the supervisor's."""
    state = fleet.state
    return {"supervisor": state.supervisor_pid, **{part.name: part.pid for part in state.parts}}


def cpu_by_process(fleet: RunningFleet) -> dict[str, float]:
    """Return the CPU seconds so far of each part of the fleet, by name, and of this process (`client`)."""
    return {name: cpu_s([pid]) for name, pid in (pids(fleet) | {"client": os.getpid()}).items()}


async def recorded(fleet: RunningFleet) -> None:
    """Wait until the history holds everything, so that the recorder's work is counted with what caused it."""

    def lag_s() -> float:
        with urllib.request.urlopen(f"{fleet.state.api_url}/api/metrics", timeout=10) as answer:
            return float(json.load(answer)["recorder_lag_s"])

    async with asyncio.timeout(120):
        while await asyncio.to_thread(lag_s) > 0:  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.25)  # seldom, for each look costs the control plane something


async def engine_cpu_us(engine: Engine) -> float:
    """Return the CPU microseconds that the engine has taken so far, its log's writes included."""
    found = await engine.client.info("cpu")
    return (float(found["used_cpu_user"]) + float(found["used_cpu_sys"])) * 1e6


async def engine_memory_bytes(engine: Engine) -> int:
    """Return the bytes that the engine's data take, and its own overhead."""
    return int((await engine.client.info("memory"))["used_memory"])


async def log_settled(engine: Engine) -> None:
    """Wait until the engine isn't rewriting its log, which another process of it does."""
    async with asyncio.timeout(120):
        while (await engine.client.info("persistence"))["aof_rewrite_in_progress"]:  # noqa: ASYNC110  the server's state
            await asyncio.sleep(0.05)


async def begin_log_rewrite(engine: Engine) -> None:
    """Have the engine write its log anew, once it isn't doing so already."""
    await log_settled(engine)
    await engine.client.bgrewriteaof()


async def forget_journal(engine: Engine) -> None:
    """Empty the journal, as the recorder of a whole fleet would have by now."""
    await engine.client.xtrim(engine.key("journal"), maxlen=0)
