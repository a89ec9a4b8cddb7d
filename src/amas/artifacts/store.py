"""Large results by content address, in a local folder. A reference is `sha256:<64 hexadecimal digits>`.

Writing is atomic (a temporary name, then a rename), so a reference that exists is whole; the same bytes are stored once.
Agents and leads put what is too large for a task's result here and pass the reference.
"""

import os
import re
import tempfile
from hashlib import sha256
from pathlib import Path

import msgspec

from amas.model.task import Json

_REFERENCE = re.compile(r"sha256:[0-9a-f]{64}")


class ArtifactStore:
    """A folder of immutable blobs, shared by every process of a fleet on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, blob: bytes) -> str:
        """Store `blob` and return its reference."""
        digest = sha256(blob).hexdigest()
        path = self._path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(blob)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        return f"sha256:{digest}"

    def get(self, reference: str) -> bytes:
        """Return the blob; KeyError when it isn't stored or the reference isn't one."""
        if not _REFERENCE.fullmatch(reference):
            raise KeyError(reference)
        try:
            return self._path(reference.removeprefix("sha256:")).read_bytes()
        except FileNotFoundError:
            raise KeyError(reference) from None

    def put_json(self, value: Json) -> str:
        """Store a JSON value and return its reference."""
        return self.put(msgspec.json.encode(value))

    def get_json(self, reference: str) -> Json:
        """Return a JSON value stored with `put_json`."""
        return msgspec.json.decode(self.get(reference))

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest[2:]
