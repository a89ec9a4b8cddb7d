"""Connections that go bad in every way, under load: work goes on, nothing is lost or doubled, and nobody knocks without a pause.

A host and a client reach one engine through a proxy that a test breaks. After each fault a new task is done: nobody is stuck.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest
from host_bench import Bench, pool
from tests.fault.chaos_proxy import ChaosProxy
from tests.fault.fault_bench import LIMIT_S, assert_each_ended_once, duties, echoes, new_seed

from amas.client import Fleet
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.engine.hosts import HostRegistry
from amas.observe import events

TIMEOUT_S = 1.0
"""After which a silent server counts as frozen, in these tests: AMAS_ENGINE_TIMEOUT_S."""
LEASE_S = 10.0
"""Of a host that nobody kills: longer than the faults, and a slow moment besides."""
CELLMATES = 6
"""Connections that a host, its lease, a client and the duties hold between them while nothing is wrong, or fewer."""
WHOLE = os.environ.get("AMAS_SOAK") == "full"


class Rig(NamedTuple):
    """A host and a client behind a proxy each can't see past."""

    bench: Bench
    fleet: Fleet
    proxy: ChaosProxy

    async def works(self, tasks: int = 60) -> list[str]:
        """Have tasks done and return their ids."""
        return await echoes(self.fleet, tasks)

    async def nothing_lost(self, ids: Sequence[str]) -> None:
        await assert_each_ended_once(self.bench.engine, [*ids, *await self.works(20)])

    def host_lines(self, event: str) -> int:
        return sum(line.get("event") == event for line in self.bench.log_lines("h1"))


@asynccontextmanager
async def rig_on(url: str, cell: str, folder: Path) -> AsyncIterator[Rig]:
    """Give a rig on the engine at `url`, a unix socket, which the test itself reaches without the proxy."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine(url, cell=cell))
        await engine.check(load=True)
        proxy = await stack.enter_async_context(ChaosProxy(Path(unquote(url.removeprefix("unix://")))).running())
        bench = Bench(engine, proxy.url, folder)
        await stack.enter_async_context(duties(url, cell))
        await stack.enter_async_context(bench.host([pool("echo", replicas=8)], lease_s=LEASE_S, beat_every_s=0.5))
        yield Rig(bench, await stack.enter_async_context(Fleet.connect(proxy.url, cell=cell)), proxy)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMAS_ENGINE_TIMEOUT_S", str(TIMEOUT_S))
    monkeypatch.setenv("AMAS_ACK_TIMEOUT_S", str(TIMEOUT_S / 2))


@pytest.fixture
async def rig(engine: Engine, engine_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    cell = engine.prefix.removeprefix("amas:{").removesuffix("}")
    async with rig_on(engine_url, cell, tmp_path) as found:
        await found.works(20)
        yield found


async def test_half_open_connections_are_found_out_and_left(rig: Rig) -> None:
    """What a firewall that forgot them does: they stay up and carry nothing; new ones work."""
    before = rig.proxy.connects
    working = asyncio.create_task(rig.works(400))
    await asyncio.sleep(0)
    rig.proxy.swallow()
    ids = await working
    await rig.nothing_lost(ids)
    assert rig.host_lines(events.LEASE_LOST) == 0, "the lease outlives a connection that swallows beats"
    # A slow moment may cost each another one; who knocks without a pause makes hundreds.
    assert before < rig.proxy.connects <= before + 8 * CELLMATES, "each went over to a new one, and stayed there"


async def test_a_swallowed_beat_leaves_time_in_the_lease_for_another(
    engine: Engine, engine_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although an answer may take longer than the lease, as with the settings' defaults."""
    monkeypatch.setenv("AMAS_ENGINE_TIMEOUT_S", "30")
    registry = HostRegistry(engine)
    async with rig_on(engine_url, engine.prefix[6:-1], tmp_path) as rig:
        (host,) = await registry.all()
        rig.proxy.swallow()
        async with asyncio.timeout(LIMIT_S):
            while (renewed := await registry.all()) and renewed[0].lease_until_ms < host.lease_until_ms + LEASE_S * 1000:
                await asyncio.sleep(0.05)
        assert renewed, "the lease ran out"
        rig.proxy.reset()  # the rest of the host would wait for half a minute


async def test_a_network_that_swallows_everything_is_waited_for(rig: Rig) -> None:
    before, cpu_s = rig.proxy.connects, time.process_time()
    working = asyncio.create_task(rig.works(200))
    await asyncio.sleep(0)
    rig.proxy.silent = True
    rig.proxy.swallow()
    await asyncio.sleep(3 * TIMEOUT_S)
    assert not working.done()
    assert time.process_time() - cpu_s < TIMEOUT_S, "waiting takes next to nothing"
    rig.proxy.silent = False
    rig.proxy.swallow()
    await rig.nothing_lost(await working)
    assert rig.proxy.connects <= before + 8 * CELLMATES


