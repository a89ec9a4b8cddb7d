"""The fleet's figures, looked up once a second for all who watch and encoded once, and not at all while nobody does.

A listener takes the newest frame there is. One that is slow to read misses those in between, so that nothing piles up for it:
figures are of now, and an old one is worth nothing.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from amas.clock import monotonic_s, now_ms
from amas.errors import AmasError
from amas.server.events import HEARTBEAT
from amas.server.shapes import FleetFigures

EVERY_S = 1.0
"""Between looks: what people can follow, and what a dashboard of a quiet fleet can afford."""
HEARTBEAT_S = 15.0
"""Proxies cut silent connections after 30 to 60 s."""
LISTENERS_MAX = 2000
"""Twice what one control plane is measured with; each takes a socket and some 100 KB."""
AGAIN = b"retry: 2000\n\n"
"""Milliseconds until a browser whose connection broke comes again."""

_to_json = msgspec.json.Encoder().encode


class Frame(msgspec.Struct, frozen=True):
    """What all listeners get."""

    id: str
    """Empty for none yet."""
    data: bytes


NONE_YET = Frame("", b"")


def frame_of(event: str, data: bytes, *, at_ms: int) -> Frame:
    """Return a server-sent event whose id is its time."""
    return Frame(str(at_ms), b"event: %s\nid: %d\ndata: %s\n\n" % (event.encode(), at_ms, data))


class Feed:
    """The newest figures, for as many listeners as there are."""

    def __init__(self) -> None:
        self._frame, self._told = NONE_YET, b""
        self._looked_s = float("-inf")
        """When the last look began."""
        self._turn = asyncio.Event()
        self._wanted = asyncio.Event()
        self._over = False
        self.listeners = 0

    async def run(self, look: Callable[[], Awaitable[FleetFigures]]) -> None:
        """Look once a second while somebody listens, until cancelled."""
        silent_since = monotonic_s()
        while True:
            await self._wanted.wait()
            began = monotonic_s()
            if await self._looked(look) or began - silent_since >= HEARTBEAT_S:
                silent_since = began
                turn, self._turn = self._turn, asyncio.Event()
                turn.set()
            await asyncio.sleep(max(0.0, EVERY_S - (monotonic_s() - began)))

    def close(self) -> None:
        """End every stream; browsers come again by themselves."""
        self._over = True
        self._turn.set()

    async def stream(self, last_id: str = "") -> AsyncIterator[bytes]:
        """Yield server-sent bytes until this server stops; a reader who has the newest frame already gets the one after."""
        if not self.listeners and monotonic_s() - self._looked_s > EVERY_S:
            self._frame, self._told = NONE_YET, b""  # of whenever somebody listened last: who comes now waits for a look
        self.listeners += 1
        self._wanted.set()
        try:
            yield AGAIN
            while not self._over:
                turn = self._turn  # before the look at the frame, so that none in between is missed
                if self._frame.id not in ("", last_id):
                    last_id = self._frame.id
                    yield self._frame.data
                    continue
                await turn.wait()
                if self._frame.id in ("", last_id) and not self._over:
                    yield HEARTBEAT
        finally:
            self.listeners -= 1
            if not self.listeners:
                self._wanted.clear()

    async def _looked(self, look: Callable[[], Awaitable[FleetFigures]]) -> bool:
        """Take the figures, or why there are none; return whether that is news."""
        try:
            self._looked_s = monotonic_s()
            event, data = "figures", _to_json(await look())
        except AmasError as error:
            event, data = "away", _to_json({"code": error.code, "detail": str(error)})
        if data == self._told:
            return False
        at_ms = max(now_ms(), int(self._frame.id or 0) + 1)  # or who has the last frame would take this one for the same
        self._told, self._frame = data, frame_of(event, data, at_ms=at_ms)
        return True
