"""What the engine keeps of tools: calls that limits count, what was refused, and what MCP servers said of theirs at first;
see `functions/85_policies.lua`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK
from amas.engine.connection import Engine
from amas.model.policy import CallLimit, Refusal

_refusal = msgspec.msgpack.Decoder(Refusal)


class Take(NamedTuple):
    """One call from one rule's limit."""

    rule: str
    limit: CallLimit
    whom: str
    """Whose calls these are: an agent's, pool's or tenant's; empty for the fleet's."""

    @property
    def name(self) -> str:
        """What the engine calls it: another stretch of time is another limit, which begins empty."""
        return f"{self.rule} {self.limit.each}:{self.whom} {self.per_ms}"

    @property
    def per_ms(self) -> int:
        """The stretch of time."""
        return round(self.limit.per_s * 1000)


class Taken(NamedTuple):
    """What came of taking."""

    granted: bool
    limit: Take | None
    """Of the alternatives the one that was taken from; where it wasn't granted, one without room."""
    retry_after_s: float = 0.0


class ToolLedger:
    """That of one cell."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def take(self, every: Sequence[Take], one_of: Sequence[Take], *, now_ms: int = SERVER_CLOCK) -> Taken:
        """Take a call from every limit of `every` and from the first of `one_of` that has room, or from none at all."""
        takes = [*every, *one_of]
        said = [part for take in takes for part in (take.name, take.limit.calls, take.per_ms)]
        granted, place, *retry_ms = await self._engine.call("take_calls", now_ms, len(every), *said)
        limit = takes[place - 1] if place else None
        return Taken(bool(granted), limit, int(retry_ms[0]) / 1000 if retry_ms else 0.0)

    async def note(self, *, allowed: int, refused: int, refusals: Sequence[Refusal] = (), now_ms: int = SERVER_CLOCK) -> None:
        """Count calls that were allowed and refused, and keep these refusals, the oldest first."""
        await self._engine.call("note_calls", now_ms, allowed, refused, *map(msgspec.msgpack.encode, refusals))

    async def first_said(self, server: str, said: Mapping[str, str]) -> dict[str, str]:
        """Return the digests of a server's tools as they were when a host first asked; these where none did.

        `server`: by its name, and as it is declared.
        """
        return msgspec.msgpack.decode(
            await self._engine.call("first_said", server, msgspec.msgpack.encode(said)), type=dict[str, str]
        )

    async def refusals(self, *, limit: int = 100) -> list[Refusal]:
        """Return the latest refusals, the newest first; the engine keeps a thousand."""
        (found,) = await self._engine.read([("LRANGE", self._engine.key("refusals"), 0, limit - 1)])
        return [_refusal.decode(each) for each in found]
