"""All agents in one byte each, for the page's map: 30,000 of them are 30 KB, less than 1 KB as it travels when most are idle.

    4 bytes   length of the head, little-endian
    head      JSON: {"pools": [{"name", "title", "family", "layer", "spans": [[first, last], ...]}, ...]}
    a byte    for each agent, in the order of pools, spans and numbers: its place in `CODES`

The head costs the pools and the bytes cost what doesn't idle. One that is `FRESH_S` old is built again, whoever asks.
"""

import struct
import zlib
from collections.abc import Iterable
from hashlib import blake2b
from itertools import accumulate
from typing import NamedTuple

import msgspec

from amas.clock import monotonic_s
from amas.engine.roster import Roster, Span
from amas.model.numbers import named
from amas.model.states import AgentStatus
from amas.server.agents import AgentBoard

FRESH_S = 1.0
CODES = (AgentStatus.IDLE, AgentStatus.WORKING, AgentStatus.ERROR, AgentStatus.HEALING)
_CODE = {status: code for code, status in enumerate(CODES)}
_IDLE, _HEALING = bytes([_CODE[AgentStatus.IDLE]]), bytes([_CODE[AgentStatus.HEALING]])


class Drawn(NamedTuple):
    """The map at one time."""

    body: bytes
    packed: bytes
    """The same in gzip's format."""
    etag: str


class FleetMap:
    """The map of one control plane's fleet."""

    def __init__(self, board: AgentBoard) -> None:
        self._board = board
        self._drawn = Drawn(b"", b"", "")
        self._drawn_at = float("-inf")

    async def now(self) -> Drawn:
        """Return the map as it was at most `FRESH_S` and a look at the hosts ago."""
        if monotonic_s() - self._drawn_at > FRESH_S:
            body = draw(await self._board.roster())
            etag = f'"{blake2b(body, digest_size=9).hexdigest()}"'
            if etag != self._drawn.etag:
                self._drawn = Drawn(body, zlib.compress(body, level=1, wbits=31), etag)
            self._drawn_at = monotonic_s()
        return self._drawn


def draw(roster: Roster) -> bytes:
    """Return the map of a roster."""
    head = msgspec.json.encode({"pools": [_pool(name, spans) for name, spans in roster.spans.items()]})
    sizes = {name: sum(span.last - span.first + 1 for span in spans) for name, spans in roster.spans.items()}
    begins = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
    codes = bytearray(b"".join(_quiet(span) for spans in roster.spans.values() for span in spans))
    for agent_id, status in roster.unlike_their_hosts():
        pool, number = named(agent_id)
        codes[begins[pool] + _place(roster.spans[pool], number)] = _CODE[status]
    return struct.pack("<I", len(head)) + head + codes


def _pool(name: str, spans: Iterable[Span]) -> dict[str, object]:
    card = next(iter(spans)).card
    return {
        "name": name,
        "title": card.title,
        "family": card.labels.get("family", ""),
        "layer": card.layer,
        "spans": [(span.first, span.last) for span in spans],
    }


def _quiet(span: Span) -> bytes:
    return (_HEALING if span.silent else _IDLE) * (span.last - span.first + 1)


def _place(spans: Iterable[Span], number: int) -> int:
    """Return how many agents of a pool stand before its agent `number`."""
    return sum(min(number - 1, span.last) - span.first + 1 for span in spans if span.first < number)
