"""Signed deliveries: what the files were, how their parts were judged, and who answers for it, in one file beside them.

`quality.json` holds a `Delivered` and its HMAC-SHA256 with a key that is derived from AMAS_MESSAGE_SECRET for the agent that
signs, as messages' keys are, under a label of its own. Whoever has the secret can check it; without one nothing is signed, and
the file says so. Called by the approval, which signs, and by `amas quality verify`. It never changes the other files.
"""

import hmac
from collections.abc import Iterable
from hashlib import file_digest
from pathlib import Path, PurePosixPath

import msgspec

from amas.errors import DeliveryUnreadable
from amas.model.task import Json

FILE = "quality.json"
FILE_BYTES_MAX = 64 << 20
_LABEL = b"amas delivery key 1\0"


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed."""

    workflow_id: str
    signed_by: str
    """The agent's id."""
    signed_ms: int
    approved: bool
    score: float
    files: dict[str, str]
    """The SHA-256 of each file, by its name relative to the folder."""
    quality: dict[str, Json]
    """How each part was judged."""


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    delivered: Delivered
    signature: str
    """Hexadecimal; empty where no secret was set."""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a look at a delivered folder."""

    delivered: Delivered
    signature: str
    """`valid`; `forged`: what was signed isn't what stands there; `unsigned`; `unchecked`: there is no secret here for it."""
    changed: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether it is what was signed."""
        return self.signature == "valid" and not self.changed and not self.missing


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of those files that are there."""
    return {name: _digest(folder / name) for name in names if (folder / name).is_file()}


def seal(delivered: Delivered, secret: str) -> str:
    """Return the signature of who is said to answer for it; without a secret it is empty."""
    return _signature(delivered, secret) if secret else ""


def sign(delivered: Delivered, signature: str) -> bytes:
    """Return the file's content; `signature` is what `seal` returned."""
    return msgspec.json.format(msgspec.json.encode(Signed(delivered=delivered, signature=signature)), indent=2)


def look(folder: Path, secret: str) -> Looked:
    """Compare a delivered folder with what was signed; DeliveryUnreadable when nothing in it tells."""
    path = folder / FILE
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise DeliveryUnreadable(f"{path} is larger than {FILE_BYTES_MAX} bytes and no record of a delivery")
        said = msgspec.json.decode(path.read_bytes(), type=Signed)
    except OSError as error:
        raise DeliveryUnreadable(f"{path} can't be read: {error.strerror}; name the folder of a deliverable") from error
    except msgspec.DecodeError as error:
        raise DeliveryUnreadable(f"{path} is no record of a delivery: {error}") from error
    delivered = said.delivered
    named = [name for name in delivered.files if _inside(name)]
    there = digests(folder, named)
    return Looked(
        delivered=delivered,
        signature=_verdict(said, secret),
        changed=tuple(name for name in there if there[name] != delivered.files[name]),
        missing=tuple(name for name in delivered.files if name not in there),
    )


def _verdict(said: Signed, secret: str) -> str:
    if not said.signature:
        return "unsigned"
    if not secret:
        return "unchecked"
    return "valid" if hmac.compare_digest(said.signature, _signature(said.delivered, secret)) else "forged"


def _signature(delivered: Delivered, secret: str) -> str:
    key = hmac.digest(secret.encode(), _LABEL + delivered.signed_by.encode(), "sha256")
    return hmac.digest(key, msgspec.json.encode(delivered, order="deterministic"), "sha256").hex()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _inside(name: str) -> bool:
    return ".." not in (path := PurePosixPath(name)).parts and not path.is_absolute()
