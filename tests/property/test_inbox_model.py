"""A random life of inboxes on a real engine beside plain rules in Python, as docs/messages.md states them.

Several senders and receivers; time passes; receivers go away with what they hold; the server is killed in between.
"""

import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.engine.inbox import Fate, Inboxes, Letter
from amas.settings import MessageSettings

SEEDS = [int(os.environ["AMAS_SEED"])] if "AMAS_SEED" in os.environ else list(range(3))
FULL = os.environ.get("AMAS_SOAK") == "full"
STEPS = 150
CLAIM_MS, WINDOW_MS, RETRIES, ROOM = 5_000, 20_000, 2, 8
LIFE_MS = 10_000_000
"""Longer than a test: what expires while it waits is cleared when it is first in its line, which `tests/engine` holds to."""
SETTINGS = MessageSettings(
    secret="a-secret-of-the-fleet",
    claim_s=CLAIM_MS / 1000,
    replay_window_s=WINDOW_MS / 1000,
    retries=RETRIES,
    backlog_warning=ROOM,
    backlog_critical=ROOM,
)
INBOXES, RECEIVERS = ("ann", "bob"), ("h1", "h2", "h3")


class Signed(NamedTuple):
    """A message as its sender signed it."""

    id: str
    inbox: str
    priority: int
    sent_ms: int
    expires_ms: int

    @property
    def letter(self) -> Letter:
        times = self.sent_ms, self.expires_ms
        return Letter.of(self.inbox, self.id.encode(), message_id=self.id, sender="s", priority=self.priority, times_ms=times)


@dataclass
class Held:
    """A message in an inbox."""

    message: Signed
    place: tuple[int, int]
    """Lower goes first: the higher priority, then the earlier arrival."""
    deliveries: int = 0
    claimed_until: int = 0
    """0: it waits."""


@dataclass
class Inbox:
    held: dict[str, Held] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    """Every id that was ever let in: while its signature is good, it isn't let in again."""
    receiver: str = ""
    until: int = 0
    """While it has claims in it, the inbox is its receiver's until the last one given ends, also when that was acknowledged."""
    arrivals: int = 0
    dead: list[str] = field(default_factory=list)

    def claimed(self) -> list[Held]:
        return [one for one in self.held.values() if one.claimed_until]

    def waiting(self) -> list[Held]:
        return sorted((one for one in self.held.values() if not one.claimed_until), key=lambda one: one.place)

    def send(self, message: Signed, now: int, *, resend: bool) -> Fate:
        if abs(now - message.sent_ms) > WINDOW_MS:
            return Fate.STALE
        if message.expires_ms <= now:
            return Fate.EXPIRED
        if message.id in self.taken:
            return Fate.SAME if resend else Fate.REPLAYED
        if len(self.held) >= ROOM:
            return Fate.FULL
        self.arrivals += 1
        self.taken.add(message.id)
        self.held[message.id] = Held(message, (-message.priority, self.arrivals))
        return Fate.TAKEN

    def receive(self, receiver: str, limit: int, now: int) -> list[tuple[str, int]]:
        """One receiver at a time: another one's claims have to lapse, and then come again before anything newer."""
        claimed = self.claimed()
        if claimed and self.receiver != receiver:
            if self.until > now:
                return []
            self.lapse(claimed)
        self.lapse([one for one in self.claimed() if one.claimed_until <= now])
        got = self.waiting()[:limit]
        for one in got:
            one.claimed_until, one.deliveries, self.receiver = now + CLAIM_MS, one.deliveries + 1, receiver
            self.until = now + CLAIM_MS
        return [(one.message.id, one.deliveries) for one in got]

    def lapse(self, claimed: list[Held]) -> None:
        for one in claimed:
            one.claimed_until = 0
            if one.deliveries > RETRIES:
                self.dead.append(one.message.id)
                del self.held[one.message.id]

    def acknowledge(self, receiver: str, ids: list[str]) -> list[str]:
        """Return those that it may not speak for."""
        mine = [name for name in ids if self.receiver == receiver and name in self.held and self.held[name].claimed_until]
        for name in mine:
            del self.held[name]
        return [name for name in ids if name not in mine]


