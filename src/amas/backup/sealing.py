"""How a repository's bytes are kept from others' eyes and hands: compressed, encrypted, signed.

A repository has one random key, the master key. It lies there itself, wrapped by what scrypt
makes of the operator's secret, so that a secret can be long or a sentence. All other keys are derived from it (HKDF):

    chunk id    HMAC-SHA256 over the SHA-256 of the content: the same content has the same id, and nobody without the key can tell
                from an id what is in a chunk
    a blob      format, nonce, AES-256-GCM over (how it is packed, the packed content), bound to the blob's name. The nonce is an
                HMAC of the packed content: the same content is the same blob, and no nonce ever serves two contents
    signature   Ed25519 over a manifest's name and its encrypted bytes

Sources: RFC 7914 (scrypt), RFC 5869 (HKDF), NIST SP 800-38D (GCM), RFC 8032 (Ed25519).
"""

import hmac
import os
import zlib
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from amas.sealing import KEY_BYTES, derived

NONCE_BYTES, SALT_BYTES, SIGNATURE_BYTES = 12, 16, 64
SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 15, 8, 1
"""32 MiB and a tenth of a second for each guess at the secret; OWASP's figure for interactive use."""
SCRYPT_MEMORY_MAX, SCRYPT_P_MAX = 1 << 30, 16
"""A keyring that asks for more, of memory or of time, was tampered with."""
LEVEL = 1
"""zlib's quickest: a third larger than its best, ten times as quick."""
WORTH = 0.95
"""What doesn't shrink to this much stays as it is."""

_FORMAT, _PLAIN, _ZLIB = b"\x01", b"\x00", b"\x01"


class WrongKey(Exception):
    """The secret isn't the one that the repository was made with."""


class Tampered(Exception):
    """Bytes aren't what they were when they were sealed."""


class Keyring(msgspec.Struct, frozen=True, kw_only=True):
    """The master key as it lies in the repository."""

    n: int = SCRYPT_N
    r: int = SCRYPT_R
    p: int = SCRYPT_P
    salt: bytes
    nonce: bytes
    wrapped: bytes

    def unlock(self, secret: bytes) -> "Keys":
        """Return the keys; WrongKey when `secret` is another."""
        if 128 * self.n * self.r > SCRYPT_MEMORY_MAX or self.p > SCRYPT_P_MAX:
            raise WrongKey
        try:
            return Keys(AESGCM(self._wrapping(secret)).decrypt(self.nonce, self.wrapped, b"amas keyring"))
        except (InvalidTag, ValueError) as error:
            raise WrongKey from error

    def _wrapping(self, secret: bytes) -> bytes:
        return Scrypt(salt=self.salt, length=KEY_BYTES, n=self.n, r=self.r, p=self.p).derive(secret)


def new_keyring(secret: bytes) -> Keyring:
    """Return a ring with a master key that was never there before."""
    bare = Keyring(salt=os.urandom(SALT_BYTES), nonce=os.urandom(NONCE_BYTES), wrapped=b"")
    wrapped = AESGCM(bare._wrapping(secret)).encrypt(bare.nonce, os.urandom(KEY_BYTES), b"amas keyring")
    return msgspec.structs.replace(bare, wrapped=wrapped)


class Keys:
    """What seals, opens and signs in one repository. Safe for many threads."""

    def __init__(self, master: bytes) -> None:
        self._ids, self._nonces = derived(master, b"amas backup ids"), derived(master, b"amas backup nonces")
        self._cipher = AESGCM(derived(master, b"amas backup content"))
        self._signer = Ed25519PrivateKey.from_private_bytes(derived(master, b"amas backup signatures"))

    def chunk_id(self, digest: bytes) -> bytes:
        """Return the id of a chunk by the SHA-256 of its content."""
        return hmac.digest(self._ids, digest, "sha256")

    def seal(self, content: bytes, name: str) -> bytes:
        """Return the blob to store under `name`."""
        packed = zlib.compress(content, LEVEL)
        packed = _ZLIB + packed if len(packed) < WORTH * len(content) else _PLAIN + content
        nonce = hmac.digest(self._nonces, sha256(name.encode() + packed).digest(), "sha256")[:NONCE_BYTES]
        return _FORMAT + nonce + self._cipher.encrypt(nonce, packed, name.encode())

    def open(self, blob: bytes, name: str) -> bytes:
        """Return what was sealed; Tampered when the blob is torn, altered, or was stored under another name."""
        if blob[:1] != _FORMAT:
            raise Tampered
        nonce, body = blob[1 : 1 + NONCE_BYTES], blob[1 + NONCE_BYTES :]
        try:
            packed = self._cipher.decrypt(nonce, body, name.encode())
            return zlib.decompress(packed[1:]) if packed[:1] == _ZLIB else packed[1:]
        except (InvalidTag, ValueError, zlib.error) as error:
            raise Tampered from error

    def sign(self, sealed: bytes, name: str) -> bytes:
        """Return the signature of a manifest's sealed bytes."""
        return self._signer.sign(name.encode() + b"\0" + sealed)

    def check(self, signature: bytes, sealed: bytes, name: str) -> None:
        """Return when the signature is ours; Tampered when it isn't."""
        try:
            self._signer.public_key().verify(signature, name.encode() + b"\0" + sealed)
        except InvalidSignature as error:
            raise Tampered from error
