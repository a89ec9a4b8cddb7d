"""A random life of inboxes on a real engine beside plain rules in Python, as docs/messages.md states them.

Several senders and receivers; time passes; receivers go away with what they hold; the server is killed in between.
"""

import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.engine.inbox import Fate, Inboxes, Letter
from amas.settings import MessageSettings

SEEDS = [int(os.environ["AMAS_SEED"])] if "AMAS_SEED" in os.environ else list(range(3))
FULL = os.environ.get("AMAS_SOAK") == "full"
STEPS = 150
CLAIM_MS, WINDOW_MS, RETRIES, ROOM = 5_000, 20_000, 2, 8
SETTINGS = MessageSettings(
    secret="a-secret-of-the-fleet",
    claim_s=CLAIM_MS / 1000,
    replay_window_s=WINDOW_MS / 1000,
    retries=RETRIES,
    backlog_warning=ROOM,
    backlog_critical=ROOM,
)
INBOXES, RECEIVERS = ("ann", "bob"), ("h1", "h2", "h3")


@dataclass
class Held:
    """A message in an inbox."""

    letter: Letter
    place: tuple[int, int]
    """Lower goes first: the higher priority, then the earlier arrival."""
    deliveries: int = 0
    claimed_until: int = 0
    """0: it waits."""


@dataclass
class Inbox:
    held: dict[str, Held] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    """Until when an id that is gone can't be sent again."""
    receiver: str = ""
    until: int = 0
    """While it has claims in it, the inbox is its receiver's until the last one given ends, also when that was acknowledged."""
    arrivals: int = 0
    dead: list[str] = field(default_factory=list)

    def claimed(self) -> list[Held]:
        return [one for one in self.held.values() if one.claimed_until]

    def clear(self, now: int) -> None:
        """Nobody gets what has expired."""
        self.held = {name: one for name, one in self.held.items() if one.letter.expires_ms > now}
        self.known = {name: until for name, until in self.known.items() if until > now}

    def send(self, letter: Letter, now: int, *, resend: bool) -> Fate:
        self.clear(now)
        if letter.id in self.held or letter.id in self.known:
            return Fate.SAME if resend else Fate.REPLAYED
        if abs(now - letter.sent_ms) > WINDOW_MS:
            return Fate.STALE
        if letter.expires_ms <= now:
            return Fate.EXPIRED
        if len(self.held) >= ROOM:
            return Fate.FULL
        self.arrivals += 1
        self.held[letter.id] = Held(letter, (-letter.priority, self.arrivals))
        return Fate.TAKEN

    def receive(self, receiver: str, limit: int, now: int) -> list[tuple[str, int]]:
        """One receiver at a time: another one's claims have to lapse, and then come again before anything newer."""
        self.clear(now)
        claimed = self.claimed()
        if claimed and self.receiver != receiver:
            if self.until > now:
                return []
            self.lapse(claimed, now)
        self.lapse([one for one in self.claimed() if one.claimed_until <= now], now)
        waiting = sorted((one for one in self.held.values() if not one.claimed_until), key=lambda one: one.place)[:limit]
        for one in waiting:
            one.claimed_until, one.deliveries, self.receiver = now + CLAIM_MS, one.deliveries + 1, receiver
            self.until = now + CLAIM_MS
        return [(one.letter.id, one.deliveries) for one in waiting]

    def lapse(self, claimed: list[Held], now: int) -> None:
        for one in claimed:
            one.claimed_until = 0
            if one.deliveries > RETRIES:
                self.dead.append(one.letter.id)
                del self.held[one.letter.id]
                self.known[one.letter.id] = now + WINDOW_MS

    def acknowledge(self, receiver: str, ids: list[str], now: int) -> list[str]:
        """Return those that it may not speak for."""
        mine = [name for name in ids if self.receiver == receiver and name in self.held and self.held[name].deliveries]
        for name in mine:
            del self.held[name]
            self.known[name] = now + WINDOW_MS
        return [name for name in ids if name not in mine]


class Life:
    """Random calls on the engine and the same on the rules."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.inboxes, self.chance = Inboxes(engine, SETTINGS), random.Random(seed)
        self.rules = {name: Inbox() for name in INBOXES}
        self.now = 1_800_000_000_000
        self.sent: list[Letter] = []
        self.got: list[tuple[str, str, str]] = []
        """(receiver, inbox, id), ever."""
        self.calls: dict[Callable[[], Awaitable[None]], int] = {self.send: 4, self.receive: 4, self.acknowledge: 3, self.wait: 1}

    async def step(self) -> None:
        (call,) = self.chance.choices(list(self.calls), list(self.calls.values()))
        self.now += self.chance.randrange(200)
        await call()

    def letter(self) -> Letter:
        """Return a new letter, or now and then one that was sent before."""
        if self.sent and self.chance.random() < 0.2:
            return self.chance.choice(self.sent[-20:])
        inbox, sent = self.chance.choice(INBOXES), self.now - self.chance.choice((0, 0, 0, 100, WINDOW_MS, WINDOW_MS + 1))
        expires = sent + self.chance.choice((100, 3_000, 60_000))
        name = f"m{len(self.sent)}"
        letter = Letter.of(
            inbox, name.encode(), head=(name, "s", inbox), priority=self.chance.randrange(4), times_ms=(sent, expires)
        )
        self.sent.append(letter)
        return letter

    async def send(self) -> None:
        letters, resend = [self.letter() for _ in range(self.chance.randrange(1, 5))], self.chance.random() < 0.3
        found = await self.inboxes.send(letters, resend=resend, now_ms=self.now)
        assert [one.fate for one in found] == [self.rules[one.inbox].send(one, self.now, resend=resend) for one in letters]

    async def receive(self) -> None:
        receiver, limit = self.chance.choice(RECEIVERS), self.chance.randrange(1, 5)
        found = await self.inboxes.receive(receiver, INBOXES, limit=limit, now_ms=self.now)
        for inbox, deliveries in zip(INBOXES, found, strict=True):
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
            stale = await self.inboxes.acknowledge(receiver, inbox, ids, now_ms=self.now)
            assert stale == self.rules[inbox].acknowledge(receiver, ids, self.now)

    async def wait(self) -> None:
        """Every receiver goes away with what it holds for a while; some of it expires."""
        self.now += self.chance.choice((CLAIM_MS - 200, CLAIM_MS, WINDOW_MS))

    async def agrees(self) -> None:
        found = await self.inboxes.backlog(now_ms=self.now)
        for inbox in self.rules.values():
            inbox.clear(self.now)
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
                await engine.wait_until_ready(timeout_s=30)
                await life.agrees()
    finally:
        await server.stop()
