"""A message that comes into an empty inbox is handed out in the call that sends it, where somebody always reads that inbox."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from redis.asyncio.client import PubSub
from tests.engine.test_arrivals import WORKERS, bus, host, only_the_bell, send, told
from tests.engine.test_messages import CLAIM_MS, NOW, STATUS, finish, ids, inboxes, letter, take

from amas.engine.connection import Engine
from amas.engine.inbox import Inboxes, posted
from amas.messages.arrivals import Arrivals
from amas.messages.bus import AgentCommunicationBus
from amas.model.message import Message

__all__ = ["bus", "inboxes", "only_the_bell"]

RECEIVER = "host-1"


@asynccontextmanager
async def reader(engine: Engine, inboxes: Inboxes) -> AsyncIterator[PubSub]:
    """A receiver that always reads the inbox `r`, and hears of its mail."""
    async with engine.client.pubsub() as heard:
        await heard.subscribe(engine.key("post", RECEIVER), engine.key("mail", RECEIVER))
        for _ in range(2):
            await heard.get_message(timeout=60)
        await inboxes.listen(RECEIVER, ["r"], reads=["r"])
        yield heard


async def said(heard: PubSub) -> tuple[bytes, bytes]:
    message = await heard.get_message(timeout=60)
    assert message is not None
    return message["channel"].rpartition(b":")[0].rpartition(b":")[2], message["data"]


async def test_it_comes_along_with_the_bell_and_is_claimed(engine: Engine, inboxes: Inboxes) -> None:
    async with reader(engine, inboxes) as heard:
        await inboxes.send([letter("a"), letter("urgent", priority=3), letter("b")], now_ms=NOW)
        channel, body = await said(heard)
        assert channel == b"post"
        inbox, message = posted(body)
        assert (inbox, message.id, message.deliveries, message.body) == ("r", "urgent", 1, b"\xffurgent")
        assert (await said(heard))[0] == b"mail", "of the others it is told"
        assert await finish(inboxes, RECEIVER, ["urgent"]) == []
        assert ids(await take(inboxes)) == ["a", "b"]
        assert (await inboxes.totals())["delivered"] == 3


async def test_a_push_that_nobody_got_comes_first_with_the_next_claim_and_once(engine: Engine, inboxes: Inboxes) -> None:
    async with reader(engine, inboxes):
        await inboxes.send([letter("a")], now_ms=NOW)
        await inboxes.send([letter("urgent", priority=3)], now_ms=NOW)
        got = await take(inboxes)
        assert [(one.id, one.deliveries) for one in got] == [("a", 1), ("urgent", 1)]
        assert await take(inboxes) == []
        assert (await inboxes.totals())["delivered"] == 2


async def test_what_was_pushed_and_not_done_comes_again_like_everything(engine: Engine, inboxes: Inboxes) -> None:
    async with reader(engine, inboxes):
        await inboxes.send([letter("a")], now_ms=NOW)
        assert [(one.id, one.deliveries) for one in await take(inboxes, at=NOW + CLAIM_MS)] == [("a", 2)]
        await inboxes.send([letter("b")], now_ms=NOW)
        assert await take(inboxes, "host-2", at=NOW + 1) == [], "the first receiver has claims"
        await inboxes.listen("host-2", ["r"])
        assert ids(await take(inboxes, "host-2", at=NOW + 2)) == ["a", "b"]


@pytest.mark.parametrize("away", ["nobody listens", "it moved", "it left"])
async def test_nothing_is_pushed_to_whom_it_is_of_no_use(engine: Engine, inboxes: Inboxes, away: str) -> None:
    async with reader(engine, inboxes) as heard:
        if away == "it moved":
            await inboxes.listen("host-2", ["r"])
        elif away == "it left":
            await inboxes.listen(RECEIVER, gone=["r"])
        else:
            await heard.unsubscribe()
            await heard.get_message(timeout=60)
            await heard.get_message(timeout=60)
        await inboxes.send([letter("a")], now_ms=NOW)
        assert (await inboxes.totals()).get("delivered", 0) == 0
        assert ids(await take(inboxes, "host-2" if away == "it moved" else RECEIVER)) == ["a"]


async def test_an_answer_waits_for_whoever_asked(engine: Engine, inboxes: Inboxes) -> None:
    async with reader(engine, inboxes):
        await inboxes.send([letter("a", inbox="r#question")], now_ms=NOW)
        (got,) = await inboxes.receive("another", [("r#question", 1)], now_ms=NOW)
        assert got is not None
        assert ids(got) == ["a"]


async def until_all(here: AgentCommunicationBus, count: int) -> list[Message]:
    got: list[Message] = []
    while len({one.id for one in got}) < count:
        found = await here.receive_all(wait_s=60)
        assert await here.acknowledge(found) == []
        got += found
    return got


@pytest.mark.usefixtures("only_the_bell")
async def test_a_lone_message_takes_no_call_of_its_receiver(
    engine: Engine, bus: AgentCommunicationBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host(engine, *WORKERS) as here:
        waiting = asyncio.create_task(here.receive_all(wait_s=60))
        while not here._mail._waiting_for_any:  # it has looked everywhere
            await asyncio.sleep(0.01)

        async def no_claim(*_: object, **__: object) -> None:
            raise AssertionError("a claim was made")

        monkeypatch.setattr(here.inboxes, "receive", no_claim)
        await send(bus, "red-worker-2", "now")
        got = await waiting
        assert told(got) == {"red-worker-2": ["now"]}
        assert await here.acknowledge(got) == []


@pytest.mark.usefixtures("only_the_bell")
async def test_nobody_gets_it_twice_whether_claim_or_push_comes_first(
    engine: Engine, bus: AgentCommunicationBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, take_in, hears = list[bytes](), Arrivals._pushed, asyncio.Event()
    monkeypatch.setattr(Arrivals, "_pushed", lambda self, body: take_in(self, body) if hears.is_set() else late.append(body))
    async with host(engine, "red-worker-1") as here:
        await send(bus, "red-worker-1", 1, 2)
        first = await here.receive_all(wait_s=60)
        assert told(first) == {"red-worker-1": [1, 2]}
        assert await here.acknowledge(first) == []
        take_in(here._mail, late.pop())
        assert await here.receive_all() == [], "its push came after all was done"
        hears.set()
        waiting = asyncio.create_task(here.receive_all(wait_s=60))
        await send(bus, "red-worker-1", 3)
        held = await waiting
        await send(bus, "red-worker-1", 4)
        assert told(await here.receive_all(wait_s=60)) == {"red-worker-1": [4]}, "the third is in hand"
        assert await here.acknowledge(held) == []


async def write(bus: AgentCommunicationBus, sender: str, count: int, rng: random.Random) -> None:
    for number in range(count):
        await bus.send_message(sender_id=sender, recipient_id="red-worker-1", message_type=STATUS, payload=[sender, number])
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.005)


async def cut(engine: Engine, lost: Sequence[bytes], rng: random.Random) -> None:
    """Break every subscription now and then, once a push got lost."""
    while not lost:
        await asyncio.sleep(0.01)
    while True:
        await asyncio.sleep(0.3 + rng.random() * 0.3)
        await engine.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


async def test_in_order_and_none_lost_where_pushes_get_lost_and_the_connection_breaks(
    engine: Engine, bus: AgentCommunicationBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers and a reader that never hears of half its pushes: those come with a claim, in their place."""
    rng, lost, take_in = random.Random(5), list[bytes](), Arrivals._pushed
    count = 300

    def half_deaf(self: Arrivals, body: bytes) -> None:
        if rng.random() < 0.5:
            lost.append(body)
        else:
            take_in(self, body)

    monkeypatch.setattr(Arrivals, "_pushed", half_deaf)
    async with host(engine, "red-worker-1") as here:
        cutting = asyncio.create_task(cut(engine, lost, rng))
        async with asyncio.TaskGroup() as group:
            for sender in ("red-1", "chief-1"):
                group.create_task(write(bus, sender, count, rng))
            got = await until_all(here, 2 * count)
        cutting.cancel()
    assert lost
    for sender in ("red-1", "chief-1"):
        assert [one.payload[1] for one in got if one.payload[0] == sender] == list(range(count))
    assert max(one.deliveries for one in got) == 1, "no claim had to end first"
    assert (await bus.get_communication_metrics())["backlog"] == 0
