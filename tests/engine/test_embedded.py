"""The embedded engine: starts, stops, keeps everything through kill -9, and says in one sentence why it can't start."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from amas.engine.embedded import EmbeddedEngine, find_binary, ping, socket_path
from amas.errors import EngineDataDamaged, EngineError, EngineFolderInUse, EngineStartFailed, EngineUnsupported


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[EmbeddedEngine, Redis]]:
    engine = EmbeddedEngine(folder)
    await engine.start()
    try:
        async with Redis.from_url(engine.url) as client:
            yield engine, client
    finally:
        await engine.stop()


async def gone(pid: int) -> None:
    """Return when no process `pid` is left, which init reaps for us."""
    async with asyncio.timeout(60):
        while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
            await asyncio.sleep(0.01)


async def test_it_starts_private_and_durable_and_stops_cleanly(tmp_path: Path) -> None:
    folder = tmp_path / 'a folder with "quotes" and ümlauts'
    async with running(folder) as (engine, client):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(engine.socket.stat().st_mode) == 0o700
        assert await client.config_get("appendonly", "appendfsync", "port", "save") == {
            "appendonly": "yes",
            "appendfsync": "always",
            "port": "0",
            "save": "",
        }
        pid = engine.pid
    assert pid is not None and engine.pid is None
    assert not Path(f"/proc/{pid}").exists()
    assert not await ping(engine.socket)


async def test_everything_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    async with running(tmp_path) as (engine, client):
        for batch in range(20):
            await client.mset({f"k{batch}:{n}": "v" * 100 for n in range(100)})
        await client.function_load("#!lua name=t\nredis.register_function('t', function() return 1 end)")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
    async with running(tmp_path) as (_, client):
        assert await client.dbsize() == 2000
        assert await client.get("k19:99") == b"v" * 100
        assert await client.fcall("t", 0) == 1


async def test_one_folder_takes_one_engine(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, client):
        await client.set("mine", 1)
        with pytest.raises(EngineFolderInUse, match="another engine runs on"):
            await EmbeddedEngine(tmp_path).start()
        assert await client.get("mine") == b"1"


async def test_a_deep_folder_gets_a_short_private_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / ("d" * 100) / "data"
    async with running(folder) as (engine, client):
        assert await client.ping()
        assert engine.socket == socket_path(folder)
        assert engine.socket.parent == tmp_path / f"amas-{os.geteuid()}"
        assert stat.S_IMODE(engine.socket.parent.stat().st_mode) == 0o700


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, client):
        await client.set("key", "value")
    incr = next((tmp_path / "appendonlydir").glob("*.incr.aof"))
    incr.write_bytes(b"*this is no such file\r\n" + incr.read_bytes())
    with pytest.raises(EngineDataDamaged, match=r"damaged: restore it, or move the folder away.*Bad file format"):
        await EmbeddedEngine(tmp_path).start()


async def test_a_torn_last_write_is_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, client):
        await client.set("kept", "value")
    incr = next((tmp_path / "appendonlydir").glob("*.incr.aof"))
    with incr.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
    async with running(tmp_path) as (_, client):
        assert await client.keys() == [b"kept"]


async def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineStartFailed, match=r"data folder .*file/data can't be used: Not a directory"):
        await EmbeddedEngine(tmp_path / "file" / "data").start()


async def test_a_folder_that_cannot_be_written() -> None:
    with pytest.raises(EngineStartFailed, match="data folder /proc/amas can't be used"):
        await EmbeddedEngine(Path("/proc/amas")).start()


async def test_a_server_that_never_gets_ready_is_stopped(tmp_path: Path) -> None:
    binary = program(tmp_path / "sleeper", "[ $1 = --version ] && echo 'Valkey server v=9.0.0' && exit; exec sleep 60")
    engine = EmbeddedEngine(tmp_path / "data", binary=binary, start_s=0.2)
    with pytest.raises(EngineStartFailed, match=r"wasn't ready after 0\.2 s; its log is .*engine\.log"):
        await engine.start()
    assert engine.pid is None


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return path


def test_an_old_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnsupported, match=r"'Redis server v=6\.2\.0': Valkey, or Redis >= 7, is needed"):
        find_binary(program(tmp_path / "redis-server", "echo Redis server v=6.2.0"))


def test_another_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnsupported):
        find_binary(program(tmp_path / "cat", "echo meow"))
    with pytest.raises(EngineStartFailed, match="isn't a program"):
        find_binary(tmp_path / "missing")


def test_a_server_on_the_path_is_taken_where_the_wheel_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineStartFailed, match="no engine was found: install"):
        find_binary()
    binary = program(tmp_path / "redis-server", "echo 'Redis server v=7.0.15 sha=0'")
    assert find_binary() == binary


async def test_the_server_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from amas.engine.embedded import EmbeddedEngine\n"
        "async def main():\n"
        f"    engine = EmbeddedEngine(pathlib.Path({str(tmp_path)!r}))\n"
        "    await engine.start()\n"
        "    print(engine.pid, flush=True)\n"
        "    await asyncio.sleep(300)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), 60))
    parent.kill()
    await parent.wait()
    await gone(pid)
    async with running(tmp_path) as (_, client):
        assert await client.ping()


@pytest.fixture
def tiny_disk(tmp_path: Path):
    """A file system of 24 MiB: enough to be started on, soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a tiny file system needs root and the right to mount tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


async def test_a_full_disk_is_said_and_loses_nothing_acknowledged(tiny_disk: Path) -> None:
    engine = EmbeddedEngine(tiny_disk / "data")
    process = await engine.spawn()
    await engine.wait_ready(process)
    kept = 0
    async with Redis.from_url(engine.url) as client:
        with pytest.raises(Exception):  # noqa: B017  the driver's way of saying that the server went away
            for n in range(100):
                await client.set(f"k{n}", b"x" * 1_000_000)
                kept = n + 1
    assert kept > 10
    why = engine.failure(await asyncio.wait_for(process.wait(), 60))
    assert str(why).startswith(f"the disk under {tiny_disk}/data is full, so the engine stopped")
    with pytest.raises(EngineError, match=r"^the disk under .* is full: free at least 16 MiB"):
        await EmbeddedEngine(tiny_disk / "data").start()
    subprocess.run(["mount", "-o", "remount,size=80m", tiny_disk], check=True)
    async with running(tiny_disk / "data") as (_, client):
        assert await client.dbsize() in (kept, kept + 1)  # the last one may have been written and not acknowledged
