"""Durable inboxes in the engine: send, receive, acknowledge; `functions/80_messages.lua` says what it keeps true of them.

An inbox belongs to an agent's id and not to its host, so an agent that moves keeps it. Bodies are bytes that nobody here reads.
Called by `messages/bus.py`, which signs them and decides who may send what.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from struct import Struct
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from amas.clock import SERVER_CLOCK
from amas.engine.connection import Engine
from amas.model.blob import Blob, wrap
from amas.settings import MessageSettings

RECEIVED_MAX = 1000
"""Messages that one call hands out: some milliseconds of the engine's time."""
ID_BYTES_MAX = 255
_HEAD = Struct(">dBBH")
"""Of an entry, as the functions have it: expires (ms), how often it was handed out before, priority, length of its id."""
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
    sender: str
    sent_ms: int
    entry: Blob

    @classmethod
    def of(cls, inbox: str, body: bytes, *, message_id: str, sender: str, priority: int, times_ms: tuple[int, int]) -> Self:
        """Return a letter; `times_ms`: when it was signed and when it expires. ValueError for an id of over 255 bytes."""
        name = message_id.encode()
        if len(name) > ID_BYTES_MAX:
            raise ValueError(f"a message's id has {len(name)} bytes, over {ID_BYTES_MAX}")
        sent_ms, expires_ms = times_ms
        return cls(inbox, sender, sent_ms, wrap(_HEAD.pack(expires_ms, 0, priority, len(name)) + name + body))


class Receipt(msgspec.Struct, frozen=True):
    """The engine's answer to one letter."""

    fate: Fate
    held: int = 0
    """What its inbox holds, where that took nothing."""
    retry_ms: int = 0
    """After how long to try a full inbox again; 0 otherwise."""


class Delivery(NamedTuple):
    """What a receiver got."""

    id: str
    deliveries: int
    body: bytes
    pushed: bool = False
    """It was pushed before, and this is the first claim since."""


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
_TAKEN = Receipt(Fate.TAKEN)


class Inboxes:
    """The inboxes of one cell. Times are the engine's; `now_ms` is for tests."""

    def __init__(self, engine: Engine, settings: MessageSettings) -> None:
        self._engine, self._settings = engine, settings
        self._window_ms, self._claim_ms = round(settings.replay_window_s * 1000), round(settings.claim_s * 1000)

    async def send(self, letters: Sequence[Letter], *, resend: bool = False, now_ms: int = SERVER_CLOCK) -> list[Receipt]:
        """Put letters into their inboxes in one call; return what became of each.

        `resend`: this very call was made before and its answer got lost, so what is there already is no replay.
        """
        critical, again, claim_ms = self._settings.backlog_critical, "1" if resend else "", self._claim_ms
        refused = await self._engine.call("msg_send", now_ms, self._window_ms, critical, again, _encode(letters), claim_ms)
        receipts = [_TAKEN] * len(letters)
        for at, fate, held, retry_ms in refused:
            receipts[at] = Receipt(Fate(fate.decode()), int(held), int(retry_ms))
        return receipts

    async def receive(
        self,
        receiver: str,
        wanted: Sequence[tuple[str, int]],
        *,
        most: int = RECEIVED_MAX,
        here: bool = False,
        now_ms: int = SERVER_CLOCK,
    ) -> list[list[Delivery] | None]:
        """Claim messages of inboxes for `receiver` in one call; return them in the order of `wanted`: (inbox, how many at most).

        None stands for an inbox that the call didn't come to before it had `most`: ask again. What isn't acknowledged within
        AMAS_MESSAGE_CLAIM_S comes again. An inbox that another receiver has claims in gives nothing; with `here`, neither does
        that of an agent that `listen` gave to another receiver.
        """
        answers = await self._engine.call(
            "msg_receive",
            now_ms,
            receiver,
            self._claim_ms,
            self._settings.retries,
            most,
            _encode(wanted),
            "1" if here else "",
        )
        return [_deliveries(answer) if isinstance(answer, list) else None for answer in answers]

    async def acknowledge(
        self, receiver: str, done: Sequence[tuple[str, Sequence[str]]], *, now_ms: int = SERVER_CLOCK
    ) -> list[list[str]]:
        """Drop messages that `receiver` has done with in one call; `done`: (inbox, ids of messages).

        Returns for each inbox those that it may not speak for: gone, or another's now.
        """
        stale: list[list[str]] = [[] for _ in done]
        for at, message_id in await self._engine.call("msg_done", now_ms, receiver, _encode(done)):
            stale[at].append(message_id.decode())
        return stale

    async def listen(
        self,
        receiver: str,
        agents: Sequence[str] = (),
        *,
        gone: Sequence[str] = (),
        reads: Sequence[str] = (),
        take: bool = True,
    ) -> None:
        """Have the bell `mail:<receiver>` rung for the mail of `agents`, and no more for that of those who are `gone`.

        `take`: they are here now, and what another receiver holds of their mail comes here at once; without it, only those whom
        no receiver has. `reads`: those whose mail is always read here; a message that comes into their empty inbox is handed out
        in that moment, on the channel `post:<receiver>` (`posted` reads it).
        """
        said = ("1" if take else "", _encode(agents), _encode(gone), _encode(reads))
        await self._engine.call("msg_listen", SERVER_CLOCK, receiver, *said)

    async def holding(self, inboxes: Sequence[str]) -> list[str]:
        """Return those of these inboxes that hold something, waiting or handed out."""
        (found,) = await self._engine.read([("HMGET", self._engine.key("inboxes"), *inboxes)])
        return [name for name, held in zip(inboxes, found, strict=True) if held]

    @property
    def claim_s(self) -> float:
        """How long what was handed out waits for its receiver's word."""
        return self._settings.claim_s

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


def posted(said: bytes) -> tuple[str, Delivery]:
    """Return (inbox, message) of what was pushed on the channel `post:<receiver>`."""
    end = 2 + int.from_bytes(said[:2], "big")
    return said[2:end].decode(), _delivery(said[end:])


def _deliveries(answer: list[Any]) -> list[Delivery]:
    if answer and answer[0] == 1:
        return [_delivery(answer[1])._replace(pushed=True), *map(_delivery, answer[2:])]
    return [_delivery(entry) for entry in answer]


def _delivery(entry: bytes) -> Delivery:
    _, times, _, length = _HEAD.unpack_from(entry)
    end = _HEAD.size + length
    return Delivery(entry[_HEAD.size : end].decode(), times + 1, entry[end:])


def _item(item: bytes, kind: type[Listed]) -> Listed:
    """Return an item of the audit or of the dead: four bytes of its head's length, the head, the body."""
    end = 4 + int.from_bytes(item[:4], "big")
    head = msgspec.msgpack.decode(item[4:end], type=kind)
    return msgspec.structs.replace(head, body=item[end:])
