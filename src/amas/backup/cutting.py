"""Cutting a stream of bytes into chunks at places that its content names, so that what is unchanged is in the same chunks again.

A cut goes before every id whose last byte is zero: of the ids that stand in an engine's snapshot that is every 256th. An
insertion moves the bytes behind it, but not the places of the cuts among them.
"""

import re
from collections.abc import Iterator

LEAST, MOST = 32 << 10, 2 << 20
"""Bytes of a chunk: smaller ones cost more in names than they save, larger ones are stored again for a few bytes' change."""

_CUT = re.compile(rb"-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{10}00")


class Cutter:
    """Takes pieces of any size and gives chunks."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the chunks that are complete with this piece."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size < 2 * MOST:  # joining them for each piece would copy all of it each time
            return
        held, start = b"".join(self._pieces), 0
        while len(held) - start > MOST:
            found = _CUT.search(held, start + LEAST, start + MOST)
            end = found.start() if found else start + MOST
            yield held[start:end]
            start = end
        self._pieces, self._size = [held[start:]], len(held) - start

    def end(self) -> Iterator[bytes]:
        """Yield what is left."""
        held, start = b"".join(self._pieces), 0
        while start < len(held):
            found = _CUT.search(held, start + LEAST)
            end = found.start() if found else len(held)
            yield held[start:end]
            start = end
        self._pieces, self._size = [], 0
