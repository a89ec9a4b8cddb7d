"""The words that may stand where a body has one that isn't taken: msgspec names the wrong one alone."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from amas.model.meant import did_you_mean

_WRONG = re.compile(r"^Invalid enum value '(?P<word>.*)'$", re.DOTALL)


def told(detail: str, shape: Any, place: Sequence[str]) -> str:
    """Return msgspec's complaint about a word with the words that are taken there; any other as it is.

    `shape`: what the body was read as. `place`: the fields and indices that lead to the word.
    """
    wrong = _WRONG.match(detail)
    words = list(_words(_at(msgspec.inspect.type_info(shape), place))) if wrong else []
    if not wrong or not words:
        return detail
    return f"{wrong['word']!r} is none of {', '.join(words)}{did_you_mean(wrong['word'], words)}"


def _at(kind: Any, place: Sequence[str]) -> Any:
    """Return the type at a place; None where that can't be told, as below a union of several structs."""
    for part in place:
        within = [one for one in _alternatives(kind) if isinstance(one, _HOLDERS)]
        if len(within) != 1:
            return None
        (holder,) = within
        if isinstance(holder, msgspec.inspect.StructType):
            kind = next((field.type for field in holder.fields if field.encode_name == part), None)
        else:
            kind = holder.value_type if isinstance(holder, msgspec.inspect.DictType) else holder.item_type
    return kind


_HOLDERS = (
    msgspec.inspect.StructType, msgspec.inspect.DictType, msgspec.inspect.ListType, msgspec.inspect.VarTupleType,
)  # fmt: skip


def _words(kind: Any) -> Iterator[str]:
    for one in _alternatives(kind):
        if isinstance(one, msgspec.inspect.EnumType):
            yield from (str(each.value) for each in one.cls)
        elif isinstance(one, msgspec.inspect.LiteralType):
            yield from map(str, one.values)


def _alternatives(kind: Any) -> Sequence[Any]:
    return kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
