"""Making one back-up of a fleet at work.

The order is what makes it one moment: first the records are frozen (a read transaction), at once after that the engine fixes its
state. What the engine said between the two stands in its own journal, which is part of its snapshot; a fleet that is restored
records it first of all. So the records never know of an end that the engine doesn't, and nothing that ended runs again.
Values and files are read after that, since a value is stored before anything refers to it. The manifest is written last.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec

from amas.artifacts.store import PREFIX, ArtifactStore
from amas.backup.arranging import arranged
from amas.backup.repository import CATALOG_CHUNK_BYTES, Repository
from amas.clock import monotonic_s, now_ms
from amas.core.backups import can_follow
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.journal import START, Journal
from amas.engine.snapshot import Snapshot, point_in_time
from amas.errors import ArtifactMissing, BackupError, BackupUnusable
from amas.model.backup import Artifact, Catalog, Kind, Manifest, Ref, Segment, StoredFile
from amas.model.journal import position_of
from amas.records.dump import WHOLE, Dump
from amas.records.migrate import HEAD
from amas.records.store import Records

AT_A_TIME = 4
"""Chunks that are packed and stored at once; each may be an artifact of 128 MiB."""
FILE_PIECE_BYTES = 4 << 20
TRIES = 3
BACKING_UP = "backing up"
SECRET, FLEET, DELIVERABLES = "message.secret", "fleet.yaml", "deliverables"
"""What of a home is backed up, besides what has a place of its own."""

Progress = Callable[[str, int], None]
"""Called with what is being read, and how many bytes of all were."""


@dataclass(frozen=True)
class Sources:
    """A fleet, as a back-up finds it."""

    engine: Engine
    records: Records
    artifacts: ArtifactStore
    home: Path
    fleet_file: str = ""
    """The path of the file that it was started with, or its bare name where it ships with amas and needn't be kept. What was
    applied since knows its own."""


class _Moment(NamedTuple):
    """What the snapshot is of."""

    dump: Dump
    snapshot: Snapshot
    mark: str
    journal: str
    at_ms: int


@dataclass
class _Writer:
    """Stores chunks, several at a time; what the repository holds already isn't stored again."""

    repository: Repository
    group: asyncio.TaskGroup
    held: set[str]
    progress: Progress
    what: str = ""
    size: int = 0
    stored: int = 0
    refs: set[Ref] = field(default_factory=set)
    new: int = 0
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_A_TIME))

    async def put(self, content: bytes) -> Ref:
        """Return the chunk that holds `content`; it is there when the group has ended."""
        ref = Ref(self.repository.chunk_id(sha256(content).digest()), len(content))
        if not self.knows(ref):
            await self._room.acquire()
            self.held.add(ref.name)
            self.group.create_task(self._store(content, ref))
        return ref

    def knows(self, ref: Ref) -> bool:
        """Count a chunk, and return whether it is there already."""
        self.size += ref.size
        self.refs.add(ref)
        self.progress(self.what, self.size)
        return ref.name in self.held

    async def _store(self, content: bytes, ref: Ref) -> None:
        try:
            stored = await asyncio.to_thread(self.repository.put, content, ref)
            self.stored += stored  # not around the await: others add to it meanwhile
            self.new += 1
        finally:
            self._room.release()


async def make(repository: Repository, sources: Sources, *, full: bool = False, progress: Progress | None = None) -> Manifest:
    """Make a back-up and return its manifest: incremental unless `full`, or where there is nothing to follow.

    Whatever fails, or is killed, leaves the older back-ups as they were. BackupError, EngineError, RecordsError or ArtifactError
    says why it can't be made.
    """
    mark = await asyncio.to_thread(repository.begin, BACKING_UP, beside=BACKING_UP)
    try:
        return await _make(repository, sources, full=full, progress=progress or (lambda _what, _size: None))
    except BaseExceptionGroup as group:  # of the writer's tasks, the first failure ends all
        raise _first(group) from None
    finally:
        await asyncio.to_thread(repository.end, mark)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _make(repository: Repository, sources: Sources, *, full: bool, progress: Progress) -> Manifest:
    began = monotonic_s()
    fleet_file = await _fleet_file(sources)
    held = await asyncio.to_thread(repository.held)
    made = (await asyncio.to_thread(repository.list)).whole
    async with asyncio.TaskGroup() as group:
        writer = _Writer(repository, group, set(held), progress)
        async with _moment(sources) as moment:
            parent = None if full or not made else made[-1]
            place = position_of(moment.dump.place.position)
            if not can_follow(parent, cell=moment.dump.cell, engine=moment.mark, position=place, tables=HEAD):
                parent = None
            engine = [ref async for ref in _engine(writer, moment.snapshot, sources.home)]
            before = () if parent is None else (await asyncio.to_thread(repository.catalog, parent)).records
            rows = await moment.dump.counts()
            records = [segment async for segment in _records(writer, moment.dump, parent, before)]
        artifacts = [artifact async for artifact in _artifacts(writer, sources.artifacts)]
        files = [file async for file in _files(writer, sources.home, fleet_file)]
        catalog = Catalog(engine=tuple(engine), records=tuple(records), artifacts=tuple(artifacts), files=tuple(files))
        refs = [await writer.put(part) for part in _parts(msgspec.msgpack.encode(catalog))]
    manifest = Manifest(
        id=_new_id(moment.at_ms),
        at_ms=moment.at_ms,
        kind=_kind(parent),
        parent=parent.id if parent else "",
        cell=moment.dump.cell,
        amas=version("amas"),
        tables=HEAD,
        engine=moment.mark,
        engine_version=await sources.engine.check(),
        journal=moment.journal,
        position=moment.dump.place.position,
        catalog=tuple(refs),
        size=writer.size,
        stored=writer.stored,
        chunks=len(writer.refs),
        new_chunks=writer.new,
        took_s=round(monotonic_s() - began, 3),
        rows=rows,
        artifacts=len(artifacts),
        files=len(files),
        fleet_file=fleet_file,
    )
    await asyncio.to_thread(_still_there, repository, frozenset((*catalog.refs, *refs)))
    await asyncio.to_thread(repository.add, manifest)
    return manifest


