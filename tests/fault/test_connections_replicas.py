"""What an acknowledgement means with replicas: who confirms, what it costs, what a submitter is told, and who is followed."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.cell import LEASE_S, Cell, done, task
from tests.fault.chaos_proxy import ChaosProxy
from tests.fault.replicas import LIMIT_S, ReplicaSet, Server, oldest_redis, replica_set

from amas.engine.address import parse_sentinels, without_secrets
from amas.engine.bell import Bell
from amas.engine.connection import Engine
from amas.engine.hosts import HostFigures
from amas.engine.queue import Exchange, Idempotency, Slots
from amas.errors import EngineUnconfirmed, EngineUnreachable, EngineUnsupported, SettingInvalid
from amas.settings import EngineSettings


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReplicaSet]:
    """A primary and its replica, for tests that leave them as they were."""
    async with replica_set(tmp_path_factory.mktemp("pair")) as found, Engine(found.first_url) as engine:
        await engine.check(load=True)
        yield found


def confirmed_by(pair: ReplicaSet, *, cell: str, fsync: bool = False, replicas: int = 1, timeout_s: float = 0.2) -> Cell:
    settings = EngineSettings(timeout_s=60, ack_replicas=replicas, ack_fsync=fsync, ack_timeout_s=timeout_s)
    return Cell(Engine(pair.first_url, cell=cell, settings=settings))


async def waits(server: Server, command: str = "wait") -> int:
    """How often the server was asked to wait for replicas."""
    found = await server.client.info("commandstats")
    return int(found.get(f"cmdstat_{command}", {}).get("calls", 0))


@pytest.mark.parametrize("fsync", [False, True])
async def test_one_wait_covers_a_whole_round_trip(pair: ReplicaSet, fsync: bool) -> None:
    cell = confirmed_by(pair, cell=f"one-wait-{fsync}", fsync=fsync, timeout_s=15)
    async with cell.engine:
        command = "waitaof" if fsync else "wait"
        await cell.host()
        before = await waits(pair.first, command)
        await cell.submit(*(task(f"t{n}") for n in range(500)))
        assert await waits(pair.first, command) == before + 1
        claimed = await cell.claim(100)
        assert await waits(pair.first, command) == before + 2
        said = Exchange([done(one) for one in claimed], (), [Slots(("work",), ["a"])])
        assert (await cell.queue.exchange("h1", said, now_ms=cell.now)).refused == []
        assert await waits(pair.first, command) == before + 3
        copy = await pair.second.client.hget(cell.engine.key("t", claimed[0].id), "s")
        assert copy == b"succeeded", "the replica has what was acknowledged"


async def test_without_the_setting_nobody_waits(pair: ReplicaSet) -> None:
    cell = Cell(Engine(pair.first_url, cell="off"))
    async with cell.engine:
        before = await waits(pair.first)
        await cell.submit(task("t"))
        await cell.complete(await cell.run("t"))
        assert await waits(pair.first) == before


async def test_a_replica_that_is_gone_holds_up_no_sweep_and_costs_no_lease(pair: ReplicaSet) -> None:
    cell = confirmed_by(pair, cell="beats", replicas=2)
    async with cell.engine:
        before = await waits(pair.first)
        await cell.host()
        assert await cell.reap()
        await cell.promote()
        await cell.queue.forget(now_ms=cell.now)
        assert await waits(pair.first) == before
        await cell.host()
        cell.now += 4000
        with pytest.raises(EngineUnconfirmed):  # it was renewed, as far as this primary goes
            await cell.hosts.renew("h1", HostFigures(), lease_s=LEASE_S, now_ms=cell.now)
        cell.now += 4000
        assert await cell.hosts.reap(now_ms=cell.now) is None


@pytest.mark.parametrize("fsync", [False, True])
async def test_too_few_replicas_are_said_and_saying_it_again_is_safe(pair: ReplicaSet, fsync: bool) -> None:
    cell = confirmed_by(pair, cell=f"too-few-{fsync}", fsync=fsync)
    once = Idempotency("key", "digest", b"first answer")
    async with cell.engine:
        pair.second.send(signal.SIGSTOP)
        try:
            with pytest.raises(EngineUnconfirmed, match=r"^0 of 1 replicas of the engine at redis://\S+ confirmed a call"):
                await cell.submit(task("t"))
            with pytest.raises(EngineUnconfirmed, match=r"may or may not be stored.* again under the same ids is safe$"):
                await cell.submit(task("t"), resend=True)
            with pytest.raises(EngineUnconfirmed):
                await cell.queue.submit([task("i")], idempotency=once, now_ms=cell.now)
            with pytest.raises(EngineUnconfirmed):  # over any connection: what was seen isn't safe yet
                await cell.queue.submit([task("i")], idempotency=once, now_ms=cell.now)
            async with confirmed_by(pair, cell=f"too-few-{fsync}", fsync=fsync).engine as other:
                with pytest.raises(EngineUnconfirmed):
                    await Cell(other).queue.submit([task("i")], idempotency=once, now_ms=cell.now)
        finally:
            pair.second.send(signal.SIGCONT)
        await pair.in_step()
        patient = confirmed_by(pair, cell=f"too-few-{fsync}", fsync=fsync, timeout_s=15)
        async with patient.engine:
            await patient.submit(task("t"), resend=True)
            assert await patient.queue.submit([task("i")], idempotency=once, now_ms=cell.now) == b"first answer"
            claimed = await patient.claim(5)
        assert sorted(one.id for one in claimed) == ["i", "t"]


async def test_an_older_server_confirms_memory_and_says_so(tmp_path: Path) -> None:
    async with replica_set(tmp_path, binary=oldest_redis()) as found:
        settings = EngineSettings(ack_replicas=1, ack_fsync=True, ack_timeout_s=5)
        async with Engine(found.first_url, cell="old", settings=settings) as engine:
            await engine.check(load=True)
            assert "in the memory of 1 replica" in engine.acknowledgement
            cell = Cell(engine)
            await cell.submit(task("t"))
            found.second.send(signal.SIGSTOP)
            with pytest.raises(EngineUnconfirmed):
                await cell.submit(task("u"))
        alone = EngineSettings(ack_fsync=True)
        async with Engine(found.first_url, cell="old", settings=alone) as engine:
            with pytest.raises(EngineUnsupported, match=r"can't confirm what is on its disk.*appendfsync always"):
                await engine.check()


async def test_a_server_that_keeps_no_log_is_named(pair: ReplicaSet) -> None:
    cell = confirmed_by(pair, cell="no-log", fsync=True)
    async with cell.engine:
        await cell.engine.check()
        await pair.first.client.config_set("appendonly", "no")
        try:
            with pytest.raises(EngineUnsupported, match="which AMAS_ACK_FSYNC asks for: set `appendonly yes` there"):
                await cell.engine.check()
            with pytest.raises(EngineUnsupported, match="keeps no append-only file"):
                await cell.submit(task("t"))
        finally:
            await pair.first.client.config_set("appendonly", "yes")
            await pair.first.until("persistence", "aof_rewrite_in_progress", 0)


async def test_an_address_that_moves_to_a_promoted_replica_is_followed(tmp_path: Path) -> None:
    """Without sentinels: a service's address leads to the new primary, while old connections still reach the old one."""
    heard = asyncio.Event()
    settings = EngineSettings(timeout_s=20)
    async with (
        replica_set(tmp_path) as found,
        ChaosProxy(found.first.address).running() as way,
        Engine(way.url, cell="moved", settings=settings) as engine,
    ):
        await engine.check(load=True)
        bell = Bell(engine, {"bell": lambda _: heard.set()}, connected=lambda: None)
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            ringing = group.create_task(bell.run())
            await bell.listening.wait()
            cell = Cell(engine)
            await asyncio.gather(*(cell.submit(task(f"t{n}")) for n in range(10)))  # ten connections
            heard.clear()
            await found.second.client.replicaof("NO", "ONE")
            await found.first.client.replicaof(*map(str, found.second.address))
            way.target = found.second.address
            with pytest.raises(EngineUnreachable, match="is a replica, which takes no writes: another"):
                await cell.submit(task("after"))
            await cell.submit(task("after"))  # the idle connections to the old one are gone
            await heard.wait()  # the bell's own reaches a replica, which passes messages on
            ringing.cancel()
        assert {one.id for one in await cell.claim(20)} == {"after", *(f"t{n}" for n in range(10))}


