"""A full disk under the engine: the submitter is told so, nothing acknowledged is lost, and work goes on with room."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from host_bench import Bench, pool
from tests.fault.fault_bench import LIMIT_S, assert_each_ended_once, duties, echoes
from tests.fault.replicas import Server

from amas.client import Fleet, NewTask, TaskHandle
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine, find_binary
from amas.errors import EngineDiskFull, EngineUnreachable
from amas.observe import events

CELL = "disk"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a tiny file system needs root and the right to mount tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Leave no room and return the file to remove."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            pass
    return filler


async def until_refused(fleet: Fleet) -> tuple[list[TaskHandle], Exception]:
    """Submit until that fails; return what was acknowledged, and what the last one was told."""
    accepted: list[TaskHandle] = []
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                accepted += await fleet.submit_batch(NewTask(capability="test.echo", input="x" * 1000) for _ in range(20))
            except (EngineDiskFull, EngineUnreachable) as error:
                return accepted, error


async def all_done(fleet: Fleet, engine: Engine, handles: Sequence[TaskHandle]) -> None:
    await fleet.results(handles, timeout_s=LIMIT_S)
    await assert_each_ended_once(engine, [handle.id for handle in handles])


async def test_a_server_that_cannot_write_refuses_in_one_sentence(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of one's own that syncs each second, with its disk confirmed for each call."""
    monkeypatch.setenv("AMAS_ACK_FSYNC", "true")
    server = Server(find_binary(), disk / "data", ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""])
    await server.start()
    try:
        url = f"redis://127.0.0.1:{server.port}"
        async with Engine(url, cell=CELL) as engine:
            await engine.check(load=True)
            bench = Bench(engine, url, tmp_path)
            async with (
                duties(url, CELL, lease_s=20),
                bench.host([pool("echo", replicas=4)], lease_s=20),
                Fleet.connect(url, cell=CELL) as fleet,
            ):
                before = await fleet.submit_batch(NewTask(capability="test.echo", input=n) for n in range(200))
                filler = fill(disk)
                accepted, error = await until_refused(fleet)
                assert isinstance(error, EngineDiskFull)
                assert str(error).startswith(f"the engine at {url} can't write its log and took nothing: free space on its disk")
                assert "\n" not in str(error)
                filler.unlink()
                await server.until("persistence", "aof_last_write_status", "ok")
                await all_done(fleet, engine, before + accepted)
                assert not [line for line in bench.log_lines("h1") if line.get("event") == events.LEASE_LOST]
                after = await fleet.submit_batch(NewTask(capability="test.echo") for _ in range(20))
                server.send(signal.SIGKILL)
                await server.gone()
                await server.start()
                await all_done(fleet, engine, before + accepted + after)
    finally:
        await server.stop()


async def test_the_embedded_engine_stops_and_has_everything_when_there_is_room(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `appendfsync always` a server that can't write ends; the supervisor starts it again, as this test does."""
    monkeypatch.setattr("amas.client.PATIENCE_S", 2.0)
    server = EmbeddedEngine(disk / "data")
    process = await server.spawn()
    await server.wait_ready(process)
    try:
        async with Engine(server.url, cell=CELL) as engine:
            await engine.check(load=True)
            bench = Bench(engine, server.url, tmp_path)
            async with (
                duties(server.url, CELL),
                bench.host([pool("echo", replicas=4)], lease_s=20.0),
                Fleet.connect(server.url, cell=CELL) as fleet,
            ):
                await echoes(fleet, 100)
                filler = fill(disk)
                accepted, error = await until_refused(fleet)
                assert isinstance(error, EngineUnreachable)
                why = server.failure(await asyncio.wait_for(process.wait(), LIMIT_S))
                assert str(why).startswith(f"the disk under {disk}/data is full, so the engine stopped and took nothing on since")
                with pytest.raises(EngineDiskFull, match="is full: free at least 16 MiB"):
                    await server.spawn()
                filler.unlink()
                process = await server.spawn()
                await server.wait_ready(process)
                await all_done(fleet, engine, accepted)
                await echoes(fleet, 40)
    finally:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
