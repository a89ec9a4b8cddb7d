"""API keys and browsers' sessions of one cell, as the engine keeps them (`functions/62_access.lua`): digests, never secrets."""

from functools import lru_cache

import msgspec

from amas.clock import now_ms
from amas.engine.connection import Engine
from amas.errors import AccessError, KeyUnknown
from amas.model.access import ApiKey, WebSession, digest_of

KEYS_MAX = 10_000
"""As many as the engine keeps."""

_key = lru_cache(KEYS_MAX)(msgspec.msgpack.Decoder(ApiKey).decode)
"""A key stays as it was made, and all are read anew every moment: decoding ten thousand takes longer than others want to wait."""
_session = msgspec.msgpack.Decoder(WebSession)
_encode = msgspec.msgpack.encode


class ApiKeys:
    """Every key that was ever made; revoked ones stay, so that nobody takes their names for free."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def all(self) -> dict[str, ApiKey]:
        """Return the keys by their prefixes."""
        kept, revoked = await self._engine.read(
            [("HGETALL", self._engine.key("keys")), ("HGETALL", self._engine.key("keys", "revoked"))]
        )
        found = {key.prefix: key for key in map(_key, kept.values())}
        for prefix, at_ms in revoked.items():
            if (key := found.get(prefix.decode())) is not None:
                found[key.prefix] = msgspec.structs.replace(key, revoked_ms=int(at_ms))
        return found

    async def add(self, key: ApiKey) -> None:
        """Keep a new key; AccessError where there are too many."""
        kept = await self._engine.call("key_add", key.prefix, _encode(key))
        if kept != 1:
            raise AccessError("10,000 API keys were made in this cell, and it keeps no more")

    async def revoke(self, prefix: str) -> None:
        """Let a key open nothing from now on; KeyUnknown where there is none of this prefix."""
        if not await self._engine.call("key_revoke", prefix, now_ms()):
            raise KeyUnknown(f"there is no API key {prefix!r}: `amas keys list` shows their prefixes")


class WebSessions:
    """Browsers, and people's commands, that have signed in: by what they show."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def open(self, secret: str, session: WebSession, *, lasts_s: float) -> None:
        """Keep a session under a secret for so many seconds."""
        await self._engine.call("web_open", digest_of(secret).hex(), _encode(session), round(lasts_s * 1000))

    async def get(self, digest: str) -> WebSession | None:
        """Return the session of a secret by its digest; None when it is over or never was."""
        (found,) = await self._engine.read([("GET", self._engine.key("web", digest))])
        return _session.decode(found) if found else None

    async def close(self, digest: str) -> None:
        """End the session of a secret by its digest."""
        await self._engine.call("web_close", digest)
