"""Blobs in a local folder, `ab/cdef...` by their digest.

Writing is atomic (a temporary name, then a rename), so a file that exists is whole. Its modification time is when it was last
stored. Removing goes over a rename too: whoever stores the same blob at that moment either finds the file gone and writes it
anew, or has renewed its age, which the remover then sees and puts it back.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from amas.artifacts.blobs import Stored
from amas.errors import ArtifactStoreUnusable

_REMOVED = ".removed"


class FolderBlobs:
    """A folder that all processes of a fleet on this machine share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        self.url = str(self.folder)

    def write(self, digest: str, blob: bytes, *, media_type: str) -> None:
        """Write a file and have it on disk, or renew the age of the one that is there. The media type goes without saying."""
        path = self._path(digest)
        with self._usable():
            if self._renewed(path, blob):
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(blob)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(path)
                self._sync(path.parent)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def read(self, digest: str) -> bytes | None:
        """Return a file's bytes; None when there is none."""
        with self._usable():
            try:
                return self._path(digest).read_bytes()
            except FileNotFoundError:
                return None

    def list(self) -> Iterator[Stored]:
        """Yield every blob; half-written files have other names."""
        with self._usable():
            for path in self.folder.glob("??/*"):
                digest = path.parent.name + path.name
                if len(digest) == 64 and "." not in digest:
                    with contextlib.suppress(FileNotFoundError):
                        found = path.stat()
                        yield Stored(digest, found.st_size, found.st_mtime)

    def remove(self, stored: Stored) -> bool:
        """Remove a file unless it was stored anew."""
        path = self._path(stored.digest)
        aside = path.with_name(path.name + _REMOVED)
        with self._usable():
            try:
                path.rename(aside)
            except FileNotFoundError:
                return False
            if aside.stat().st_mtime > stored.stored_s:
                aside.rename(path)
                return False
            aside.unlink()
        return True

    def _renewed(self, path: Path, blob: bytes) -> bool:
        """Return whether the very blob is there, now with a new age; a damaged one is written anew."""
        try:
            same = path.stat().st_size == len(blob) and path.read_bytes() == blob
            if same:
                os.utime(path)
        except FileNotFoundError:
            return False
        return same

    @staticmethod
    def _sync(folder: Path) -> None:
        """Have the new name on disk too: what is acknowledged after this refers to it."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest[2:]

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArtifactStoreUnusable(f"the artifact store {self.folder} can't be used: {error.strerror or error}") from error
