"""References: what travels through the engine and the records in the place of a value that is too large for them.

A reference is a msgpack extension, which no JSON value can be: whatever a user sends, nothing of it is ever taken for one. It
stands for a whole input, a whole result or a whole step's result, never for a part of one. The value itself lies in the
artifact store under the digest of its msgpack.
"""

from typing import Annotated

import msgspec

from amas.errors import ArtifactMissing
from amas.model.task import Json
from amas.sealing import is_sealed, key_id_of

EXTENSION = 65
"""The extension's type; applications have 0 to 127."""
MEDIA_TYPE = "application/msgpack"

Extension = msgspec.msgpack.Ext


class Reference(msgspec.Struct, frozen=True, array_like=True):
    """Where a large value is."""

    artifact: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
    """The artifact store's name for it: the digest of its bytes."""
    size: int
    """Bytes."""
    media_type: str = MEDIA_TYPE


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reference).decode


def is_reference(value: Json) -> bool:
    """Return whether `value` stands for one that lies elsewhere, in the artifact store, or is sealed."""
    return type(value) is Extension


def to_extension(reference: Reference) -> Extension:
    """Return a reference as it travels."""
    return Extension(EXTENSION, _encode(reference))


def to_reference(value: Json) -> Reference:
    """Return the reference that `value` carries; ArtifactMissing when it carries none."""
    try:
        if value.code == EXTENSION:
            return _decode(value.data)
    except msgspec.MsgspecError:
        pass
    raise ArtifactMissing("a value refers to the artifact store in a form that isn't ours; whoever made it must submit it again")


def shown(value: Json) -> Json:
    """Return `value` as lists and details show it: a reference as an object with `artifact`, `bytes` and `media_type`.

    What is still sealed by now is shown by its key's id.
    """
    if not is_reference(value):
        return value
    if is_sealed(value):
        return {"sealed": key_id_of(value)}
    found = to_reference(value)
    return {"artifact": found.artifact, "bytes": found.size, "media_type": found.media_type}
