"""Back-ups as words: what a fleet file declares of them, and what a repository says of each one that it holds.

A back-up is a `Manifest`, small and signed, and a `Catalog`, which names every chunk and is itself kept in chunks. Both are
msgpack. Who changes a field gives it a default: what an older amas backed up must be restored by every later one.
"""

from typing import Literal

import msgspec

Kind = Literal["full", "incremental"]

FORMAT = 1
"""Of manifests, catalogs and chunks; one with a higher number was made by a newer amas."""


class BackupSpec(msgspec.Struct, frozen=True, kw_only=True):
    """When a fleet is backed up by itself, and for how long that is kept."""

    to: str = ""
    """`/folder` or `s3://bucket/prefix`; empty for AMAS_BACKUP_URL. Without either nothing is backed up by itself."""
    every_s: float = 3600.0
    full_s: float = 86_400.0
    """Seconds after which the next one is full."""
    keep_s: float = 7 * 86_400.0
    """Seconds for which incremental ones are kept."""
    keep_full_s: float = 30 * 86_400.0


class Ref(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A chunk."""

    id: bytes
    """32 bytes: a keyed hash of what is in it."""
    size: int
    """Bytes of what is in it."""

    @property
    def name(self) -> str:
        """What the repository calls it."""
        return self.id.hex()


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """Rows of one table of the records."""

    table: str
    rows: int
    ref: Ref


class Artifact(msgspec.Struct, frozen=True, array_like=True):
    """One large value."""

    digest: str
    ref: Ref


class StoredFile(msgspec.Struct, frozen=True, array_like=True):
    """A file of the home: the secret, the fleet file, what deliverables hold."""

    path: str
    """From the home, with slashes."""
    mode: int
    refs: tuple[Ref, ...]


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """All that one back-up holds; it needs no other one."""

    engine: tuple[Ref, ...] = ()
    """An RDB file, in order."""
    records: tuple[Segment, ...] = ()
    """Oldest first: of a row that stands in several segments the last one counts."""
    artifacts: tuple[Artifact, ...] = ()
    files: tuple[StoredFile, ...] = ()

    @property
    def refs(self) -> frozenset[Ref]:
        """Every chunk that it names."""
        return frozenset(
            (
                *self.engine,
                *(segment.ref for segment in self.records),
                *(artifact.ref for artifact in self.artifacts),
                *(ref for file in self.files for ref in file.refs),
            )
        )


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One back-up, as lists show it."""

    id: str
    """Its moment in UTC and a few drawn letters: `20260131T235900Z-1f3a`."""
    at_ms: int
    """When the engine's snapshot was taken, by this machine's clock."""
    kind: Kind
    parent: str = ""
    """The back-up whose records an incremental one took over."""
    cell: str
    amas: str
    """The version that made it."""
    tables: str
    """The version of the records' tables."""
    engine: str
    """The mark of the engine's data."""
    engine_version: str = ""
    journal: str = ""
    """The last entry of the journal when the engine's snapshot began."""
    position: str = "0-0"
    """The last entry that the records hold."""
    catalog: tuple[Ref, ...]
    size: int
    """Bytes of all that it holds, as it was."""
    stored: int
    """Bytes that it added to the repository, compressed and encrypted."""
    chunks: int
    new_chunks: int
    took_s: float = 0.0
    rows: dict[str, int] = {}
    """Of tasks and workflows in the records."""
    artifacts: int = 0
    files: int = 0
    fleet_file: str = ""
    """Where the fleet file lay; a copy of it is in the back-up where it doesn't ship with amas."""
    format: int = FORMAT
