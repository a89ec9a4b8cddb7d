"""What the embedded engine does besides its work: its forks stand back, what it deletes goes bit by bit."""

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest
from redis.asyncio import Redis

from amas.engine.aside import NICE, Forks, cut, deleted
from amas.engine.embedded import EmbeddedEngine

MIB = 1 << 20
PATIENCE_S = 60.0


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def listed(children: Path) -> list[str]:
    return children.read_text().split()


def free(log: Path, names: Path) -> None:
    for path in deleted(log, names):
        while cut(path):
            pass


def test_a_file_that_only_we_name_is_cut_shorter_until_it_is_gone(tmp_path: Path) -> None:
    log, names = tmp_path / "log", tmp_path / "names"
    log.mkdir()
    (log / "one").write_bytes(os.urandom(9 * MIB + 1))
    assert deleted(log, names) == []
    (log / "one").unlink()
    (ours,) = deleted(log, names)
    assert cut(ours) and ours.stat().st_size == 5 * MIB + 1
    assert cut(ours) and ours.stat().st_size == MIB + 1
    assert not cut(ours) and not ours.exists()


def test_a_file_that_has_another_name_is_left_alone(tmp_path: Path) -> None:
    log, names = tmp_path / "log", tmp_path / "names"
    log.mkdir()
    held, moved = os.urandom(5 * MIB), os.urandom(5 * MIB)
    (log / "held").write_bytes(held)
    (log / "moved").write_bytes(moved)
    free(log, names)
    (log / "moved").rename(tmp_path / "elsewhere")  # somebody keeps it under a name of their own
    for _ in range(3):
        free(log, names)
    assert (log / "held").read_bytes() == held
    assert (tmp_path / "elsewhere").read_bytes() == moved


def test_a_new_file_under_an_old_name_is_another_file(tmp_path: Path) -> None:
    log, names = tmp_path / "log", tmp_path / "names"
    log.mkdir()
    (log / "one").write_bytes(b"old")
    free(log, names)
    (log / "one").unlink()
    (log / "one").write_bytes(b"new")
    for _ in range(2):
        free(log, names)
    assert (log / "one").read_bytes() == (names / "one").read_bytes() == b"new"
    assert (log / "one").stat().st_nlink == 2


def test_what_is_deleted_is_freed_though_there_is_no_room_for_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, names = tmp_path / "log", tmp_path / "names"
    log.mkdir()
    (log / "old").write_bytes(b"old")
    free(log, names)
    (log / "old").unlink()
    (log / "new").write_bytes(b"new")

    def link(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", link)
    free(log, names)
    assert names_in(names) == set()
    assert names_in(log) == {"new"}


def test_a_server_that_is_to_start_has_the_room_of_what_was_deleted_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk ends a server at once, perhaps amid freeing: without this the next one would never find room."""
    engine, freed = EmbeddedEngine(tmp_path), tmp_path / "freed"
    freed.mkdir()
    (freed / "appendonly.aof.1.incr.aof").write_bytes(os.urandom(5 * MIB))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0 if names_in(freed) else usage.free))
    engine.prepare()
    assert names_in(freed) == set()


async def test_a_rewrite_stands_back_and_leaves_nothing_behind(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path)
    await engine.start()
    log, names = tmp_path / "appendonlydir", tmp_path / "freed"
    try:
        async with Redis.from_url(engine.url) as client, asyncio.timeout(PATIENCE_S):
            await client.mset({f"key{number}": os.urandom(4096) for number in range(4000)})
            while not (first := names_in(names)):
                await asyncio.sleep(0.02)
            await client.config_set("rdb-key-save-delay", 500)  # microseconds: it takes a moment
            await client.execute_command("BGREWRITEAOF")
            children = Path(f"/proc/{engine.pid}/task/{engine.pid}/children")
            nice: set[int] = set()
            while NICE not in nice:
                nice |= {os.getpriority(os.PRIO_PROCESS, int(fork)) for fork in listed(children)}
                await asyncio.sleep(0.02)
            await client.config_set("rdb-key-save-delay", 0)
            while first & names_in(names):
                await asyncio.sleep(0.05)
            assert names_in(names) <= names_in(log)
            assert os.getpriority(os.PRIO_PROCESS, engine.pid or 0) == os.getpriority(os.PRIO_PROCESS, 0)
    finally:
        await engine.stop()
    await engine.start()
    try:
        async with Redis.from_url(engine.url) as client:
            assert await client.dbsize() == 4000
    finally:
        await engine.stop()


def test_a_process_that_is_gone_has_no_forks() -> None:
    Forks(2**22 + 1).give_way()
