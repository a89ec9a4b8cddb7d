"""An RDB file, read just so far that each key's entry is known: where it begins and ends, and whose it is.

A server writes its keys in the order of a hash table, so two snapshots of nearly the same keys differ all over. `entries` lets
who keeps snapshots put them in an order of their own (`backup/arranging.py`): a server loads them in any. What a value means is
never looked at. A kind of entry that isn't known here is `RdbUnknown`, and such a file is to be taken as it is.
Source: `rdb.h` and `rdbLoadRio` of Valkey 8 (https://github.com/valkey-io/valkey/blob/8.1/src/rdb.c)
"""

from collections.abc import Callable, Iterator
from mmap import mmap
from typing import NamedTuple

Data = bytes | mmap
_MAGIC_BYTES = 9  # REDIS or VALKEY, and a version, together
_MILLISECONDS, _SECONDS, _FREQUENCY, _IDLE = 0xFC, 0xFD, 0xF9, 0xF8
_AUX, _FUNCTION, _SELECT, _RESIZE, _END = 0xFA, 0xF5, 0xFE, 0xFB, 0xFF
END = bytes((_END,)) + bytes(8)
"""How a file ends whose checksum isn't to be looked at: ours are kept under keyed hashes."""


class RdbUnknown(ValueError):
    """The file has a kind of entry that isn't known: take it as it is."""


class Entry(NamedTuple):
    """A piece of the file: a key with its value and times, or what stands outside of all keys."""

    key: bytes | None
    """None: it isn't a key's, and its place among such pieces counts: what comes before the keys of a database selects it."""
    start: int
    end: int


def entries(data: Data) -> Iterator[Entry]:
    """Yield the pieces of an RDB file in its order, all but its end; RdbUnknown when it isn't known how to read it."""
    try:
        yield from _entries(data)
    except IndexError as error:
        raise RdbUnknown("the snapshot ends before it should") from error


def _entries(data: Data) -> Iterator[Entry]:
    if data[:5] not in (b"REDIS", b"VALKE"):
        raise RdbUnknown("the snapshot is no RDB file")
    start = at = _MAGIC_BYTES
    yield Entry(None, 0, at)
    while (kind := data[at]) != _END:
        if kind in _TIMES:
            at += 1 + _TIMES[kind]
        elif kind == _IDLE:
            at = _number(data, at + 1)[1]
        elif kind in _OUTSIDE:
            at = _OUTSIDE[kind](data, at + 1)
            yield Entry(None, start, at)
            start = at
        elif kind in _VALUES:
            begin, size = _span(data, at + 1)
            at = _VALUES[kind](data, begin + size)
            yield Entry(data[begin : begin + size], start, at)
            start = at
        else:
            raise RdbUnknown(f"the snapshot has an entry of a kind that isn't known, {kind}")


_TIMES = {_MILLISECONDS: 8, _SECONDS: 4, _FREQUENCY: 1}
"""Bytes of what may stand before a key."""


def _number(data: Data, at: int) -> tuple[int, int]:
    """Return a length, and where it ends."""
    first = data[at]
    if first < 0x40:
        return first, at + 1
    if first < 0x80:
        return (first & 0x3F) << 8 | data[at + 1], at + 2
    if first == 0x80:
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    if first == 0x81:
        return int.from_bytes(data[at + 1 : at + 9], "big"), at + 9
    raise RdbUnknown(f"the snapshot has a length of a kind that isn't known, {first}")


def _string(data: Data, at: int) -> int:
    """Return where a string ends: as it is, as a number, or compressed."""
    first = data[at]
    if first < 0x40:
        return at + 1 + first
    if first < 0xC0:
        size, at = _number(data, at)
        return at + size
    if first in _INTEGERS:
        return at + _INTEGERS[first]
    if first == 0xC3:  # compressed: its size so, and its own
        size, at = _number(data, at + 1)
        return _number(data, at)[1] + size
    raise RdbUnknown(f"the snapshot has a string of a kind that isn't known, {first}")


_INTEGERS = {0xC0: 2, 0xC1: 3, 0xC2: 5}


def _span(data: Data, at: int) -> tuple[int, int]:
    """Return where a key begins and how long it is; one that is a number or compressed is taken as it stands."""
    if data[at] < 0xC0:
        size, at = _number(data, at)
        return at, size
    return at, _string(data, at) - at


def _strings(each: int) -> Callable[[Data, int], int]:
    """Make what passes over a collection of strings, so many for each of its members."""

    def end(data: Data, at: int) -> int:
        count, at = _number(data, at)
        for _ in range(count * each):
            at = _string(data, at)
        return at

    return end


def _scored(data: Data, at: int) -> int:
    count, at = _number(data, at)
    for _ in range(count):
        at = _string(data, at) + 8
    return at


def _nodes(data: Data, at: int) -> int:
    """Pass over a list: its nodes are packed, or a single member each."""
    count, at = _number(data, at)
    for _ in range(count):
        at = _string(data, _number(data, at)[1])
    return at


def _stream(*, totals: int, seen: int) -> Callable[[Data, int], int]:
    """Make what passes over a stream, as a version of the format has it.

    `totals`: numbers after the last id. `seen`: bytes of a consumer's times.
    """

    def end(data: Data, at: int) -> int:
        count, at = _number(data, at)
        for _ in range(2 * count):
            at = _string(data, at)
        for _ in range(3 + totals):
            at = _number(data, at)[1]
        groups, at = _number(data, at)
        for _ in range(groups):
            at = _group(data, at, numbers=3 if totals else 2, seen=seen)
        return at

    return end


def _group(data: Data, at: int, *, numbers: int, seen: int) -> int:
    at = _string(data, at)
    for _ in range(numbers):
        at = _number(data, at)[1]
    pending, at = _number(data, at)
    for _ in range(pending):
        at = _number(data, at + 16 + 8)[1]
    consumers, at = _number(data, at)
    for _ in range(consumers):
        pending, at = _number(data, _string(data, at) + seen)
        at += 16 * pending
    return at


def _numbers(count: int) -> Callable[[Data, int], int]:
    def end(data: Data, at: int) -> int:
        for _ in range(count):
            at = _number(data, at)[1]
        return at

    return end


_OUTSIDE: dict[int, Callable[[Data, int], int]] = {
    _AUX: lambda data, at: _string(data, _string(data, at)),
    _FUNCTION: _string,
    _SELECT: _numbers(1),
    _RESIZE: _numbers(2),
}
_VALUES: dict[int, Callable[[Data, int], int]] = {
    0: _string,
    1: _strings(1),  # list
    2: _strings(1),  # set
    4: _strings(2),  # hash
    5: _scored,
    **dict.fromkeys((9, 10, 11, 12, 13, 16, 17, 20), _string),  # collections that are packed into one string
    14: _strings(1),  # list of packed nodes
    15: _stream(totals=0, seen=8),
    18: _nodes,
    19: _stream(totals=5, seen=8),
    21: _stream(totals=5, seen=16),
}
"""By the kind of a value, what returns where it ends."""
