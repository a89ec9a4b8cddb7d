"""Which keys a cell's payloads are sealed with, and by whom: a process that lacks one of them is told before it takes any work,
and a key isn't given up while a process that lives still seals with it.
"""

import asyncio
from contextlib import suppress

from amas.engine.connection import Engine
from amas.errors import EngineError, SealKeyMissing
from amas.sealing import Seal

EVERY_S = 10.0
"""Between a process's words that it is there."""
KNOWN_S = 30.0
"""A process that was killed counts for so long; two of its words may be lost."""
GOODBYE_S = 2.0
"""For the last word; without it the process is known for `KNOWN_S` longer, no more."""


class SealKeys:
    """The keys of one cell, by their ids (`functions/64_seal.lua`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def agree(self, seal: Seal | None) -> None:
        """Tell of this process's keys; SealKeyMissing where it lacks one with which payloads are sealed, or has none at all."""
        ids = seal.key_ids if seal else ()
        missing = await self._engine.call("seal_agree", self._engine.now_ms(), ids[0] if ids else "", *ids)
        if missing:
            raise SealKeyMissing(missing.decode())

    async def stay(self, seal: Seal | None, who: str) -> None:
        """Say again and again that the process `who` seals, until cancelled; returns at once where it doesn't."""
        if seal is None:
            return
        try:
            while True:
                with suppress(EngineError):  # the next word may arrive
                    await self.tell(seal, who)
                await asyncio.sleep(EVERY_S)
        finally:
            with suppress(EngineError, TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._engine.call("seal_gone", who)

    async def tell(self, seal: Seal, who: str) -> None:
        """Say once that the process `who` seals, for the next `KNOWN_S` seconds; a key that was retired is needed again."""
        await self._engine.call("seal_here", self._engine.now_ms(), round(KNOWN_S * 1000), who, seal.key_ids[0])

    async def users(self) -> dict[str, str]:
        """Return with which key each host and control plane seals, as far as it said so in the last `KNOWN_S` seconds."""
        told = await self._engine.call("seal_users", self._engine.now_ms())
        return {told[i].decode(): told[i + 1].decode() for i in range(0, len(told), 2)}

    async def since(self) -> dict[str, int]:
        """Return since when (ms) payloads were sealed with each key that is still needed."""
        (held,) = await self._engine.read([("HGETALL", self._engine.key("seal"))])
        return {key_id.decode(): int(at_ms) for key_id, at_ms in held.items()}

    async def retire(self, key_id: str) -> None:
        """Forget a key with which nothing is sealed any more."""
        await self._engine.call("seal_retire", key_id)
