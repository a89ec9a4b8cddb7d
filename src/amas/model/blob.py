"""Values that the engine carries without reading them: msgpack inside msgpack.

The server's msgpack reader knows no binary type, so a value travels as a string whose bytes are msgpack. `msgspec.Raw` holds it
with its five-byte header (0xdb and a big-endian length), ready to stand in a batch; the functions see and return the bare bytes.
"""

from struct import Struct

import msgspec

Blob = msgspec.Raw

_HEADER = 5
_header = Struct(">BI").pack
_encode = msgspec.msgpack.Encoder().encode


def to_blob(value: object) -> Blob:
    """Return `value` encoded and wrapped; TypeError where it can't be."""
    return wrap(_encode(value))


def wrap(encoded: bytes) -> Blob:
    """Return encoded bytes with the header."""
    return msgspec.Raw(_header(0xDB, len(encoded)) + encoded)


def unwrap(blob: Blob) -> bytes:
    """Return the encoded bytes without the header."""
    return bytes(blob)[_HEADER:]


def blob_bytes(blob: Blob) -> int:
    """Return the length of the encoded value."""
    return memoryview(blob).nbytes - _HEADER
