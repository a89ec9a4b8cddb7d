"""Snapshots of the engine put in order, so that what is unchanged since the last one is in the same chunks again.

Ids of tasks begin with their time: in the order of keys, what changed lately stands together, what ended long ago stays as it
was, and what has had its time goes from the beginning. Chunks are cut before keys that say so by their checksum, so an
insertion moves no other cut. A snapshot that can't be read is cut as it came (`cutting.py`), and so is every entry that is
larger than a chunk.
"""

import mmap
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from typing import IO
from zlib import crc32

from amas.backup.cutting import LEAST, MOST, Cutter
from amas.engine.rdb import END, Entry, RdbUnknown, entries

CUT = 0x3F
"""Every 64th key begins a chunk: of tasks, some 50 KiB."""
LARGE = 8 * LEAST
"""Bytes of an entry that is cut by itself, such as the journal."""


def arranged(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a snapshot as chunks that a server can load one after the other; it is the whole of a file on this machine."""
    with closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as data:
        try:
            found = list(entries(data))
        except RdbUnknown:
            yield from _cut(data, 0, len(data))
            return
        yield from _chunks(data, _in_order(found))


def _in_order(found: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries by key within their database; what isn't a key's stays before or behind the keys that it was."""
    for outside, group in groupby(found, key=lambda entry: entry.key is None):
        pieces = list(group)
        yield from pieces if outside else sorted(pieces, key=lambda entry: entry.key or b"")


def _chunks(data: mmap.mmap, ordered: Iterable[Entry]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for key, start, end in ordered:
        large = end - start > LARGE
        if held and (large or (size >= LEAST and key is not None and not crc32(key) & CUT) or size + end - start > MOST):
            yield b"".join(held)
            held, size = [], 0
        if large:
            yield from _cut(data, start, end)
        else:
            held.append(data[start:end])
            size += end - start
    yield b"".join([*held, END])


def _cut(data: mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    cutter = Cutter()
    for at in range(start, end, MOST):
        yield from cutter.feed(data[at : min(at + MOST, end)])
    yield from cutter.end()
