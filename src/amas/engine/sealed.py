"""Which keys a cell's payloads are sealed with: a process that lacks one of them is told before it takes any work."""

from amas.engine.connection import Engine
from amas.errors import SealKeyMissing
from amas.sealing import Seal


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

    async def since(self) -> dict[str, int]:
        """Return since when (ms) payloads were sealed with each key that is still needed."""
        (held,) = await self._engine.read([("HGETALL", self._engine.key("seal"))])
        return {key_id.decode(): int(at_ms) for key_id, at_ms in held.items()}

    async def retire(self, key_id: str) -> None:
        """Forget a key with which nothing is sealed any more."""
        await self._engine.call("seal_retire", key_id)
