"""A fleet at work is backed up and goes on elsewhere: nothing acknowledged is lost, nothing that ended runs again."""

import asyncio
import dataclasses
import errno
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from backup_fleet import SECRET_KEY, Running, restored, running
from host_bench import SAMPLES
from s3_server import s3_server

from amas.backup.check import verify
from amas.backup.make import make
from amas.backup.repository import Repository
from amas.backup.restore import Restorer
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.engine.snapshot import open_states
from amas.errors import BackupUnusable, RestoreRefused
from amas.fleet.load import load_fleet
from amas.model.backup import Ref
from amas.model.desired import Scale
from amas.model.states import TaskState


def _done(ledger: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in ledger.read_text().splitlines()) if ledger.exists() else Counter()


@pytest.mark.requirement("M9")
async def test_a_fleet_backed_up_under_load_goes_on_elsewhere(fleet: Running, repository: Repository, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    async with fleet.recording(), fleet.bench.host([fleet.ledger_pool(before)]):
        acknowledged = await fleet.submit(400)
        later: list[str] = []

        async def go_on_submitting() -> None:
            while True:
                later.extend(await fleet.submit(10))
                await asyncio.sleep(0.03)

        load = asyncio.create_task(go_on_submitting())
        await fleet.bench.until(_at_least(before, 60))
        ended_before = await _succeeded(fleet, acknowledged)
        manifest = await fleet.back_up(repository)
        load.cancel()
    verdict = await verify(repository, manifest)
    assert verdict.problems == []
    assert verdict.tasks, "nothing was open: the test tests nothing"
    await restored(repository, manifest, tmp_path / "elsewhere")
    async with running(tmp_path / "elsewhere") as again, again.recording():
        await again.reaper.run_once()
        done_then = await _succeeded(again, [*acknowledged, *later])
        assert ended_before <= done_then
        async with again.bench.host([again.ledger_pool(after)], "h2"):
            await again.bench.until(lambda: _all_ended(again))
        assert await _succeeded(again, acknowledged) == set(acknowledged)
        assert not done_then & _done(after).keys(), "finished work ran again"
        await again.record()
        found = await again.records.open_states()
        assert found == ({}, {})


async def _succeeded(fleet: Running, task_ids: list[str]) -> set[str]:
    return {each.id for each in await fleet.bench.queue.ended(task_ids) if each.state is TaskState.SUCCEEDED}


async def _state(fleet: Running, task_id: str) -> TaskState | None:
    view = await fleet.bench.queue.task(task_id)
    return view.state if view else None


def _at_least(ledger: Path, lines: int) -> Callable[[], Awaitable[bool]]:
    async def true() -> bool:
        return sum(_done(ledger).values()) >= lines

    return true


async def _all_ended(fleet: Running) -> bool:
    await fleet.reaper.run_once()
    return not (await open_states(fleet.engine))[0]


@pytest.mark.requirement("M9")
async def test_an_incremental_backup_stores_only_what_is_new_and_restores_as_a_full_one(
    fleet: Running, repository: Repository, tmp_path: Path
) -> None:
    blob = fleet.sources.artifacts.put(b"a large value")
    await fleet.submit(3000, input=blob)
    await fleet.record()
    full = await fleet.back_up(repository)
    again = await fleet.back_up(repository)
    assert (full.kind, again.kind, again.parent) == ("full", "incremental", full.id)
    assert again.new_chunks < full.new_chunks / 3
    assert again.size >= full.size
    async with fleet.bench.host([fleet.ledger_pool(tmp_path / "ledger")]):
        await fleet.bench.until(_at_least(tmp_path / "ledger", 400))
    applied = tmp_path / "applied.yaml"
    applied.write_text((SAMPLES / "ledger.yaml").read_text())
    assert full.fleet_file == "ledger", "as it was started"
    await DesiredState(fleet.engine).apply(load_fleet(applied), by="me", why="test")
    await DesiredState(fleet.engine).change([Wish("scale:ledger", Scale(replicas=3, by="me"))], by="me", why="test")
    await fleet.record()
    last = await fleet.back_up(repository)
    assert (last.kind, last.fleet_file) == ("incremental", str(applied))
    assert (await verify(repository, last)).problems == []
    repository.remove([full.id, again.id])
    rows = await restored(repository, last, tmp_path / "elsewhere")
    assert rows["tasks"] == 3000
    assert (tmp_path / "elsewhere" / "fleet.yaml").read_text() == applied.read_text()
    async with running(tmp_path / "elsewhere") as there:
        open_here, open_there = await fleet.records.open_states(), await there.records.open_states()
        assert open_here == open_there
        assert (await DesiredState(there.engine).read()).scales["ledger"].replicas == 3
        assert there.sources.artifacts.get(blob) == b"a large value"
        assert await there.records.position() == await fleet.records.position()


async def test_a_backup_says_how_many_bytes_it_added(fleet: Running, repository: Repository, tmp_path: Path) -> None:
    for number in range(20):
        fleet.sources.artifacts.put(os.urandom(1000) + bytes([number]))
    manifest = await fleet.back_up(repository)
    chunks = [each for each in (tmp_path / "repository/chunks").rglob("*") if each.is_file()]
    assert (manifest.stored, manifest.new_chunks) == (sum(each.stat().st_size for each in chunks), len(chunks))


async def test_a_backup_whose_chunks_are_taken_away_meanwhile_is_none(
    fleet: Running, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by somebody on another machine who took us for dead."""
    store = Repository.put

    def takes_away(self: Repository, content: bytes, ref: Ref) -> int:
        stored = store(self, content, ref)
        for each in list(self._chunks.list())[:1]:
            self._chunks.remove(each)
        return stored

    monkeypatch.setattr(Repository, "put", takes_away)
    with pytest.raises(BackupUnusable, match=r"chunks were removed from .* during the back-up: back up again"):
        await fleet.back_up(repository)
    assert repository.list().whole == []


async def test_a_backup_that_finds_no_room_to_be_tried_out_says_where(
    fleet: Running, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = await fleet.back_up(repository)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("amas.backup.check.Restorer.engine", full)
    with pytest.raises(BackupUnusable, match="No space left on device: make room there, or set TMPDIR to another folder"):
        await verify(repository, manifest)


async def test_the_home_comes_back_with_its_secret_and_deliverables(
    fleet: Running, repository: Repository, tmp_path: Path
) -> None:
    (fleet.home / "message.secret").write_text("sixteen characters")
    (fleet.home / "message.secret").chmod(0o600)
    (fleet.home / "deliverables" / "one").mkdir(parents=True)
    (fleet.home / "deliverables" / "one" / "report.md").write_text("all is well")
    (fleet.home / "deliverables" / "link").symlink_to("/etc/passwd")
    manifest = await fleet.back_up(repository)
    await restored(repository, manifest, tmp_path / "elsewhere")
    there = tmp_path / "elsewhere"
    assert (there / "message.secret").read_text() == "sixteen characters"
    assert (there / "message.secret").stat().st_mode & 0o777 == 0o600
    assert (there / "deliverables" / "one" / "report.md").read_text() == "all is well"
    assert not (there / "deliverables" / "link").exists()


async def test_nothing_is_restored_over_anything(fleet: Running, repository: Repository, tmp_path: Path) -> None:
    manifest = await fleet.back_up(repository)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(RestoreRefused, match="isn't empty"):
        await restored(repository, manifest, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]
    await restored(repository, manifest, tmp_path / "elsewhere")
    with pytest.raises(RestoreRefused, match="hold a history already"):
        url = f"sqlite:///{tmp_path / 'elsewhere' / 'records.sqlite3'}"
        await Restorer(repository, manifest).into(tmp_path / "third", records_url=url)
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize("spooled", [False, True], ids=["streamed", "spooled"])
async def test_a_server_over_the_network_hands_out_its_snapshot_too(
    fleet: Running, repository: Repository, tmp_path: Path, spooled: bool
) -> None:
    ids = await fleet.submit(3)
    await fleet.record()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"port": port, "requirepass": "a password", "repl-diskless-sync": "no" if spooled else "yes"}
    for name, value in settings.items():
        await fleet.engine.client.config_set(name, value)
    async with Engine(f"redis://:a%20password@127.0.0.1:{port}") as remote:
        manifest = await make(repository, dataclasses.replace(fleet.sources, engine=remote))
    await fleet.engine.client.config_set("requirepass", "")
    assert (await verify(repository, manifest)).problems == []
    await restored(repository, manifest, tmp_path / "elsewhere")
    async with running(tmp_path / "elsewhere") as there:
        assert [await _state(there, one) for one in ids] == [TaskState.QUEUED] * 3


async def test_a_fleet_is_backed_up_to_s3_and_restored_from_it(
    fleet: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as address:
        for name, value in address.environ.items():
            monkeypatch.setenv(name, value)
        httpx.put(f"{address.endpoint}/backups", timeout=60).raise_for_status()
        repository = Repository.open("s3://backups/a/fleet", SECRET_KEY, create=True)
        blob = fleet.sources.artifacts.put(b"a large value")
        ids = await fleet.submit(300, input=blob)
        await fleet.record()
        first = await fleet.back_up(repository)
        second = await fleet.back_up(repository)
        assert second.new_chunks < first.new_chunks
        repository.remove([first.id])
        assert (await verify(repository, second)).problems == []
        await restored(repository, second, tmp_path / "elsewhere")
    async with running(tmp_path / "elsewhere") as there:
        assert await _state(there, ids[-1]) is TaskState.QUEUED
        assert there.sources.artifacts.get(blob) == b"a large value"
