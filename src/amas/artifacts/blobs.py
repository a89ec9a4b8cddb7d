"""What an artifact store needs of the place where its bytes lie: a folder (`folder.py`) or a bucket (`s3.py`)."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Stored(NamedTuple):
    """One blob as a listing shows it."""

    digest: str
    size: int
    stored_s: float
    """When it was last stored, in seconds since the epoch."""


class Blobs(Protocol):
    """Where the bytes lie: immutable blobs by their digest. Each method raises ArtifactStoreUnusable when the place is."""

    url: str
    """What `ArtifactStore` makes the same store of, in another process."""

    def write(self, digest: str, blob: bytes, *, media_type: str) -> None:
        """Store a blob whole or not at all; one that is there already gets the age of a new one."""

    def read(self, digest: str) -> bytes | None:
        """Return a blob; None when there is none."""

    def list(self) -> Iterator[Stored]:
        """Yield every blob."""

    def remove(self, stored: Stored) -> bool:
        """Remove a blob unless it was stored anew since it was listed; return whether it is gone."""
