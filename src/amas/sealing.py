"""Payloads at rest, encrypted: what processes put into the engine and the artifact store while AMAS_SEAL_KEY is set.

A sealed value travels where the value would, as a msgpack extension, which no JSON value can be: a whole input, result, step,
answer, message's payload or goal. An artifact is sealed under its name. Keys are 32 random bytes each; the first seals, all open.

    purpose key     HKDF-SHA256(key, purpose), one for values and one for artifacts; a key's id is derived from it in the same way
    nonce           24 bytes, HMAC-SHA256 of what it belongs to and the content
    ciphertext      AES-256-GCM under HMAC-SHA256(purpose key, the nonce's first half) with its second half, what it belongs to
                    as associated data
    sealed          key id (8 bytes), nonce, ciphertext with its tag

The same content in the same place is the same bytes, so that what is said again after a lost answer is recognised; no two
contents ever share key and nonce, however many there are: that takes 192 bits by chance (compare c2sp.org/XAES-256-GCM).

`cryptography` is imported when a key is used, so where none is set this costs nothing.
Sources: RFC 5869 (HKDF), NIST SP 800-38D (GCM).
"""

import base64
import binascii
import hmac
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from amas.errors import SealBroken, SealKeyMissing, SettingInvalid
from amas.secrets import Known, reveal
from amas.settings import SealSettings

EXTENSION = 66
"""The msgpack extension's type; a reference to the artifact store has 65."""
KEY_BYTES, ID_BYTES, NONCE_BYTES = 32, 8, 24
OVERHEAD_BYTES = ID_BYTES + NONCE_BYTES + 16
"""What a sealed value is longer than its msgpack."""
BLOB_MARK = b"amas sealed 1\n"
"""What a sealed artifact begins with."""
_VALUE = b"value"

_HEAD = re.compile(rb"(?=(?:\xc7(.)|\xc8(..)|\xc9(....))B)", re.DOTALL)
"""Before a sealed value: msgpack's extension of some length, and our type."""

Extension = msgspec.msgpack.Ext
_decode = msgspec.msgpack.Decoder().decode


class PurposeKey(NamedTuple):
    """What seals one kind of thing."""

    id: bytes
    key: bytes

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Return content sealed for its place."""
        nonce = hmac.digest(self.key, b"nonce" + len(place).to_bytes(4, "big") + place + content, "sha256")[:NONCE_BYTES]
        sealed: bytes = self._cipher(nonce).encrypt(nonce[12:], content, place)
        return self.id + nonce + sealed

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return what was sealed; SealBroken when it isn't as it was, or belongs elsewhere."""
        from cryptography.exceptions import InvalidTag

        nonce = sealed[ID_BYTES : ID_BYTES + NONCE_BYTES]
        try:
            content: bytes = self._cipher(nonce).decrypt(nonce[12:], sealed[ID_BYTES + NONCE_BYTES :], place)
        except (InvalidTag, ValueError):
            raise SealBroken("a sealed value isn't what was sealed: it was altered, or moved from where it belongs") from None
        return content

    def _cipher(self, nonce: bytes) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(hmac.digest(self.key, b"cipher" + nonce[:12], "sha256"))


class Ring:
    """The keys of one purpose; the first seals, all open."""

    def __init__(self, keys: Sequence[PurposeKey]) -> None:
        self.keys = tuple(keys)
        self._by_id = {key.id: key for key in keys}

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Return content sealed with the first key."""
        return self.keys[0].seal(content, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return what was sealed; SealKeyMissing or SealBroken where that can't be had."""
        key = self._by_id.get(sealed[:ID_BYTES])
        if key is None:
            raise SealKeyMissing(sealed[:ID_BYTES].hex())
        return key.open(sealed, place)


class ArtifactSeal(Ring):
    """What seals artifacts. An isolated agent's process gets it too: it may read them all anyway."""

    def name(self, content: bytes) -> str:
        """Return 64 hexadecimal digits: the same for the same content, and nobody without the key can tell for which."""
        return hmac.digest(self.keys[0].key, b"name" + content, "sha256").hex()

    def blob(self, content: bytes, name: str) -> bytes:
        """Return what is to be stored under a name."""
        return BLOB_MARK + self.seal(content, name.encode())

    def content(self, blob: bytes, name: str) -> bytes:
        """Return what is stored under a name."""
        return self.open(blob[len(BLOB_MARK) :], name.encode())

    def is_current(self, blob: bytes) -> bool:
        """Return whether a stored blob is sealed with the first key."""
        return blob.startswith(BLOB_MARK + self.keys[0].id)


