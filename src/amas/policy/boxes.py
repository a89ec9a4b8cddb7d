"""Sealing a few bytes for one reader, whom the writer knows by a public key: so tokens pass through the engine unread.

X25519 between the reader's key and one that is made for each box, HKDF-SHA256 over both, AES-256-GCM. A key seals one box, so its
nonce may be fixed. Sources: RFC 7748, RFC 5869, NIST SP 800-38D; the construction is that of libsodium's sealed boxes.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from amas.sealing import derived

PUBLIC_BYTES = 32
_NONCE = bytes(12)


class BoxDamaged(Exception):
    """What came isn't what was sealed, or was sealed for another."""


class Box:
    """A key of one reader's."""

    def __init__(self) -> None:
        self._key = X25519PrivateKey.generate()
        self.public = self._key.public_key().public_bytes_raw()
        """What writers seal with."""

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed; BoxDamaged where it wasn't for this box, or isn't whole."""
        theirs, rest = sealed[:PUBLIC_BYTES], sealed[PUBLIC_BYTES:]
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(theirs))
            return _cipher(shared, theirs, self.public).decrypt(_NONCE, rest, None)
        except (InvalidTag, ValueError) as error:
            raise BoxDamaged("the answer isn't sealed for this box") from error


def seal_for(public: bytes, said: bytes) -> bytes:
    """Return what the box with this public key alone can open; ValueError for what is no such key."""
    own = X25519PrivateKey.generate()
    ours = own.public_key().public_bytes_raw()
    shared = own.exchange(X25519PublicKey.from_public_bytes(public))
    return ours + _cipher(shared, ours, public).encrypt(_NONCE, said, None)


def _cipher(shared: bytes, writer: bytes, reader: bytes) -> AESGCM:
    return AESGCM(derived(shared, b"amas box" + writer + reader))