async def test_an_engine_that_refuses_is_knocked_at_with_growing_pauses(rig: Rig) -> None:
    working = asyncio.create_task(rig.works(200))
    await asyncio.sleep(0)
    rig.proxy.refuses = True
    rig.proxy.reset()
    before, cpu_s, began_s = rig.proxy.connects, time.process_time(), time.monotonic()
    await asyncio.sleep(4)
    took_s = time.monotonic() - began_s  # more where the machine is slow
    # In 4 s of growing pauses from 0.05 to 2 s: 8 tries each of the pump, the bells and the client, and a beat each 0.125 s.
    assert 5 < rig.proxy.connects - before < 20 * took_s
    assert time.process_time() - cpu_s < 0.4 * took_s
    rig.proxy.refuses = False
    await rig.nothing_lost(await working)


async def test_resets_in_the_middle_of_answers_lose_and_double_nothing(rig: Rig) -> None:
    rng = random.Random(new_seed())
    working = asyncio.create_task(rig.works(1000))
    for _ in range(12):
        rig.proxy.reset_in_bytes = rng.randrange(1, 4000)
        async with asyncio.timeout(LIMIT_S):
            while rig.proxy.reset_in_bytes is not None and not working.done():
                await asyncio.sleep(0.005)
        await asyncio.sleep(rng.random() * 0.2)
    rig.proxy.reset_in_bytes = None
    await rig.nothing_lost(await working)


async def test_a_slow_network_is_slow_and_nothing_else(
    engine: Engine, engine_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more patience than elsewhere here: a core that others use may add seconds to a slow answer."""
    monkeypatch.setenv("AMAS_ENGINE_TIMEOUT_S", str(30 * TIMEOUT_S))
    async with rig_on(engine_url, engine.prefix[6:-1], tmp_path) as rig:
        await rig.works(20)
        rig.proxy.delay_s = TIMEOUT_S / 8
        before = rig.proxy.connects
        ids = await rig.works(60)
        rig.proxy.delay_s = 0.0
        await rig.nothing_lost(ids)
        assert rig.proxy.connects <= before + 2, "no connection was given up"
        assert rig.host_lines(events.ENGINE_TROUBLE) == 0


async def test_a_server_that_freezes_longer_than_anybody_waits(tmp_path: Path) -> None:
    server = EmbeddedEngine(tmp_path / "engine")
    await server.start()
    try:
        async with rig_on(server.url, "frozen", tmp_path) as rig:
            await rig.works(20)
            working = asyncio.create_task(rig.works(400))
            await asyncio.sleep(0)
            before = rig.proxy.connects
            assert server.pid is not None
            os.kill(server.pid, signal.SIGSTOP)
            await asyncio.sleep(3 * TIMEOUT_S)
            os.kill(server.pid, signal.SIGCONT)
            await rig.nothing_lost(await working)
            assert rig.proxy.connects <= before + 8 * CELLMATES
            assert rig.host_lines(events.LEASE_LOST) == 0
    finally:
        if server.pid is not None:
            os.kill(server.pid, signal.SIGCONT)
        await server.stop()


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_everything_in_turn(rig: Rig) -> None:
    """Faults at random for a while, with work under way all the time."""
    rng = random.Random(new_seed())
    ids: list[str] = []
    for _ in range(60 if WHOLE else 5):
        working = asyncio.create_task(rig.works(rng.choice([100, 500, 1000])))
        await asyncio.sleep(rng.random() * 0.1)
        match rng.choice(["half-open", "silent", "refuse", "reset", "slow", "bytes"]):
            case "half-open":
                rig.proxy.swallow()
            case "silent":
                rig.proxy.silent = True
                rig.proxy.swallow()
            case "refuse":
                rig.proxy.refuses = True
                rig.proxy.reset()
            case "reset":
                rig.proxy.reset()
            case "slow":
                rig.proxy.delay_s = rng.random() * TIMEOUT_S / 4
            case "bytes":
                rig.proxy.reset_in_bytes = rng.randrange(1, 20_000)
        await asyncio.sleep(rng.random() * 3 * TIMEOUT_S)
        rig.proxy.silent = rig.proxy.refuses = False
        rig.proxy.delay_s, rig.proxy.reset_in_bytes = 0.0, None
        ids += await working
    await rig.nothing_lost(ids)
