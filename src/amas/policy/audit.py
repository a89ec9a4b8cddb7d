"""The audit: a file of JSON lines, each of which seals all before it. Who did what, on what, how it came out, and when.

    {"seq":7,"at":"2026-11-21T22:30:00.123Z","who":"ada","kind":"key","role":"operator","tenant":"",
     "act":"POST /api/pools/{name}/scale","on":"/api/pools/coder/scale","outcome":200,
     "previous":"<SHA-256 of line 6>","signature":"<Ed25519 of this line up to here>"}

`previous` chains the lines, so that none can be changed, taken out or put in between; the signature keeps who has only the file
from writing the chain anew. Lines that were cut off at the end leave a sound chain: `verify` finds that out where it is told a
digest that was known before. A line is written whole with one call and is on disk before the act is answered; what a
crash tore is no line and is cut off by whoever writes next, which says so in a line of its own.

Written by the control plane (`server/guard.py`), read by it and by `amas audit verify`, which needs the public key only.
"""

import base64
import fcntl
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from amas.errors import AuditDamaged, AuditError

LOG, KEY, PUBLIC_KEY = "audit.jsonl", "audit.key", "audit.pub"
FIRST = "0" * 64
"""What stands as `previous` in the first line."""
_SIGNATURE = b',"signature":"'
LINE_BYTES_MAX = 1 << 16
ON_CHARS_MAX = 2048


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One administrative act."""

    who: str
    kind: str
    """How the caller was known: `key`, `token`, `local`, ..., or `amas` for what the log itself says."""
    role: str
    tenant: str
    act: str
    """The method and the route."""
    on: str
    """The path as it was asked; after a blank whom its body names, where that says who it was: `/api/kill coder-3 killed`."""
    outcome: int
    """The status that it was answered with."""


class Line(Act, frozen=True, kw_only=True):
    """An act as it stands in the log."""

    seq: int
    at: str
    """RFC 3339, UTC."""
    previous: str
    signature: str = ""


class _Unsigned(msgspec.Struct, frozen=True):
    """A line's fields in their order, but for its signature."""

    seq: int
    at: str
    who: str
    kind: str
    role: str
    tenant: str
    act: str
    on: str
    outcome: int
    previous: str


_line = msgspec.json.Decoder(Line)


class AuditLog:
    """The log in one folder, with the key that signs it. Several processes may write it, one line at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self._folder = folder
        self._key: Ed25519PrivateKey | None = None
        self._size, self._seq, self._previous = -1, 0, FIRST

    def check(self) -> None:
        """Raise AuditError when the log can't be written: before an act, so that none goes without its line."""
        try:
            with self._held():
                pass
        except (OSError, ValueError) as error:
            raise AuditError(f"the audit {self.path} can't be written: {error}") from error

    def write(self, act: Act) -> None:
        """Append an act and return once it is on disk; AuditError when it can't be."""
        try:
            with self._held() as handle:
                self._append(handle, act)
                os.fdatasync(handle)
        except (OSError, ValueError) as error:
            self._size = -1  # whoever writes next looks anew where it ends
            raise AuditError(f"the audit {self.path} can't be written: {error}") from error

    @contextmanager
    def _held(self) -> Iterator[int]:
        """Hold the log alone within the block, its end known and nothing torn there."""
        if self._key is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._key = self._key or _key_in(self._folder)  # one key, however many begin at the same moment
            if os.fstat(handle).st_size != self._size and (torn := self._find_end(handle)):
                said = Act(who="amas", kind="amas", role="", tenant="", act="cut off a torn line", on=f"{torn} bytes", outcome=0)
                self._append(handle, said)
            yield handle
        finally:
            os.close(handle)

    def _append(self, handle: int, act: Act) -> None:
        assert self._key is not None
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = (act.who, act.kind, act.role, act.tenant, act.act, act.on[:ON_CHARS_MAX], act.outcome)
        said = msgspec.json.encode(_Unsigned(self._seq + 1, at, *fields, self._previous))[:-1]
        line = said + _SIGNATURE + base64.b64encode(self._key.sign(said)) + b'"}'
        if os.write(handle, line + b"\n") != len(line) + 1:
            raise OSError("the disk is full")
        self._size += len(line) + 1
        self._seq, self._previous = self._seq + 1, sha256(line).hexdigest()

    def _find_end(self, handle: int) -> int:
        """Find the last whole line, cut off what comes after it, and return how many bytes that was.

        A log that isn't sound is gone on with all the same: what is wrong with it stays, for `verify` to find.
        """
        size = os.fstat(handle).st_size
        tail = os.pread(handle, 2 * LINE_BYTES_MAX, max(0, size - 2 * LINE_BYTES_MAX))
        whole, _, torn = tail.rpartition(b"\n")
        if torn:
            os.ftruncate(handle, size - len(torn))
        self._size, self._seq, self._previous = size - len(torn), 0, FIRST
        last = whole.rpartition(b"\n")[2]
        if last:
            self._previous = sha256(last).hexdigest()
            with suppress(msgspec.MsgspecError):
                self._seq = _line.decode(last).seq
        return len(torn)

    def newest(self, limit: int, *, before: int = 0) -> list[Line]:
        """Return the newest lines, newest first, of those with a number below `before` (0: all)."""
        try:
            with self.path.open("rb") as file:
                lines = (_line.decode(raw) for raw in file if raw.endswith(b"\n"))
                kept = deque((line for line in lines if not before or line.seq < before), maxlen=limit)
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as error:
            raise AuditDamaged(f"the audit {self.path} can't be read: {error}: `amas audit verify` says where") from error
        return list(reversed(kept))


