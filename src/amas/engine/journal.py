"""Reading the journal: the stream of every transition."""

from amas.engine.connection import Engine
from amas.model.journal import JournalEntry, decode

START = "0-0"

UNRECORDED_MAX = 100
"""Entries that `trim` looks at in one call, each with its batch of tasks."""


class Journal:
    """The journal of one cell."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._key = engine.key("journal")

    async def read(self, after: str, *, limit: int = 500, wait_ms: int = 0) -> list[JournalEntry]:
        """Return up to `limit` entries after an id, waiting at most `wait_ms` for the first (0: not at all)."""
        command: list[str | int] = ["XREAD", "COUNT", limit]
        if wait_ms:
            command += ["BLOCK", min(wait_ms, self._engine.wait_ms_max)]
        (answer,) = await self._engine.read([[*command, "STREAMS", self._key, after]])
        if not answer:
            return []
        ((_, entries),) = answer
        return [decode(entry_id, fields) for entry_id, fields in entries]

    async def last_id(self) -> str:
        """Return the id of the newest entry ever written, or `START`."""
        (info,) = await self._engine.read([("XREVRANGE", self._key, "+", "-", "COUNT", 1)])
        return info[0][0].decode() if info else START

    async def first_id(self) -> str:
        """Return the id of the oldest entry that is still there, or `START`."""
        (info,) = await self._engine.read([("XRANGE", self._key, "-", "+", "COUNT", 1)])
        return info[0][0].decode() if info else START

    async def length(self) -> int:
        """Return how many entries the engine holds."""
        (length,) = await self._engine.read([("XLEN", self._key)])
        return int(length)

    async def trim(self, recorded: str, *, keep: int) -> int:
        """Drop entries up to `recorded`, an id that the records hold, except for the newest `keep`, for live readers.

        Returns how many were dropped: none while many are still to be recorded.
        """
        return int(await self._engine.call("trim", recorded, keep, UNRECORDED_MAX))
