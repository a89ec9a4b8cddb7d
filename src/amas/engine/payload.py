"""Values on their way into the engine: encoded once, measured, refused where they are too large for it.

What is over `INLINE_BYTES_MAX` belongs into the artifact store (`artifacts/values.py`); here it is only found out, at the cost of
one comparison, so that small values pay nothing for the large ones.
"""

from collections.abc import Awaitable, Callable

import msgspec

from amas.errors import PayloadTooLarge, SubmissionError
from amas.model.blob import Blob, wrap
from amas.model.task import Json, TaskSpec

INLINE_BYTES_MAX = 64 << 10
"""An input or a result up to here travels through the engine, the journal and the records; at 64 KiB a file is cheaper than
four copies in memory and logs."""
SPEC_BYTES_MAX = 4 << 20
"""What a task says besides its input, above all the ids that it needs: about a hundred thousand."""

Carry = Callable[[Json, str], Awaitable[Json]]
"""Gives back what may travel in place of a value: the value where it is small, else a reference. `str` names it in errors."""

_encode = msgspec.msgpack.Encoder().encode


def encode_value(value: object, what: str) -> bytes:
    """Return `value` as msgpack; SubmissionError names `what` when it isn't a JSON value."""
    try:
        return _encode(value)
    except (TypeError, OverflowError, UnicodeEncodeError, msgspec.MsgspecError) as error:
        raise SubmissionError(f"{what} is not a JSON value: {error}") from error
    except RecursionError:  # its traceback is a thousand times the same line
        raise SubmissionError(f"{what} is nested too deeply, or holds itself") from None


def encode_payload(value: object, what: str) -> Blob:
    """Return `value` ready to be carried; PayloadTooLarge names `what` when it must go to the artifact store instead."""
    encoded = encode_value(value, what)
    if len(encoded) > INLINE_BYTES_MAX:
        raise too_large_for_engine(what, len(encoded))
    return wrap(encoded)


async def only_small(value: Json, what: str) -> Json:
    """Carry nothing that is too large: PayloadTooLarge says so. For those who know no artifact store."""
    encode_payload(value, what)
    return value


def encode_spec(spec: TaskSpec, what: str) -> Blob:
    """Return a task's spec ready to be carried; PayloadTooLarge when its input must go to the artifact store instead."""
    encoded = encode_value(spec, what)
    if (size := len(encoded)) > INLINE_BYTES_MAX:
        input_bytes = len(encode_value(spec.input, what))
        if input_bytes > INLINE_BYTES_MAX:
            raise too_large_for_engine(f"the input of {what}", input_bytes)
        if size > SPEC_BYTES_MAX:
            raise PayloadTooLarge(
                f"{what} is {size} bytes without its input, and at most {SPEC_BYTES_MAX} fit: let it need fewer tasks"
            )
    return wrap(encoded)


def too_large_for_engine(what: str, size: int) -> PayloadTooLarge:
    """Return the error for a value that only an artifact store can carry, where none is known."""
    return PayloadTooLarge(
        f"{what} is {size} bytes; more than {INLINE_BYTES_MAX} go to the artifact store, and none is known here: "
        "set AMAS_ARTIFACTS_URL to the fleet's, or connect with artifacts_url="
    )
