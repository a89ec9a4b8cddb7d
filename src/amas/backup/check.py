"""Whether a back-up can be restored, found out by restoring it: into a folder that goes away, with an engine of its own.

Three things are looked at: every chunk is what was stored; the database and the engine take what they are given; and the two
are of one moment. For the last the journal in the engine's snapshot is recorded into the restored records, from where they
stand, as a restored fleet would. Then every open task and workflow must be in the same state in both.
"""

import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from amas.backup.repository import Repository
from amas.backup.restore import ENGINE, RECORDS, Progress, Restorer
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.engine.journal import Journal
from amas.engine.snapshot import open_states
from amas.errors import BackupDamaged, BackupUnusable, EngineError
from amas.model.backup import Catalog, Manifest
from amas.records.store import Records

NAMED_MAX = 5
"""Tasks that a sentence names; how many there are it says."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    backup: str
    chunks: int
    size: int
    """Bytes that were read and checked."""
    problems: list[str]
    """Sentences; none when all is well."""
    replayed: int = 0
    """Entries of the journal that the records lacked when they were frozen."""
    tasks: dict[str, int] = {}
    """Open ones by state."""
    workflows: dict[str, int] = {}


class _Compared(msgspec.Struct, frozen=True):
    problems: list[str]
    replayed: int
    tasks: dict[str, int]
    workflows: dict[str, int]


async def verify(
    repository: Repository, manifest: Manifest, *, binary: Path | None = None, progress: Progress | None = None
) -> Verdict:
    """Return what is wrong with a back-up; BackupDamaged when not even its catalog can be read.

    `binary`: the engine to try it with, as AMAS_ENGINE_BINARY.
    """
    restorer = Restorer(repository, manifest, progress=progress)
    catalog = repository.catalog(manifest)
    problems = await restorer.every_chunk(catalog)
    compared = _Compared([], 0, {}, {})
    if not problems:
        try:
            with tempfile.TemporaryDirectory(prefix="amas-verify-") as folder:
                compared = await _replay(Restorer(repository, manifest), catalog, Path(folder), binary)
        except OSError as error:
            place = tempfile.gettempdir()
            raise BackupUnusable(
                f"{manifest.id} can't be tried out in {place}: {error.strerror}: make room there, or set TMPDIR to another folder"
            ) from error
    return Verdict(
        backup=manifest.id,
        chunks=len(catalog.refs) + len(manifest.catalog),
        size=sum(ref.size for ref in (*catalog.refs, *manifest.catalog)),
        problems=[*problems, *compared.problems],
        replayed=compared.replayed,
        tasks=compared.tasks,
        workflows=compared.workflows,
    )


async def _replay(restorer: Restorer, catalog: Catalog, folder: Path, binary: Path | None) -> _Compared:
    manifest = restorer.manifest
    await restorer.engine(catalog, folder / ENGINE)
    url = f"sqlite:///{folder / RECORDS}"
    await restorer.records(catalog, url)
    server = EmbeddedEngine(folder / ENGINE, binary=binary)
    try:
        await server.start()
    except EngineError as error:
        return _Compared(
            [f"the engine doesn't take the snapshot of {manifest.id} ({manifest.engine_version}): {error}"], 0, {}, {}
        )
    try:
        async with Engine(server.url, cell=manifest.cell) as engine, await Records.open(url, cell=manifest.cell) as records:
            await engine.check(load=True)
            mark = await Journal(engine).mark()
            if mark != manifest.engine:
                return _Compared([f"the snapshot of {manifest.id} is another engine's: {mark}, not {manifest.engine}"], 0, {}, {})
            replayed = await catch_up(engine, records)
            return _compare(await open_states(engine), await records.open_states(), replayed)
    finally:
        await server.stop()


async def catch_up(engine: Engine, records: Records) -> int:
    """Record what the journal has after the records' position, and return how many entries that was."""
    journal, replayed, position = Journal(engine), 0, await records.position()
    while entries := await journal.read(position):
        await records.apply(entries)
        replayed, position = replayed + len(entries), entries[-1].id
    return replayed


def _compare(
    engine: tuple[dict[str, str], dict[str, str]], records: tuple[dict[str, str], dict[str, str]], replayed: int
) -> _Compared:
    problems = []
    for what, there, told in zip(("tasks", "workflows"), engine, records, strict=True):
        apart = sorted(each for each in there.keys() | told.keys() if there.get(each) != told.get(each))
        if apart:
            shown = ", ".join(f"{each} ({there.get(each, 'unknown')}, {told.get(each, 'ended')})" for each in apart[:NAMED_MAX])
            problems.append(f"{len(apart)} {what} are in another state in the engine than the journal tells: {shown}")
    return _Compared(problems, replayed, dict(Counter(engine[0].values())), dict(Counter(engine[1].values())))


def complain(verdict: Verdict) -> None:
    """Raise BackupDamaged with what is wrong, when anything is."""
    if verdict.problems:
        raise BackupDamaged(f"the back-up {verdict.backup} is not whole: {'; '.join(verdict.problems[:NAMED_MAX])}")
