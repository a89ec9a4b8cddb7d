"""What comes in for the agents of one process: one bell names the inboxes with news, one call of the engine empties many of them.

The process is the *receiver* of its agents' mail. Agents come (`attach`) and go (`detach`) while it runs; one that comes brings
its mail along at once, also what another receiver held, since nobody else is told of it from then on. `run` makes waiting quick:
without it, and for inboxes of agents that aren't attached, whoever waits looks twenty times a second.

Used by `bus.py` alone. It never looks into a message.
"""

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import msgspec

from amas.agents.insist import insist
from amas.clock import new_id
from amas.engine.bell import Bell
from amas.engine.coalesce import Coalescer
from amas.engine.connection import Engine
from amas.engine.inbox import RECEIVED_MAX, Delivery, Inboxes

POLL_S = 1.0
"""How often a receiver looks everywhere: a bell may be lost with its connection, and another's claim may have ended."""
UNHEARD_POLL_S = 0.05
"""The same where no bell is heard."""
INBOXES_IN_A_CALL = 500
OF_EACH_MAX = 100
"""Messages of one inbox in a call for many: nobody's flood keeps the others waiting."""

_names = msgspec.msgpack.Decoder(list[str])

Done = tuple[str, Sequence[str]]
"""An inbox, and ids of messages in it."""


class Mailroom:
    """The mail of one process."""

    def __init__(self, engine: Engine, inboxes: Inboxes, agents: Iterable[str]) -> None:
        self.receiver = new_id()
        self._inboxes = inboxes
        self._here = dict.fromkeys(agents)
        self._strange = set(self._here)  # attached, and the engine doesn't know yet
        self._unseen = dict(self._here)  # inboxes to look into, the one that waits longest first
        self._some, self._connected = asyncio.Event(), asyncio.Event()
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._looked_s = 0.0
        self._bell = Bell(engine, {f"mail:{self.receiver}": self._rung}, connected=self._connected.set)
        self._claims = Coalescer(self._claim_all, limit=INBOXES_IN_A_CALL)
        self._done = Coalescer(self._drop_all, limit=INBOXES_IN_A_CALL)

    @property
    def agents(self) -> Sequence[str]:
        """Who receives here."""
        return tuple(self._here)

    # -- who is here

    async def run(self) -> None:
        """Listen for mail until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bell.run(), name="mail-bell")
            group.create_task(self._introduce(), name="mail-agents")

    async def _introduce(self) -> None:
        """Tell every server that we are connected to who is here: one that was restored may not know."""
        while True:
            await self._connected.wait()
            self._connected.clear()
            await self._tell([one for one in self._here if one not in self._strange], take=False)
            await self._tell_strange()
            self._look_everywhere()

    async def _tell(self, agents: Sequence[str], *, gone: Sequence[str] = (), take: bool) -> None:
        await insist(lambda: self._inboxes.listen(self.receiver, agents, gone=gone, take=take), draw=random.random)

    async def _tell_strange(self) -> None:
        strange = [one for one in self._here if one in self._strange]
        if strange:
            await self._tell(strange, take=True)
            self._strange.difference_update(strange)

    async def attach(self, agents: Iterable[str]) -> None:
        """Receive for these agents, too, from now on; returns when the engine knows."""
        new = dict.fromkeys(agents)
        self._here |= new
        self._strange |= set(new)
        await self._tell_strange()
        self._see(new)

    async def detach(self, agents: Iterable[str]) -> None:
        """Receive for these agents no more; what they were handed and haven't acknowledged is their next receiver's."""
        gone = [one for one in agents if one in self._here]
        for one in gone:
            del self._here[one]
            self._unseen.pop(one, None)
            self._strange.discard(one)
        await self._tell((), gone=gone, take=False)

    # -- news

    def _rung(self, said: bytes) -> None:
        self._see(_names.decode(said))

    def _see(self, inboxes: Iterable[str]) -> None:
        for inbox in inboxes:
            if inbox in self._here:
                self._unseen[inbox] = None
            for news in self._waiting.get(inbox, ()):
                news.set()
        self._some.set()

    def _look_everywhere(self) -> None:
        self._looked_s = asyncio.get_running_loop().time()
        self._see((*self._here, *self._waiting))

    @property
    def _poll_s(self) -> float:
        return POLL_S if self._bell.listening.is_set() else UNHEARD_POLL_S

    @contextmanager
    def watching(self, inbox: str) -> Iterator[asyncio.Event]:
        """Set the event whenever something comes in for an inbox within the block."""
        news = asyncio.Event()
        self._waiting.setdefault(inbox, set()).add(news)
        try:
            yield news
        finally:
            self._waiting[inbox].discard(news)
            if not self._waiting[inbox]:
                del self._waiting[inbox]

    async def wait(self, agent_id: str, news: asyncio.Event, at_most_s: float) -> None:
        """Wait for news of an agent's inbox, until it is time to look anyway."""
        poll_s = self._poll_s if agent_id in self._here else UNHEARD_POLL_S
        await _wait(news, min(at_most_s, poll_s))

    async def wait_any(self, at_most_s: float) -> None:
        """Wait for news of any inbox of the agents here, until it is time to look anyway."""
        if not self._unseen:
            await _wait(self._some, min(at_most_s, self._poll_s))

    # -- mail

    async def claim(self, inbox: str, limit: int) -> list[Delivery]:
        """Return up to `limit` messages of an inbox; others who ask meanwhile share the call."""
        while (found := await self._claims.put((inbox, limit))) is None:
            pass  # the call was full before it came to this inbox
        return found

    async def _claim_all(self, wanted: list[tuple[str, int]]) -> list[list[Delivery] | None]:
        return await self._inboxes.receive(self.receiver, wanted)

    async def collect(self, limit: int) -> list[tuple[str, list[Delivery]]]:
        """Return (agent, messages) for inboxes of the agents here that have some, up to `limit` messages in all."""
        if asyncio.get_running_loop().time() - self._looked_s >= self._poll_s or not self._bell.listening.is_set():
            self._look_everywhere()
        await self._tell_strange()
        self._some.clear()
        names = list(islice(self._unseen, INBOXES_IN_A_CALL))
        if not names:
            return []
        for name in names:
            del self._unseen[name]
        most, each = min(limit, RECEIVED_MAX), min(limit, OF_EACH_MAX)
        try:
            answers = await self._inboxes.receive(self.receiver, [(name, each) for name in names], most=most, here=True)
        except BaseException:
            self._see(names)
            raise
        full = sum(map(len, filter(None, answers))) >= most
        self._see(one for one, got in zip(names, answers, strict=True) if got is None or len(got) >= each or (full and got))
        return [(name, got) for name, got in zip(names, answers, strict=True) if got]

    async def drop(self, done: Sequence[Done]) -> list[str]:
        """Acknowledge messages; others who do so meanwhile share the call. Returns the ids that were no more ours."""
        return await self._done.put(done) if done else []

    async def _drop_all(self, said: list[Sequence[Done]]) -> list[list[str]]:
        stale = iter(await self._inboxes.acknowledge(self.receiver, [one for done in said for one in done]))
        return [[message_id for _ in done for message_id in next(stale)] for done in said]


async def _wait(news: asyncio.Event, at_most_s: float) -> None:
    try:
        async with asyncio.timeout(at_most_s):
            await news.wait()
    except TimeoutError:
        pass