class Life:
    """Random calls on the engine and the same on the rules."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.inboxes, self.chance = Inboxes(engine, SETTINGS), random.Random(seed)
        self.rules = {name: Inbox() for name in INBOXES}
        self.now = 1_800_000_000_000
        self.sent: list[Signed] = []
        self.got: list[tuple[str, str, str]] = []
        """(receiver, inbox, id), ever."""
        self.calls: dict[Callable[[], Awaitable[None]], int] = {self.send: 4, self.receive: 4, self.acknowledge: 3, self.wait: 1}

    async def step(self) -> None:
        (call,) = self.chance.choices(list(self.calls), list(self.calls.values()))
        self.now += self.chance.randrange(200)
        await call()
        await self.agrees()

    def message(self) -> Signed:
        """Return a new message, or now and then one that was sent before."""
        if self.sent and self.chance.random() < 0.2:
            return self.chance.choice(self.sent[-20:])
        inbox, sent = self.chance.choice(INBOXES), self.now - self.chance.choice((0, 0, 0, 100, WINDOW_MS, WINDOW_MS + 1))
        expires = sent + self.chance.choice((0, *[LIFE_MS] * 9))
        message = Signed(f"m{len(self.sent)}", inbox, self.chance.randrange(4), sent, expires)
        self.sent.append(message)
        return message

    async def send(self) -> None:
        messages, resend = [self.message() for _ in range(self.chance.randrange(1, 5))], self.chance.random() < 0.3
        found = await self.inboxes.send([one.letter for one in messages], resend=resend, now_ms=self.now)
        assert [one.fate for one in found] == [self.rules[one.inbox].send(one, self.now, resend=resend) for one in messages]

    async def receive(self) -> None:
        receiver, limit = self.chance.choice(RECEIVERS), self.chance.randrange(1, 5)
        found = await self.inboxes.receive(receiver, [(inbox, limit) for inbox in INBOXES], now_ms=self.now)
        for inbox, deliveries in zip(INBOXES, found, strict=True):
            assert deliveries is not None
            assert [(one.id, one.deliveries) for one in deliveries] == self.rules[inbox].receive(receiver, limit, self.now)
            assert [one.body for one in deliveries] == [one.id.encode() for one in deliveries]
            self.got += [(receiver, inbox, one.id) for one in deliveries]

    async def acknowledge(self) -> None:
        """Acknowledge what came lately, also what has lapsed or is another's now."""
        if self.got:
            receiver, inbox, _ = self.chance.choice(self.got[-10:])
            ids = sorted(
                {
                    name
                    for who, where, name in self.got[-10:]
                    if where == inbox and (who == receiver or self.chance.random() < 0.1)
                }
            )
            (stale,) = await self.inboxes.acknowledge(receiver, [(inbox, ids)], now_ms=self.now)
            assert stale == self.rules[inbox].acknowledge(receiver, ids)

    async def wait(self) -> None:
        """Every receiver goes away with what it holds for a while."""
        self.now += self.chance.choice((CLAIM_MS - 200, CLAIM_MS, WINDOW_MS))

    async def agrees(self) -> None:
        found = await self.inboxes.backlog(now_ms=self.now)
        assert found == {name: len(inbox.held) for name, inbox in self.rules.items() if inbox.held}
        dead = [one.message_id for one in await self.inboxes.dead(limit=1000)]
        assert sorted(dead) == sorted(name for inbox in self.rules.values() for name in inbox.dead)


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("seed", SEEDS)
async def test_inboxes_agree_with_the_rules(engine: Engine, seed: int) -> None:
    life = Life(engine, seed)
    for _ in range(STEPS):
        await life.step()
        await life.agrees()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 150 if FULL else 101))
async def test_they_agree_after_kill_9_too(tmp_path: Path, seed: int) -> None:
    server = EmbeddedEngine(tmp_path / "data")
    await server.start()
    try:
        async with Engine(server.url) as engine:
            await engine.check(load=True)
            life = Life(engine, seed)
            for _ in range(5):
                for _ in range(STEPS // 5):
                    await life.step()
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await server.stop()
                await server.start()
                await engine.client.connection_pool.disconnect()
                await engine.wait_until_ready(timeout_s=60)
                await life.agrees()
    finally:
        await server.stop()
