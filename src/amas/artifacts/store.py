"""Values too large for the engine, by content address. A reference is `sha256:<64 hexadecimal digits>`.

The same bytes are stored once, and storing them again renews their age, which is what `prune.py` goes by. What is read is checked
against its digest, so that damage is told and never handed on. Where payloads are sealed (`amas.sealing`) the digest is a keyed
one, and what lies under it is encrypted; what was stored before stays readable. A text that is no reference never reaches a path
or a URL. Agents and leads also put here what is too large for a task's result, and pass the reference.

Every call blocks: event loops use `values.py`, or a thread of their own.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from amas.artifacts.blobs import Blobs, Stored
from amas.artifacts.folder import FolderBlobs
from amas.errors import ArtifactDamaged, ArtifactMissing, SealBroken, SealKeyMissing
from amas.model.artifact import MEDIA_TYPE
from amas.model.task import Json
from amas.sealing import BLOB_MARK, ID_BYTES, ArtifactSeal

PREFIX = "sha256:"
_TYPE = "application/octet-stream"
REFERENCE = re.compile(rb"sha256:[0-9a-f]{64}")


class ArtifactStore:
    """Immutable blobs, shared by every process of a fleet."""

    def __init__(self, where: Path | str, *, seal: ArtifactSeal | None = None) -> None:
        """`where`: a folder, `file:///folder` or `s3://bucket/prefix`. Nothing is touched before the first use.

        `seal`: what is stored is encrypted with it, under a name that tells nothing of the content.
        """
        self._blobs, self.seal = open_blobs(where), seal

    @property
    def url(self) -> str:
        """The store's address, for another process."""
        return self._blobs.url

    def put(self, blob: bytes, *, media_type: str = _TYPE) -> str:
        """Store `blob` and return its reference; storing it again changes nothing but its age."""
        if self.seal is not None:
            name = self.seal.name(blob)
            self._blobs.write(name, self.seal.blob(blob, name), media_type=_TYPE)
            return PREFIX + name
        digest = sha256(blob).hexdigest()
        self._blobs.write(digest, blob, media_type=media_type)
        return PREFIX + digest

    def get(self, reference: str) -> bytes:
        """Return the blob; ArtifactMissing when it isn't stored or the reference is none, ArtifactDamaged when it is another."""
        blob = self.raw(reference)
        if not blob.startswith(BLOB_MARK):
            return blob
        if self.seal is None:
            raise SealKeyMissing(blob[len(BLOB_MARK) :][:ID_BYTES].hex())
        try:
            return self.seal.content(blob, reference.removeprefix(PREFIX))
        except SealBroken:
            raise self._damaged(reference) from None

    def raw(self, reference: str) -> bytes:
        """Return what lies in the store as it is, sealed or not; raises as `get`, which alone finds damage to what is sealed."""
        if not REFERENCE.fullmatch(reference.encode()):
            raise ArtifactMissing(f"{reference[:80]!r} is no reference to an artifact; one is {PREFIX} and 64 hexadecimal digits")
        blob = self._blobs.read(reference.removeprefix(PREFIX))
        if blob is None:
            raise ArtifactMissing(
                f"the artifact {reference} isn't in the store {self.url}: it was removed, or is in another store"
            )
        if not blob.startswith(BLOB_MARK) and PREFIX + sha256(blob).hexdigest() != reference:
            raise self._damaged(reference)
        return blob

    def put_raw(self, reference: str, blob: bytes) -> None:
        """Store what `raw` returned, or the same content sealed anew; ArtifactDamaged when it isn't what the reference says."""
        name = reference.removeprefix(PREFIX)
        if blob.startswith(BLOB_MARK) or sha256(blob).hexdigest() == name:
            self._blobs.write(name, blob, media_type=_TYPE)
        else:
            raise self._damaged(reference)

    def put_json(self, value: Json) -> str:
        """Store a JSON value and return its reference."""
        return self.put(msgspec.json.encode(value), media_type="application/json")

    def get_json(self, reference: str) -> Json:
        """Return a JSON value stored with `put_json`."""
        return msgspec.json.decode(self.get(reference))

    def _damaged(self, reference: str) -> ArtifactDamaged:
        return ArtifactDamaged(f"the artifact {reference} is damaged in the store {self.url}: restore it, or submit it again")

    def put_value(self, encoded: bytes) -> str:
        """Store a value's msgpack and return its reference."""
        return self.put(encoded, media_type=MEDIA_TYPE)

    def list(self) -> Iterator[Stored]:
        """Yield what is stored, in no order."""
        return self._blobs.list()

    def remove(self, stored: Stored) -> bool:
        """Remove what was listed unless it was stored anew since; return whether it is gone."""
        return self._blobs.remove(stored)


def open_blobs(where: Path | str) -> Blobs:
    """Return the place with blobs at a folder, `file:///folder` or `s3://bucket/prefix`; nothing is touched."""
    if isinstance(where, str) and where.startswith("s3://"):
        from amas.artifacts.s3 import S3Blobs  # loads a client of 20 MB, which only those who use it want

        return S3Blobs(where)
    return FolderBlobs(Path(where.removeprefix("file://") if isinstance(where, str) else where))