def test_an_address_of_sentinels() -> None:
    found = parse_sentinels("redis+sentinel://user:p%40ss@one:1,two/main/3?sentinel_password=s%21")
    assert found == ([("one", 1), ("two", 26379)], "main", 3, "user", "p@ss", "s!")
    assert EngineSettings(url="redis+sentinel://one:1,two/main").url
    assert without_secrets("redis+sentinel://user:p@one:1,two/main?sentinel_password=x") == "redis+sentinel://one:1,two/main"


@pytest.mark.parametrize(
    "url", ["redis+sentinel://one:26379", "redis+sentinel://one:port/main", "redis+sentinel:///main", "http://one"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(SettingInvalid, match="is no address of"):
        Engine(url)
    with pytest.raises(SettingInvalid, match=r"^AMAS_ENGINE_URL is .*redis\+sentinel://sentinel:26379,sentinel2:26379/NAME"):
        EngineSettings(url=url)


async def test_sentinels_are_asked_in_turn_and_a_wrong_name_is_said(pair: ReplicaSet, tmp_path: Path) -> None:
    async with replica_set(tmp_path, sentinels=1) as found:
        alive = f"127.0.0.1:{found.sentinels[0].port}"
        async with Engine(f"redis+sentinel://127.0.0.1:1,{alive}/cell-one") as engine:
            await engine.check(load=True)
        async with Engine(f"redis+sentinel://{alive}/other") as engine:
            with pytest.raises(EngineUnreachable, match="no sentinel names a primary of that name"):
                await engine.check()
