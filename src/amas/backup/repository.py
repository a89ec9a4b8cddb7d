"""Where back-ups lie: a folder or an S3 prefix, by the same means as artifacts (`artifacts/blobs.py`).

    <repository>/keys/       the master key, wrapped; see `sealing.py`
    <repository>/chunks/     content, each under its keyed hash
    <repository>/manifests/  one for each back-up, signed; written last, so what is listed is whole
    <repository>/marks/      who backs up or removes just now

Nothing is ever changed, only added and removed. Whoever is killed in the middle leaves chunks that nothing refers to, which the
next `remove` takes away. Removing and backing up keep out of each other's way by marks: each says what it does first and looks
for the other's mark then. Every call blocks: event loops use threads.
"""

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

import msgspec

from amas.artifacts.blobs import Blobs, Stored
from amas.artifacts.store import open_blobs
from amas.backup.sealing import SIGNATURE_BYTES, Keyring, Keys, Tampered, WrongKey, new_keyring
from amas.clock import now_ms
from amas.errors import ArtifactStoreUnusable, BackupBusy, BackupDamaged, BackupKeyWrong, BackupUnknown, BackupUnusable
from amas.model.backup import FORMAT, Catalog, Manifest, Ref

CATALOG_CHUNK_BYTES = 4 << 20
MARK_S = 6 * 3600.0
"""Seconds after which the mark of a process on another machine counts no more: it was killed."""
_MEDIA = "application/octet-stream"


class Listing(NamedTuple):
    """What a repository holds."""

    whole: list[Manifest]
    """Oldest first."""
    damaged: list[str]
    """Sentences that name the manifests which can't be read."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody at work."""

    what: str
    host: str
    pid: int
    at_ms: int
    drawn: bytes
    """Tells two marks of one process and moment apart."""


