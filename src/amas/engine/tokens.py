"""Agents' tokens in the engine: what hosts ask for, what control planes answer, which keys sign, and what was revoked
(`functions/64_tokens.lua`). No secret is kept there: private keys stay in homes, and tokens are sealed for whoever asked.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK
from amas.engine.connection import Engine
from amas.engine.hosts import HostAbout
from amas.model.token import SigningKey, TokenAnswer, TokenAsk, names_of

CHANNEL = "tokens"
"""Rung when a host asks, for a `Bell`."""

_encode = msgspec.msgpack.encode
_ask = msgspec.msgpack.Decoder(TokenAsk)
_answer = msgspec.msgpack.Decoder(TokenAnswer)
_key = msgspec.msgpack.Decoder(SigningKey)
_about = msgspec.msgpack.Decoder(HostAbout)


class Standing(NamedTuple):
    """What the engine knows of a host and an agent when a token is asked for."""

    about: HostAbout | None
    """What the host says of itself; None where it holds no lease."""
    runs: str
    """The agent whom the host has at the task that was named; empty where nobody is."""
    stopped: bool
    """Whether the agent is killed or in quarantine."""
    epoch: int


class AgentTokens:
    """The tokens' part of one cell."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def now_ms(self) -> int:
        """Return the engine's time, by which tokens are made."""
        return self._engine.now_ms()

    # -- hosts

    async def ask(self, ask: TokenAsk) -> str:
        """Ask the control planes for a token; return why that can't be, "" where it was asked."""
        taken = await self._engine.call("token_ask", SERVER_CLOCK, ask.host_id, _encode(ask))
        return {1: "", 0: f"{ask.host_id} holds no lease"}.get(taken, "too many tokens are asked for that no control plane signs")

    async def fetch(self, ask_id: str) -> TokenAnswer | None:
        """Return what was answered, which is forgotten then; None while nothing was."""
        blob = await self._engine.call("token_fetch", SERVER_CLOCK, ask_id)
        return _answer.decode(blob) if blob else None

    async def epoch(self, agent_id: str) -> int:
        """Return how often tokens of an agent, its pool or all were revoked."""
        (counts,) = await self._engine.read([("HMGET", self._engine.key("tokens:epochs"), *names_of(agent_id))])
        return _epoch(counts)

    # -- control planes

    async def take(self, limit: int) -> list[TokenAsk]:
        """Return what hosts ask for, but for what can't be read; nobody else gets it."""
        asked = []
        for blob in await self._engine.call("token_take", SERVER_CLOCK, limit):
            with suppress(msgspec.MsgspecError):
                asked.append(_ask.decode(blob))
        return asked

    async def answer(self, ask_id: str, answer: TokenAnswer) -> None:
        """Answer a host."""
        await self._engine.call("token_answer", SERVER_CLOCK, ask_id, _encode(answer))

    async def standing(self, host_id: str, agent_id: str, task_id: str) -> Standing:
        """Return what is known of an agent and the host that asks for its token."""
        key, names = self._engine.key, names_of(agent_id)
        lease, about, runs, counts, killed, quarantined = await self._engine.read(
            [
                ("ZSCORE", key("hosts"), host_id),
                ("HGET", key("h", host_id), "about"),
                ("HGET", key("r", host_id), task_id),
                ("HMGET", key("tokens:epochs"), *names),
                ("SMISMEMBER", key("killed"), *names),
                ("HEXISTS", key("desired"), f"quarantine:{agent_id}"),
            ]
        )
        holds = lease is not None and about is not None and float(lease) > self._engine.now_ms()
        stopped = any(killed) or bool(quarantined)
        return Standing(_about.decode(about) if holds else None, (runs or b"").decode(), stopped, _epoch(counts))

    async def keys_and_epoch(self, agent_id: str) -> tuple[list[SigningKey], int]:
        """Return what a token of an agent is checked against, as it is at this moment."""
        commands = [*self._key_commands(), ("HMGET", self._engine.key("tokens:epochs"), *names_of(agent_id))]
        kept, until, ended, counts = await self._engine.read(commands)
        return _keys(kept, until, ended), _epoch(counts)

    async def keys(self) -> list[SigningKey]:
        """Return the keys that sign or have signed."""
        return _keys(*await self._engine.read(self._key_commands()))

    async def add_key(self, key: SigningKey, *, over: Iterable[str] = ()) -> None:
        """Publish a key, and forget those of `over`, by their kids."""
        await self._engine.call("signing_add", SERVER_CLOCK, key.kid, _encode(key), *over)

    async def end_keys(self, until_ms: int, *, at_once: bool) -> None:
        """Let the keys that there are sign until then and no longer; `at_once`: what they have signed counts no more, either."""
        await self._engine.call("signing_end", SERVER_CLOCK, until_ms, "1" if at_once else "")

    async def revoke(self, name: str) -> int:
        """Let no token count any more that an agent, a pool or (`*`) all have, and return the epoch that begins."""
        return int(await self._engine.call("token_revoke", SERVER_CLOCK, name))

    def _key_commands(self) -> list[tuple[str, ...]]:
        return [("HGETALL", self._engine.key("signing", *more)) for more in ((), ("until",), ("ended",))]


def _epoch(counts: Iterable[bytes | None]) -> int:
    return sum(int(count or 0) for count in counts)


def _keys(kept: dict[bytes, bytes], until: dict[bytes, bytes], ended: dict[bytes, bytes]) -> list[SigningKey]:
    return [
        msgspec.structs.replace(
            key, signs_until_ms=min(key.signs_until_ms, int(until.get(kid, key.signs_until_ms))), ended_ms=int(ended.get(kid, 0))
        )
        for kid, key in ((kid, _key.decode(blob)) for kid, blob in kept.items())
    ]
