"""Durable inboxes in the engine: send, receive, acknowledge; `functions/80_messages.lua` says what it keeps true of them.

An inbox belongs to an agent's id and not to its host, so an agent that moves keeps it. Bodies are bytes that nobody here reads.
Called by `orchestration/bus.py`, which signs them and decides who may send what.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Self, TypeVar

import msgspec

from amas.clock import SERVER_CLOCK
from amas.engine.connection import Engine
from amas.model.blob import wrap
from amas.settings import MessageSettings

_encode = msgspec.msgpack.Encoder().encode


class Fate(StrEnum):
    """What the engine did with a message."""

    TAKEN = "ok"
    SAME = "same"
    """It was there already: a repeat, which changed nothing."""
    REPLAYED = "replayed"
    """Its id is known, and its sender doesn't say that it repeats it."""
    STALE = "stale"
    """It was signed longer ago than a message may travel, or in the future: an old one, sent again."""
    EXPIRED = "expired"
    FULL = "full"


class Letter(msgspec.Struct, frozen=True, array_like=True):
    """A message as the engine takes it."""

    inbox: str
    id: str
    sender: str
    recipient: str
    priority: int
    sent_ms: int
    expires_ms: int
    body: msgspec.Raw

    @classmethod
    def of(cls, inbox: str, body: bytes, *, head: tuple[str, str, str], priority: int, times_ms: tuple[int, int]) -> Self:
        """Return a letter; `head`: id, sender, recipient; `times_ms`: when it was signed and when it expires."""
        return cls(inbox, *head, priority, *times_ms, wrap(body))


class Receipt(msgspec.Struct, frozen=True):
    """The engine's answer to one letter."""

    fate: Fate
    held: int
    """What its inbox holds now."""
    retry_ms: int
    """After how long to try a full inbox again; 0 otherwise."""


class Delivery(msgspec.Struct, frozen=True):
    """What a receiver got."""

    id: str
    deliveries: int
    body: bytes


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """A message that was refused, as the audit keeps it."""

    why: str
    """`forged`, `forbidden`, `replayed`, `stale` or `expired`."""
    message_id: str
    sender: str
    """As it was said to be."""
    recipient: str
    at_ms: int
    body: bytes = b""


class DeadMessage(msgspec.Struct, frozen=True, array_like=True):
    """A message that was handed out too often without a word."""

    inbox: str
    message_id: str
    deliveries: int
    at_ms: int
    body: bytes = b""


Listed = TypeVar("Listed", Refusal, DeadMessage)


class Inboxes:
    """The inboxes of one cell. Times are the engine's; `now_ms` is for tests."""

    def __init__(self, engine: Engine, settings: MessageSettings) -> None:
        self._engine, self._settings = engine, settings
        self._window_ms = round(settings.replay_window_s * 1000)

    async def send(self, letters: Sequence[Letter], *, resend: bool = False, now_ms: int = SERVER_CLOCK) -> list[Receipt]:
        """Put letters into their inboxes in one call; return what became of each.

        `resend`: this very call was made before and its answer got lost, so what is there already is no replay.
        """
        answers = await self._engine.call(
            "msg_send", now_ms, self._window_ms, self._settings.backlog_critical, "1" if resend else "", _encode(letters)
        )
        return [Receipt(Fate(fate.decode()), int(held), int(retry_ms)) for fate, held, retry_ms in answers]

    async def receive(
        self, receiver: str, inboxes: Sequence[str], *, limit: int, now_ms: int = SERVER_CLOCK
    ) -> list[list[Delivery]]:
        """Claim up to `limit` messages, at most a thousand, of each inbox for `receiver` and return them in the inboxes' order.

        What isn't acknowledged within AMAS_MESSAGE_CLAIM_S comes again. One that another receiver has claims in gives nothing.
        """
        answers = await self._engine.call(
            "msg_receive",
            now_ms,
            self._window_ms,
            receiver,
            round(self._settings.claim_s * 1000),
            self._settings.retries,
            limit,
            _encode(inboxes),
        )
        return [[Delivery(one.decode(), int(times), body) for one, times, body in answer] for answer in answers]

    async def acknowledge(
        self, receiver: str, inbox: str, message_ids: Sequence[str], *, now_ms: int = SERVER_CLOCK
    ) -> list[str]:
        """Drop up to a thousand messages that `receiver` has done with.

        Returns those that it may not speak for: gone, or another's now.
        """
        stale = await self._engine.call("msg_done", now_ms, self._window_ms, receiver, inbox, _encode(message_ids))
        return [one.decode() for one in stale]

    async def subscribe(self, agent_id: str, topic: str, *, wanted: bool = True) -> None:
        """Have an agent among those that hear of a topic, or not any more."""
        await self._engine.call("msg_topic", SERVER_CLOCK, topic, agent_id, "1" if wanted else "0")

    async def subscribers(self, topic: str) -> list[str]:
        """Return the agents that asked to hear of a topic, in the order of their names."""
        (found,) = await self._engine.read([("SMEMBERS", self._engine.key("mt", topic))])
        return sorted(agent_id.decode() for agent_id in found)

    async def refuse(self, why: str, refused: Iterable[tuple[str, str, str, bytes]], *, now_ms: int = SERVER_CLOCK) -> None:
        """Keep in the audit that messages (id, sender, recipient, body) were refused: `why` as in a `Refusal`."""
        entries = [(why, one, sender, recipient, wrap(body)) for one, sender, recipient, body in refused]
        await self._engine.call("msg_audit", now_ms, _encode(entries))

    async def refusals(self, *, limit: int = 100) -> list[Refusal]:
        """Return the latest refusals, the newest first; the engine keeps a thousand."""
        return await self._listed("maudit", Refusal, limit)

    async def dead(self, *, limit: int = 100) -> list[DeadMessage]:
        """Return the latest messages that were handed out too often, the newest first; the engine keeps a thousand."""
        return await self._listed("mdead", DeadMessage, limit)

    async def _listed(self, name: str, kind: type[Listed], limit: int) -> list[Listed]:
        (items,) = await self._engine.read([("LRANGE", self._engine.key(name), 0, limit - 1)])
        return [_item(item, kind) for item in items]

    async def backlog(self, *, now_ms: int = SERVER_CLOCK) -> dict[str, int]:
        """Return how many messages each inbox holds, handed out or not; empty ones are left out."""
        found = await self._engine.call("msg_backlog", now_ms)
        return {found[at].decode(): int(found[at + 1]) for at in range(0, len(found), 2)}

    async def totals(self) -> dict[str, int]:
        """Return what was counted, ever: sent, delivered, redelivered, acknowledged, expired, dead, refused_*."""
        (found,) = await self._engine.read([("HGETALL", self._engine.key("mtotals"))])
        return {name.decode(): int(count) for name, count in found.items()}


def _item(item: bytes, kind: type[Listed]) -> Listed:
    """Return an item of the audit or of the dead: four bytes of its head's length, the head, the body."""
    end = 4 + int.from_bytes(item[:4], "big")
    head = msgspec.msgpack.decode(item[4:end], type=kind)
    return msgspec.structs.replace(head, body=item[end:])
