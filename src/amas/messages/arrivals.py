"""What comes in for the agents of one process: one bell names the inboxes with news, one call of the engine empties many of them.

The process is the *receiver* of its agents' mail. Agents come (`attach`) and go (`detach`) while it runs; one that comes brings
its mail along at once, also what another receiver held, since nobody else is told of it from then on. `run` makes waiting quick:
without it, and for inboxes of agents that aren't attached, whoever waits looks twenty times a second.

For agents whose mail is always read here (`always_read`) the engine hands a message out in the call that sends it, when it comes
into an empty inbox. Such a push may get lost with the connection; the next claim brings the message again, and what is in hand
already isn't given twice.

Used by `bus.py` alone. It never looks into a message.
"""

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

import msgspec

from amas.clock import new_id
from amas.engine.bell import Bell, came
from amas.engine.coalesce import Coalescer
from amas.engine.connection import Engine
from amas.engine.inbox import RECEIVED_MAX, Delivery, Inboxes, posted
from amas.engine.insist import insist

POLL_S = 1.0
"""How often a receiver looks anyway: a bell may be lost with its connection, and another's claim may have ended."""
UNHEARD_POLL_S = 0.05
"""The same where no bell is heard."""
INBOXES_IN_A_CALL = 500
OF_EACH_MAX = 100
"""Messages of one inbox in a call for many: nobody's flood keeps the others waiting."""

_names = msgspec.msgpack.Decoder(list[str])

Done = tuple[str, Sequence[str]]
"""An inbox, and ids of messages in it."""