async def _fleet_file(sources: Sources) -> str:
    """Return the file of the fleet that is wanted now; "" where that was declared over the API, and no file says it."""
    wanted = (await DesiredState(sources.engine).read()).fleet
    if wanted is None or (wanted.folder and not wanted.file):  # an earlier release applied it
        return sources.fleet_file
    return wanted.file


def _kind(parent: Manifest | None) -> Kind:
    return "full" if parent is None else "incremental"


def _still_there(repository: Repository, refs: frozenset[Ref]) -> None:
    """Make sure that nothing was taken away meanwhile: by hand, or by who took us for dead and removed what nothing refers to."""
    gone = {ref.name for ref in refs} - repository.held()
    if gone:
        raise BackupUnusable(f"{len(gone)} chunks were removed from {repository.url} during the back-up: back up again")


def _new_id(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, tz=UTC):%Y%m%dT%H%M%SZ}-{os.urandom(2).hex()}"


# -- engine and records, at one moment


@asynccontextmanager
async def _moment(sources: Sources) -> AsyncIterator[_Moment]:
    """Freeze the records and have the engine fix its state, so close together that the journal holds all that is between."""
    for _ in range(TRIES):
        async with sources.records.frozen() as dump:
            journal = Journal(sources.engine)
            mark = await journal.mark()
            if dump.place.engine not in ("", mark):
                raise BackupError(
                    "the records follow another engine than this one: start the fleet, and `amas recover` what is lost"
                )
            async with point_in_time(sources.engine) as snapshot:
                at_ms, last, first = now_ms(), await journal.last_id(), await journal.first_id()
                if START in (dump.place.position, first) or position_of(first) <= position_of(dump.place.position):
                    yield _Moment(dump, snapshot, mark, last, at_ms)
                    return
    raise BackupError(
        "the engine's journal was trimmed beyond the records while the snapshot began, several times: "
        "the fleet is too busy; try again"
    )


async def _engine(writer: _Writer, snapshot: Snapshot, home: Path) -> AsyncIterator[Ref]:
    """Store the snapshot in an order of our own, for which all of it must be here: it waits in the home, without a name."""
    writer.what = "engine"
    with _room_in(home):
        file = tempfile.TemporaryFile(dir=home)  # noqa: SIM115  closed below; what goes wrong there is another's fault
    with file:
        async for piece in snapshot.pieces():
            with _room_in(home):
                await asyncio.to_thread(file.write, piece)
        with _room_in(home):
            await asyncio.to_thread(file.flush)
        chunks = arranged(file)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield await writer.put(chunk)


@contextmanager
def _room_in(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupUnusable(f"{home} can't hold the engine's snapshot: {error.strerror}: make room there") from error


async def _records(writer: _Writer, dump: Dump, parent: Manifest | None, before: tuple[Segment, ...]) -> AsyncIterator[Segment]:
    writer.what = "records"
    for segment in before:
        if segment.table not in WHOLE:
            writer.knows(segment.ref)
            yield segment
    async for piece in dump.pieces(since=parent.position if parent else None):
        yield Segment(piece.table, piece.rows, await writer.put(piece.content))


# -- values and files


async def _artifacts(writer: _Writer, store: ArtifactStore) -> AsyncIterator[Artifact]:
    """Store what the artifact store holds; one that the repository has isn't even read."""
    writer.what = "artifacts"
    for stored in await asyncio.to_thread(lambda: list(store.list())):
        ref = Ref(writer.repository.chunk_id(bytes.fromhex(stored.digest)), stored.size)
        if ref.name in writer.held:
            writer.knows(ref)
        else:
            try:
                content = await asyncio.to_thread(store.raw, PREFIX + stored.digest)
            except ArtifactMissing:  # somebody pruned it since: nothing refers to it
                continue
            ref = await writer.put(content)  # a sealed one's name isn't its digest
        yield Artifact(stored.digest, ref)


async def _files(writer: _Writer, home: Path, fleet_file: str) -> AsyncIterator[StoredFile]:
    writer.what = "files"
    for path, name in await asyncio.to_thread(lambda: list(_of_home(home, fleet_file))):
        refs = []
        try:
            mode = path.stat().st_mode & 0o777
            with path.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, FILE_PIECE_BYTES):
                    refs.append(await writer.put(piece))
        except FileNotFoundError:  # a deliverable that is being written anew
            continue
        except OSError as error:
            raise BackupUnusable(f"{path} can't be read: {error.strerror}") from error
        yield StoredFile(name, mode, tuple(refs))


def _of_home(home: Path, fleet_file: str) -> Iterator[tuple[Path, str]]:
    """Yield the files to back up and their names: never through a link, which may lead anywhere."""
    if (home / SECRET).is_file():
        yield home / SECRET, SECRET
    if "/" in fleet_file:
        yield Path(fleet_file), FLEET
    for path in sorted((home / DELIVERABLES).rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, path.relative_to(home).as_posix()


def _parts(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), CATALOG_CHUNK_BYTES):
        yield content[start : start + CATALOG_CHUNK_BYTES]