def _key_in(folder: Path) -> Ed25519PrivateKey:
    """Return the folder's key, made where there is none; the public half lies beside it for whoever verifies."""
    path = folder / KEY
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            os.fsync(file.fileno())
    if not isinstance(key, Ed25519PrivateKey):
        raise OSError(f"{path} holds no Ed25519 key")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    if not (folder / PUBLIC_KEY).exists():
        (folder / PUBLIC_KEY).write_bytes(public)
    return key


def verify(path: Path, public_key: Path | None = None, *, known: str = "") -> tuple[int, str]:
    """Check a log line by line; return the last line's number and digest, (0, FIRST) of an empty one.

    AuditDamaged names the first line that isn't sound. Without `public_key`, the one beside the log is taken. `known`: a digest
    that an earlier check returned; a log that doesn't lead through it was cut off, or is another.
    """
    if not path.is_file():
        raise AuditError(f"there is no log {path}: a fleet's is audit/audit.jsonl in its data folder")
    key = _public(public_key or path.with_name(PUBLIC_KEY))
    seq, previous, met = 0, FIRST, known in ("", FIRST)
    for number, line in enumerate(_lines(path), 1):
        seq += 1
        where = f"line {number} of {path}"
        said, found, rest = line.rpartition(_SIGNATURE)
        try:
            held = _line.decode(line)
            key.verify(_signature(rest.removesuffix(b'"}')), said)
        except (msgspec.MsgspecError, ValueError):
            raise AuditDamaged(f"{where} is no line of an audit: it was changed or put in") from None
        except InvalidSignature:
            raise AuditDamaged(f"{where} was changed or put in: its signature isn't this audit's") from None
        if not found or held.seq != seq or held.previous != previous:
            raise AuditDamaged(
                f"{where} doesn't follow on what stands before it: it has number {held.seq} where {seq} is due, "
                "so lines were removed, put in or moved"
            )
        previous = sha256(line).hexdigest()
        met = met or previous == known
    if not met:
        raise AuditDamaged(
            f"none of the {seq} lines of {path} has the digest {known}, which was known: lines were cut off at its end since, "
            "or it is another audit"
        )
    return seq, previous


def _signature(text: bytes) -> bytes:
    """Return a signature; ValueError where it isn't written as it was: base64 has bits at its end that mean nothing."""
    found = base64.b64decode(text, validate=True)
    if base64.b64encode(found) != text:
        raise ValueError("its last bits were changed")
    return found


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:  # of the latter only the library's own authors make sense
        why = getattr(error, "strerror", None) or "it is no public key in PEM"
        raise AuditError(f"the audit's public key can't be read from {path}: {why}: name it with --key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise AuditError(f"{path} holds no Ed25519 public key")
    return key


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    raise AuditDamaged(
                        f"the last line of {path} is torn: it was never acknowledged, and the next start cuts it off"
                    )
                yield raw[:-1]
    except OSError as error:
        raise AuditError(f"the audit {path} can't be read: {error}") from error