class Repository:
    """One place with back-ups. Each method raises BackupUnusable when the place is."""

    def __init__(self, url: str, keys: Keys) -> None:
        self.url, self._keys = url, keys
        self._chunks, self._manifests, self._marks = (_blobs(url, kind) for kind in ("chunks", "manifests", "marks"))

    @classmethod
    def open(cls, url: str, secret: bytes, *, create: bool = False) -> "Repository":
        """Return the repository; BackupUnknown where there is none and none is to be made, BackupKeyWrong for another secret."""
        with _usable(url):
            blobs = _blobs(url, "keys")
            if create and not _oldest(blobs):
                ring = msgspec.msgpack.encode(new_keyring(secret))
                blobs.write(sha256(ring).hexdigest(), ring, media_type=_MEDIA)
            found = _oldest(blobs)
            blob = blobs.read(found.digest) if found else None
        if found is None or blob is None:
            raise BackupUnknown(f"there are no back-ups in {url}: `amas backup --to {url}` makes the first")
        if sha256(blob).hexdigest() != found.digest:
            raise BackupDamaged(f"the key {found.digest} of the back-ups in {url} is damaged: restore that file from a copy")
        try:
            return cls(url, msgspec.msgpack.decode(blob, type=Keyring).unlock(secret))
        except (WrongKey, msgspec.MsgspecError):
            raise BackupKeyWrong(
                f"the key that AMAS_BACKUP_KEY names doesn't open the back-ups in {url}: it must be the one they were made with"
            ) from None

    # -- chunks

    def chunk_id(self, digest: bytes) -> bytes:
        """Return the id of the chunk with what has this SHA-256."""
        return self._keys.chunk_id(digest)

    def held(self) -> set[str]:
        """Return the names of all chunks that are there."""
        with _usable(self.url):
            return {stored.digest for stored in self._chunks.list()}

    def put(self, content: bytes, ref: Ref) -> int:
        """Store a chunk and return how many bytes it takes."""
        blob = self._keys.seal(content, ref.name)
        with _usable(self.url):
            self._chunks.write(ref.name, blob, media_type=_MEDIA)
        return len(blob)

    def get(self, ref: Ref) -> bytes:
        """Return what is in a chunk; BackupDamaged names one that is missing, torn or altered."""
        with _usable(self.url):
            blob = self._chunks.read(ref.name)
        if blob is None:
            raise BackupDamaged(f"the chunk {ref.name} isn't in {self.url}: back-ups that need it can't be restored")
        try:
            content = self._keys.open(blob, ref.name)
        except Tampered:
            content = b""
        if len(content) != ref.size or self.chunk_id(sha256(content).digest()) != ref.id:
            raise BackupDamaged(
                f"the chunk {ref.name} in {self.url} is damaged: back-ups that need it can't be restored; "
                "remove it, and the next full back-up stores it anew where the fleet still has what was in it"
            )
        return content

    # -- manifests

    def catalog(self, manifest: Manifest) -> Catalog:
        """Return what a back-up holds."""
        return msgspec.msgpack.decode(b"".join(self.get(ref) for ref in manifest.catalog), type=Catalog)

    def list(self) -> Listing:
        """Return all back-ups, and what is wrong with those that can't be read."""
        whole, damaged = [], []
        with _usable(self.url):
            for stored in self._manifests.list():
                blob = self._manifests.read(stored.digest)
                if blob is not None:
                    try:
                        whole.append(self._manifest(blob, stored.digest))
                    except (Tampered, msgspec.MsgspecError):
                        damaged.append(
                            f"the manifest {stored.digest} in {self.url} is damaged: that back-up can't be restored, others can"
                        )
        return Listing(sorted(whole, key=lambda each: (each.at_ms, each.id)), sorted(damaged))

    def find(self, backup_id: str) -> Manifest:
        """Return a back-up by its id, or by `latest`; BackupUnknown says which there are."""
        found = self.list()
        if backup_id == "latest" and found.whole:
            return found.whole[-1]
        for each in found.whole:
            if each.id == backup_id:
                return each
        if any(_manifest_name(backup_id) in sentence for sentence in found.damaged):
            raise BackupDamaged(f"the manifest of back-up {backup_id} in {self.url} is damaged: take another one")
        newest = f": the newest is {found.whole[-1].id}" if found.whole else ": it holds none"
        raise BackupUnknown(f"there is no back-up {backup_id!r} in {self.url}{newest}")

    def add(self, manifest: Manifest) -> None:
        """Make a back-up one that is listed; all its chunks are there already."""
        name = _manifest_name(manifest.id)
        sealed = self._keys.seal(msgspec.msgpack.encode(manifest), name)
        with _usable(self.url):
            self._manifests.write(name, self._keys.sign(sealed, name) + sealed, media_type=_MEDIA)

    def _manifest(self, blob: bytes, name: str) -> Manifest:
        signature, sealed = blob[:SIGNATURE_BYTES], blob[SIGNATURE_BYTES:]
        self._keys.check(signature, sealed, name)
        manifest = msgspec.msgpack.decode(self._keys.open(sealed, name), type=Manifest)
        if _manifest_name(manifest.id) != name:
            raise Tampered
        if manifest.format > FORMAT:
            raise BackupUnusable(f"the back-up {manifest.id} in {self.url} was made by a newer amas ({manifest.amas}): upgrade")
        return manifest

    # -- removing

    def remove(self, backup_ids: Iterable[str]) -> tuple[int, int]:
        """Remove back-ups and the chunks that no other refers to; return how many chunks went and their bytes.

        BackupBusy while somebody else is at work there. No chunk goes while a manifest is damaged: nobody knows what it needs.
        """
        mark = self.begin("removing back-ups")
        try:
            self._forget(backup_ids)
            return self._sweep()
        finally:
            self.end(mark)

    def _forget(self, backup_ids: Iterable[str]) -> None:
        names = {_manifest_name(backup_id) for backup_id in backup_ids}
        with _usable(self.url):
            for stored in [each for each in self._manifests.list() if each.digest in names]:
                self._manifests.remove(stored)

    def _sweep(self) -> tuple[int, int]:
        with _usable(self.url):
            chunks = list(self._chunks.list())
            found = self.list()
            if found.damaged:
                return 0, 0
            needed = {ref.name for each in found.whole for ref in (*each.catalog, *self.catalog(each).refs)}
            removed = [stored for stored in chunks if stored.digest not in needed and self._chunks.remove(stored)]
        return len(removed), sum(stored.size for stored in removed)

    def begin(self, what: str, *, beside: str = "") -> str:
        """Say that we do `what`, and return what `end` wants; BackupBusy while somebody does anything but `beside`."""
        mine = Mark(what=what, host=socket.gethostname(), pid=os.getpid(), at_ms=now_ms(), drawn=os.urandom(8))
        blob = msgspec.json.encode(mine)
        name = sha256(blob).hexdigest()
        with _usable(self.url):
            self._marks.write(name, blob, media_type=_MEDIA)
        other = next((each for each in self._others(name) if each.what != beside), None)
        if other is not None:
            self.end(name)
            raise BackupBusy(f"process {other.pid} on {other.host} is {other.what} in {self.url}: try again when that is over")
        return name

    def end(self, name: str) -> None:
        """Say that it is over."""
        with contextlib.suppress(BackupUnusable), _usable(self.url):  # a mark that stays is passed over once its process is gone
            for stored in [each for each in self._marks.list() if each.digest == name]:
                self._marks.remove(stored)

    def _others(self, mine: str) -> Iterator[Mark]:
        with _usable(self.url):
            for stored in list(self._marks.list()):
                blob = self._marks.read(stored.digest) if stored.digest != mine else None
                if blob is None:
                    continue
                try:
                    mark = msgspec.json.decode(blob, type=Mark)
                except msgspec.MsgspecError:  # torn
                    mark = None
                if mark is None or not _alive(mark):
                    self._marks.remove(stored)
                else:
                    yield mark


def _alive(mark: Mark) -> bool:
    if now_ms() - mark.at_ms > MARK_S * 1000:
        return False
    if mark.host != socket.gethostname():
        return True
    try:
        os.kill(mark.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _manifest_name(backup_id: str) -> str:
    return sha256(f"manifest {backup_id}".encode()).hexdigest()


def _oldest(blobs: Blobs) -> Stored | None:
    """Return the keyring that counts: of two that were made at once both makers take the older."""
    return min(blobs.list(), key=lambda stored: (stored.stored_s, stored.digest), default=None)


def _blobs(url: str, kind: str) -> Blobs:
    return open_blobs(f"{url.rstrip('/')}/{kind}")


@contextlib.contextmanager
def _usable(url: str) -> Iterator[None]:
    try:
        yield
    except ArtifactStoreUnusable as error:
        why = str(error).partition("can't be used: ")[2] or str(error)
        raise BackupUnusable(f"the back-ups in {url} can't be reached: {why}") from error
