"""Back-ups that are cut off, fill the disk, or meet damage: the older ones stay whole, and what is wrong is named."""

import asyncio
import random
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from backup_fleet import SECRET_KEY, Running, restored, running

from amas.backup.check import verify
from amas.backup.repository import Repository
from amas.engine.snapshot import point_in_time
from amas.errors import BackupDamaged, BackupUnusable, EngineError
from amas.model.backup import Manifest, Ref

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from amas.artifacts.store import ArtifactStore
from amas.backup.make import Sources, make
from amas.backup.repository import Repository
from amas.engine.connection import Engine
from amas.records.store import Records

home, engine_url, place, kill_at = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])

def progress(what, size):
    if size >= kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    repository = Repository.open(place, sys.stdin.buffer.read())
    async with Engine(engine_url) as engine, await Records.open(f"sqlite:///{home / 'records.sqlite3'}") as records:
        await make(repository, Sources(engine, records, ArtifactStore(home / "artifacts"), home, "x"), progress=progress)

asyncio.run(main())
"""


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "home") as started:
        yield started


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.open(str(tmp_path / "repository"), SECRET_KEY, create=True)


async def _much_new(fleet: Running) -> None:
    await fleet.submit(2000, input="x" * 200)
    await fleet.record()


@pytest.mark.requirement("M9")
async def test_a_backup_killed_anywhere_leaves_the_older_ones_whole_and_none_of_its_own(
    fleet: Running, repository: Repository, tmp_path: Path
) -> None:
    await _much_new(fleet)
    first = await fleet.back_up(repository)
    await _much_new(fleet)
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    for kill_at in (1, random.Random(seed).randrange(2, first.size)):
        arguments = [sys.executable, "-c", KILLED, str(fleet.home), fleet.engine.url, repository.url, str(kill_at)]
        killed = await asyncio.to_thread(subprocess.run, arguments, input=SECRET_KEY, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        assert repository.list() == ([first], [])
    second = await fleet.back_up(repository)
    assert repository.list().whole == [first, second]
    repository.remove([])
    for each in (first, second):
        assert (await verify(repository, each)).problems == []


@pytest.mark.parametrize(
    ("room", "sentence"),
    [
        (100_000, "home can't hold the engine's snapshot: File too large"),
        (1_000_000, "the back-ups in .* can't be reached: File too large"),
    ],
    ids=["snapshot", "chunk"],
)
async def test_a_full_disk_ends_a_backup_with_a_sentence(
    fleet: Running, repository: Repository, room: int, sentence: str
) -> None:
    first = await fleet.back_up(repository)
    await fleet.submit(500)
    fleet.sources.artifacts.put(random.Random(1).randbytes(1 << 20))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(BackupUnusable, match=sentence):
            await fleet.back_up(repository)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert repository.list() == ([first], [])
    assert (await fleet.back_up(repository)).parent == first.id


def _flip(chunk: Path) -> None:
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)


async def test_verify_names_every_damaged_chunk_and_restore_leaves_nothing(
    fleet: Running, repository: Repository, tmp_path: Path
) -> None:
    await _much_new(fleet)
    made = await fleet.back_up(repository)
    engine = repository.catalog(made).engine
    flipped, removed = engine[0].name, engine[-1].name
    folder = Path(repository.url) / "chunks"
    _flip(folder / flipped[:2] / flipped[2:])
    (folder / removed[:2] / removed[2:]).unlink()
    verdict = await verify(repository, made)
    assert len(verdict.problems) == 2
    assert any(f"the chunk {flipped}" in each and "is damaged" in each for each in verdict.problems)
    assert any(f"the chunk {removed} isn't in" in each for each in verdict.problems)
    with pytest.raises(BackupDamaged):
        await restored(repository, made, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    assert not list(tmp_path.glob(".elsewhere*"))


async def test_verify_tells_when_engine_and_records_are_of_two_moments(fleet: Running, repository: Repository) -> None:
    ids = await fleet.submit(5)
    await fleet.record()
    early = await fleet.back_up(repository)
    await fleet.bench.queue.cancel(ids[:2])
    await fleet.record()
    late = await fleet.back_up(repository)
    mixed = _mixed(repository, engine_of=early, rest_of=late)
    verdict = await verify(repository, mixed)
    assert [each.split(":")[0] for each in verdict.problems] == [
        "2 tasks are in another state in the engine than the journal tells"
    ]
    assert (await verify(repository, late)).problems == []


def _mixed(repository: Repository, *, engine_of: Manifest, rest_of: Manifest) -> Manifest:
    """Make a back-up that nobody could have taken."""
    engine = repository.catalog(engine_of).engine
    content = msgspec.msgpack.encode(msgspec.structs.replace(repository.catalog(rest_of), engine=engine))
    ref = Ref(repository.chunk_id(sha256(content).digest()), len(content))
    repository.put(content, ref)
    return msgspec.structs.replace(rest_of, catalog=(ref,))


async def test_an_engine_that_hands_out_no_snapshot_says_why(fleet: Running, repository: Repository) -> None:
    await fleet.engine.client.execute_command("ACL", "SETUSER", "default", "-sync", "-psync")
    with pytest.raises(EngineError, match="needs a server and a user that may SYNC"):
        async with point_in_time(fleet.engine):
            pass
    assert repository.list() == ([], [])