class Arrivals:
    """The incoming mail of one process."""

    def __init__(self, engine: Engine, inboxes: Inboxes, agents: Iterable[str]) -> None:
        self.receiver = new_id()
        self._inboxes = inboxes
        self._here = dict.fromkeys(agents)
        self._strange = set(self._here)  # attached, and the engine doesn't know yet
        self._unseen = dict(self._here)  # inboxes to look into, the one that waits longest first
        self._some, self._connected = asyncio.Event(), asyncio.Event()
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._reads = set[str]()  # agents whose mail is always read here
        self._reads_all = False
        self._posted: dict[str, tuple[Delivery, float]] = {}  # inbox -> what was pushed and nobody has taken yet; its claim's end
        self._heard: dict[str, float] = {}  # ids of messages that were pushed, until acknowledged -> when their claim ends
        self._repeated: dict[str, float] = {}  # the same of those that a claim brought before their push was heard
        self._waiting_for_any = 0
        handlers = {f"mail:{self.receiver}": self._rung, f"post:{self.receiver}": self._pushed}
        self._bell = Bell(engine, handlers, connected=self._connected.set)
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
            group.create_task(self._patrol(), name="mail-patrol")

    async def _introduce(self) -> None:
        """Tell every server that we are connected to who is here: one that was restored may not know."""
        while True:
            await self._connected.wait()
            self._connected.clear()
            await self._tell([one for one in self._here if one not in self._strange], take=False)
            await self._tell_strange()
            self._look_everywhere()

    async def _tell(self, agents: Sequence[str], *, gone: Sequence[str] = (), take: bool) -> None:
        reads = [one for one in agents if one in self._reads]
        await insist(lambda: self._inboxes.listen(self.receiver, agents, gone=gone, reads=reads, take=take), draw=random.random)

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
        if self._reads_all:
            self._reads |= set(new)
        await self._tell_strange()
        self._see(new)

    async def detach(self, agents: Iterable[str]) -> None:
        """Receive for these agents no more; what they were handed and haven't acknowledged is their next receiver's."""
        gone = [one for one in agents if one in self._here]
        for one in gone:
            del self._here[one]
            self._unseen.pop(one, None)
            self._posted.pop(one, None)
            self._strange.discard(one)
            self._reads.discard(one)
        await self._tell((), gone=gone, take=False)

    async def always_read(self, agents: Iterable[str] | None = None) -> None:
        """Have mail of these agents, by default of all that are or will be here, pushed: somebody waits for it all the time."""
        if agents is None:
            if self._reads_all:
                return
            self._reads_all, agents = True, self._here
        new = [one for one in agents if one in self._here and one not in self._reads]
        if new:
            self._reads.update(new)
            await self._tell([one for one in new if one not in self._strange], take=False)

    # -- news

    def _rung(self, said: bytes) -> None:
        self._see(_names.decode(said))

    def _pushed(self, said: bytes) -> None:
        inbox, delivery = posted(said)
        if self._repeated.pop(delivery.id, None) is None and inbox in self._reads:
            self._posted[inbox] = (delivery, self._note(self._heard, delivery))
            self._news(inbox)

    def _news(self, inbox: str) -> None:
        for news in self._waiting.get(inbox, ()):
            news.set()
        self._some.set()

    def _note(self, kept: dict[str, float], delivery: Delivery) -> float:
        """Keep a message's id until its claim ends, and return when that is; forget those whose has ended."""
        now_s = asyncio.get_running_loop().time()
        while kept and next(iter(kept.values())) <= now_s:  # claims end in the order in which they began
            del kept[next(iter(kept))]
        kept[delivery.id] = now_s + self._inboxes.claim_s
        return kept[delivery.id]

    def _take_posted(self, inbox: str) -> list[Delivery]:
        """Return what was pushed into an inbox and is still ours: what nobody took within its claim is handed out anew."""
        delivery, until_s = self._posted.pop(inbox, (None, 0.0))
        return [delivery] if delivery and until_s > asyncio.get_running_loop().time() else []

    def _once(self, inbox: str, claimed: list[Delivery]) -> list[Delivery]:
        """Return a claim's messages without one that somebody here was given when it was pushed."""
        if not claimed or not claimed[0].pushed:
            return claimed
        first = claimed[0]
        if first.id not in self._heard:  # its push is late, or lost
            self._note(self._repeated, first)
            return claimed
        if inbox in self._posted and self._posted[inbox][0].id == first.id:  # it came while the claim was under way
            del self._posted[inbox]
            return claimed
        return claimed[1:]

    def _see(self, inboxes: Iterable[str]) -> None:
        for inbox in inboxes:
            if inbox in self._here:
                self._unseen[inbox] = None
            self._news(inbox)
        self._some.set()

    def _look_everywhere(self) -> None:
        self._see((*self._here, *self._waiting))

    async def _patrol(self) -> None:
        """See now and then which inboxes hold something, in one look for all: a bell may be lost, another's claim may end."""
        while True:
            await asyncio.sleep(POLL_S)
            names = dict.fromkeys(self._waiting) | (self._here if self._waiting_for_any else {})
            if names:
                self._see(await insist(partial(self._inboxes.holding, list(names)), draw=random.random))

    @property
    def _deaf(self) -> bool:
        return not self._bell.listening.is_set()

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
        heard = agent_id in self._here and not self._deaf
        await came(news, at_most_s if heard else min(at_most_s, UNHEARD_POLL_S))

    async def wait_any(self, at_most_s: float) -> None:
        """Wait for news of any inbox of the agents here, until it is time to look anyway."""
        if self._unseen or self._posted:
            return
        self._waiting_for_any += 1
        try:
            await came(self._some, min(at_most_s, UNHEARD_POLL_S) if self._deaf else at_most_s)
        finally:
            self._waiting_for_any -= 1

    # -- mail

    async def claim(self, inbox: str, limit: int) -> list[Delivery]:
        """Return up to `limit` messages of an inbox; others who ask meanwhile share the call."""
        if kept := self._take_posted(inbox):
            return kept
        while (found := await self._claims.put((inbox, limit))) is None:
            pass  # the call was full before it came to this inbox
        return self._once(inbox, found)

    async def _claim_all(self, wanted: list[tuple[str, int]]) -> list[list[Delivery] | None]:
        return await self._inboxes.receive(self.receiver, wanted)

    async def collect(self, limit: int) -> list[tuple[str, list[Delivery]]]:
        """Return (agent, messages) for inboxes of the agents here that have some, up to `limit` messages in all."""
        if self._deaf:
            self._look_everywhere()
        await self._tell_strange()
        self._some.clear()
        if kept := [(inbox, found) for inbox in list(self._posted)[:limit] if (found := self._take_posted(inbox))]:
            return kept
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
        got = [(name, self._once(name, got)) for name, got in zip(names, answers, strict=True) if got]
        return [(name, fresh) for name, fresh in got if fresh]

    async def drop(self, done: Sequence[Done]) -> list[str]:
        """Acknowledge messages; others who do so meanwhile share the call. Returns the ids that were no more ours."""
        return await self._done.put(done) if done else []

    async def _drop_all(self, said: list[Sequence[Done]]) -> list[list[str]]:
        for done in said:
            for _, ids in done:
                for message_id in ids:
                    self._heard.pop(message_id, None)
        stale = iter(await self._inboxes.acknowledge(self.receiver, [one for done in said for one in done]))
        return [[message_id for _ in done for message_id in next(stale)] for done in said]
