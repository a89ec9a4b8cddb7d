"""Putting a back-up where nothing is: into an empty home, an empty database, an artifact store.

All of a home is made in a folder beside it that gets its name at the end, so a restore that was killed leaves no half fleet; the
rows of a database come in one transaction. Nothing is started here: a restored home is one of a fleet that stands still.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import TypeVar

from amas.artifacts.store import PREFIX, ArtifactStore
from amas.backup.repository import Repository
from amas.engine.snapshot import placed
from amas.errors import ArtifactDamaged, BackupDamaged, RestoreRefused
from amas.model.backup import Catalog, Manifest, Ref, Segment, StoredFile
from amas.records.dump import fill
from amas.records.migrate import HEAD

AHEAD = 4
"""Chunks that are fetched before they are asked for: S3 answers one after the other in its own time."""
ENGINE = "engine"
RECORDS = "records.sqlite3"

Progress = Callable[[str, int], None]
_Item = TypeVar("_Item")


class Restorer:
    """One back-up on its way back; every chunk is checked as it is read."""

    def __init__(self, repository: Repository, manifest: Manifest, *, progress: Progress | None = None) -> None:
        self._repository, self.manifest = repository, manifest
        self._progress = progress or (lambda _what, _size: None)
        self._read = 0

    async def into(self, home: Path, *, records_url: str = "", artifacts_url: str = "") -> dict[str, int]:
        """Restore into `home`, which must not exist or be empty; return the rows of each table of the records.

        `records_url`, `artifacts_url`: where those go that don't lie in the home. RestoreRefused when there is something already.
        """
        if self.manifest.tables > HEAD:
            raise RestoreRefused(f"the back-up was made by a newer amas ({self.manifest.amas}): upgrade, then restore")
        refuse_unless_empty(home)
        staged = home.with_name(f".{home.name}.restoring")
        shutil.rmtree(staged, ignore_errors=True)
        try:
            staged.mkdir(parents=True, mode=0o700)
            catalog = await asyncio.to_thread(self._repository.catalog, self.manifest)
            await self.engine(catalog, staged / ENGINE)
            await self.files(catalog, staged)
            await self.artifacts(catalog, ArtifactStore(artifacts_url or staged / "artifacts"))
            rows = await self.records(catalog, records_url or f"sqlite:///{staged / RECORDS}")
            await asyncio.to_thread(_take_place, staged, home)
        except OSError as error:
            raise RestoreRefused(
                f"{error.filename or staged} can't be written: {error.strerror}: make room, or take another home"
            ) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return rows

    async def engine(self, catalog: Catalog, folder: Path) -> None:
        """Put the engine's snapshot where an embedded server loads it."""
        with placed(folder) as file:
            async for _, content in self._contents("engine", catalog.engine, lambda ref: ref):
                await asyncio.to_thread(file.write, content)

    async def records(self, catalog: Catalog, url: str) -> dict[str, int]:
        """Put the rows into an empty database."""

        async def newest_first() -> AsyncIterator[bytes]:
            segments: Iterable[Segment] = reversed(catalog.records)
            async for _, content in self._contents("records", segments, lambda segment: segment.ref):
                yield content

        return await fill(url, newest_first())

    async def artifacts(self, catalog: Catalog, store: ArtifactStore) -> None:
        """Put the values into an artifact store, which may hold others."""
        async for artifact, content in self._contents("artifacts", catalog.artifacts, lambda artifact: artifact.ref):
            try:
                await asyncio.to_thread(store.put_raw, PREFIX + artifact.digest, content)
            except ArtifactDamaged:
                raise BackupDamaged(
                    f"the artifact {artifact.digest} of back-up {self.manifest.id} is another: take another back-up"
                ) from None

    async def files(self, catalog: Catalog, home: Path) -> None:
        """Put the home's files back, with their modes."""
        for file in catalog.files:
            path = home / _within(file)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
            with os.fdopen(handle, "wb") as opened:
                async for _, content in self._contents("files", file.refs, lambda ref: ref):
                    await asyncio.to_thread(opened.write, content)

    async def every_chunk(self, catalog: Catalog) -> list[str]:
        """Read every chunk, and return a sentence for each that is damaged or missing."""
        problems = []
        for ref in sorted(catalog.refs, key=lambda ref: ref.id):
            try:
                await asyncio.to_thread(self._repository.get, ref)
            except BackupDamaged as error:
                problems.append(str(error))
            self._count("chunks", ref)
        return problems

    async def _contents(
        self, what: str, items: Iterable[_Item], ref_of: Callable[[_Item], Ref]
    ) -> AsyncIterator[tuple[_Item, bytes]]:
        """Yield each item with its chunk's content, in order, a few of them fetched ahead."""
        coming: list[tuple[_Item, asyncio.Task[bytes]]] = []
        left = iter(items)
        try:
            while True:
                while len(coming) < AHEAD and (item := next(left, None)) is not None:
                    fetching = asyncio.create_task(asyncio.to_thread(self._repository.get, ref_of(item)))
                    coming.append((item, fetching))
                if not coming:
                    return
                item, fetching = coming.pop(0)
                content = await fetching
                self._count(what, ref_of(item))
                yield item, content
        finally:
            for _, fetching in coming:
                fetching.cancel()
            await asyncio.gather(*(fetching for _, fetching in coming), return_exceptions=True)

    def _count(self, what: str, ref: Ref) -> None:
        self._read += ref.size
        self._progress(what, self._read)


def _take_place(staged: Path, home: Path) -> None:
    if home.exists():
        home.rmdir()  # fails when somebody has put something there meanwhile
    staged.rename(home)


def refuse_unless_empty(home: Path) -> None:
    """Raise RestoreRefused when there is anything in `home`."""
    try:
        if home.exists() and any(home.iterdir()):
            raise RestoreRefused(f"{home} isn't empty: restore into a folder that doesn't exist yet, or empty it first")
    except NotADirectoryError:
        raise RestoreRefused(f"{home} is a file: restore into a folder that doesn't exist yet") from None


def _within(file: StoredFile) -> PurePosixPath:
    """Return a file's path, which never leads out of the home."""
    path = PurePosixPath(file.path)
    if path.is_absolute() or ".." in path.parts:
        raise BackupDamaged(f"the back-up holds a file {file.path!r}, which isn't one of a home")
    return path