class Seal:
    """What seals and opens in one process."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys`: 32 bytes each, the one that seals first."""
        self._values = Ring([_purpose_key(key, b"values") for key in keys])
        self.artifacts = ArtifactSeal([_purpose_key(key, b"artifacts") for key in keys])

    @cached_property
    def key_ids(self) -> tuple[str, ...]:
        """The keys' ids in hexadecimal digits, the one that seals first."""
        return tuple(key.id.hex() for key in self._values.keys)

    def value(self, encoded: bytes) -> Extension:
        """Return a value's msgpack as it travels."""
        return Extension(EXTENSION, self._values.seal(encoded, _VALUE))

    def opened(self, value: Any) -> Any:
        """Return the value that a sealed one stands for; anything else as it is."""
        return _decode(self.bare(value)) if is_sealed(value) else value

    def bare(self, sealed: Extension) -> bytes:
        """Return the msgpack of a sealed value."""
        return self._values.open(bytes(sealed.data), _VALUE)

    def anew(self, blob: bytes) -> bytes:
        """Return a blob with every sealed value that stands in it sealed with the first key; nothing else of it changes."""
        if not any(key.id in blob for key in self._values.keys[1:]):
            return blob
        made, end = bytearray(blob), 0
        for at, sealed in self._found(blob):
            if at >= end and not sealed.startswith(self._values.keys[0].id):
                anew, end = self._values.seal(self._values.open(sealed, _VALUE), _VALUE), at + len(sealed)
                made[at:end] = anew  # as long as before
        return bytes(made)

    def within(self, blob: bytes) -> Iterator[bytes]:
        """Yield the msgpack of every sealed value that stands somewhere in a blob: in a task's spec, as a result."""
        for _, sealed in self._found(blob):
            yield self._values.open(sealed, _VALUE)

    def _found(self, blob: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield where sealed values stand, each with its bytes; what only looks like one doesn't open and is none."""
        for head in _HEAD.finditer(blob):
            length = next(group for group in head.groups() if group is not None)
            at = head.start() + 1 + len(length) + 1
            sealed = blob[at : at + int.from_bytes(length, "big")]
            try:
                self._values.open(sealed, _VALUE)
            except (SealBroken, SealKeyMissing):
                continue
            yield at, sealed

    def is_current(self, sealed: Extension) -> bool:
        """Return whether a sealed value is sealed with the first key."""
        return bytes(sealed.data)[:ID_BYTES] == self._values.keys[0].id


def is_sealed(value: Any) -> bool:
    """Return whether `value` stands for one that is sealed."""
    return type(value) is Extension and value.code == EXTENSION


def key_id_of(sealed: Extension) -> str:
    """Return the id of the key that a value was sealed with."""
    return bytes(sealed.data)[:ID_BYTES].hex()


def read_seal(environ: Mapping[str, str] | None = None) -> Seal | None:
    """Return what AMAS_SEAL_KEY says, None where it says nothing; SettingInvalid or SecretUnreadable when it can't be taken."""
    references = SealSettings.read(environ).references
    if not references:
        return None
    find = reveal if environ is None else Known(environ=environ).read
    return Seal([_key(reference, find(reference)) for reference in references])


def forget_keys() -> None:
    """Take the keys out of this process's environment, so that nothing that agents start inherits them."""
    for reference in SealSettings.read().references:
        if reference.startswith("env:"):
            os.environ.pop(reference.removeprefix("env:"), None)


def derived(master: bytes, info: bytes) -> bytes:
    """Return 32 bytes that follow from a secret for one purpose (HKDF-SHA256)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(master)


def _purpose_key(key: bytes, purpose: bytes) -> PurposeKey:
    own = derived(key, b"amas seal " + purpose)
    return PurposeKey(derived(key, b"amas seal id")[:ID_BYTES], own)


def _key(reference: str, text: str) -> bytes:
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingInvalid(
            f"what AMAS_SEAL_KEY names ({reference}) must be {KEY_BYTES} random bytes in hexadecimal digits or base64: "
            "make one with `openssl rand -hex 32`"
        )
    return key
