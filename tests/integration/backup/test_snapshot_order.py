"""Snapshots are put in order before they are kept: a server loads all that was in them, and little of the next one is new."""

import os
from pathlib import Path
from typing import Any

import pytest
from backup_fleet import Running, running

from amas.backup.arranging import arranged
from amas.backup.repository import Repository
from amas.backup.restore import ENGINE
from amas.engine.connection import Engine
from amas.engine.rdb import END, RdbUnknown, entries
from amas.engine.snapshot import placed, point_in_time

KINDS = (
    *(("SET", "text", "plain"), ("SET", "number", "12"), ("SET", "large number", "70000"), ("SET", "12345", "a number's key")),
    *(("SET", "long", "x" * 20_000), ("SET", "longer", "x" * 300_000), ("SET", "k" * 200, "a long key")),
    *(
        ("SET", "passing", "soon", "PX", "3600000"),
        ("RPUSH", "list", "a", "b"),
        ("RPUSH", "list of large", "y" * 9000, "z" * 9000),
    ),
    *(("SADD", "numbers", "1", "2"), ("SADD", "few", "a", "b"), ("SADD", "many", *(f"m{n}" for n in range(600)))),
    *(("HSET", "few fields", "a", "b"), ("HSET", "fields", *(f"f{n}" for n in range(1200)), "PX", "1")),
    *(("ZADD", "few scores", "1.5", "a"), ("ZADD", "scores", *(each for n in range(300) for each in (str(n / 3), f"m{n}")))),
    *(("XADD", "stream", f"{n}-1", "field", "v" * 50) for n in range(1, 300)),
    ("XADD", "emptied", "1-1", "a", "b"),
    ("XDEL", "emptied", "1-1"),
    ("XGROUP", "CREATE", "stream", "group", "0"),
    ("XREADGROUP", "GROUP", "group", "reader", "COUNT", "7", "STREAMS", "stream", ">"),
    ("XGROUP", "CREATECONSUMER", "stream", "group", "idle"),
)


async def content(engine: Engine) -> dict[bytes, Any]:
    """Return all keys with what they hold, in no order where they have none, and when they pass."""
    (names,) = await engine.read([("KEYS", "*")])
    kinds = await engine.read([("TYPE", name) for name in names])
    looks = {b"hash": "HGETALL", b"set": "SMEMBERS"}
    values = await engine.read([(looks.get(kind, "DUMP"), name) for name, kind in zip(names, kinds, strict=True)])
    values = [set(value) if kind == b"set" else value for value, kind in zip(values, kinds, strict=True)]
    passing = await engine.read([("PEXPIRETIME", name) for name in names])
    return dict(zip(names, zip(kinds, values, passing, strict=True), strict=True))


async def snapshot_of(fleet: Running, path: Path) -> Path:
    async with point_in_time(fleet.engine) as snapshot:
        path.write_bytes(b"".join([piece async for piece in snapshot.pieces()]))
    return path


@pytest.mark.requirement("M9")
async def test_a_server_loads_all_that_was_there_from_a_snapshot_in_order(fleet: Running, tmp_path: Path) -> None:
    for command in KINDS:
        await fleet.engine.client.execute_command(*command)
    await fleet.submit(500)
    held = await content(fleet.engine)
    taken = await snapshot_of(fleet, tmp_path / "taken.rdb")
    names = [entry.key for entry in entries(taken.read_bytes()) if entry.key is not None]
    assert len(names) == len(held)
    with taken.open("rb") as file:
        chunks = list(arranged(file))
    assert b"".join(chunks) != taken.read_bytes()
    kept = [entry.key for entry in entries(b"".join(chunks)) if entry.key is not None]
    assert kept == sorted(names)
    with placed(tmp_path / "elsewhere" / ENGINE) as file:
        file.writelines(chunks)
    async with running(tmp_path / "elsewhere") as there:
        assert await content(there.engine) == held


@pytest.mark.requirement("M9")
async def test_little_is_stored_anew_when_little_has_changed(fleet: Running, repository: Repository) -> None:
    await fleet.submit(6000, input=os.urandom(300))
    await fleet.record()
    full = await fleet.back_up(repository)
    await fleet.submit(30, input=os.urandom(300))
    await fleet.record()
    after = await fleet.back_up(repository)
    assert after.kind == "incremental"
    assert after.new_chunks < full.new_chunks / 4


async def test_what_can_t_be_read_is_kept_as_it_came(fleet: Running, tmp_path: Path) -> None:
    await fleet.submit(200)
    taken = await snapshot_of(fleet, tmp_path / "taken.rdb")
    whole = taken.read_bytes()
    for odd in (whole[:9] + b"\xf0" + whole[9:], whole[: len(whole) // 2], b"nothing of the kind"):
        with pytest.raises(RdbUnknown):
            list(entries(odd))
        taken.write_bytes(odd)
        with taken.open("rb") as file:
            assert b"".join(arranged(file)) == odd
    assert not whole.endswith(END), "its checksum is the server's"
