"""Receiving for many agents of a process, on a real engine: one bell, few calls, agents that come, go and move."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.engine.test_messages import FLEET, NOW, SETTINGS, STATUS, letter

from amas.engine.connection import Engine
from amas.engine.inbox import Delivery, Inboxes
from amas.errors import MessageRefused
from amas.messages import arrivals
from amas.messages.bus import AgentCommunicationBus
from amas.model.latency import Latencies
from amas.model.message import Message
from amas.policy.signatures import Keyring
from amas.settings import MessageSettings

ROOMY = MessageSettings(secret=SETTINGS.secret)
NEVER_S = 3600.0
WORKERS = ("red-worker-1", "red-worker-2")


@pytest.fixture
def bus(engine: Engine) -> AgentCommunicationBus:
    """Who sends; it receives nothing."""
    return AgentCommunicationBus(engine, FLEET, ROOMY)


@pytest.fixture
def only_the_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks unless the bell rings."""
    monkeypatch.setattr(arrivals, "POLL_S", NEVER_S)


@asynccontextmanager
async def host(engine: Engine, *agents: str) -> AsyncIterator[AgentCommunicationBus]:
    """Another process's bus that hears the bell: it has looked everywhere because of that, and won't again."""
    one, looked = AgentCommunicationBus(engine, FLEET, ROOMY), asyncio.Event()
    look_everywhere = one._mail._look_everywhere

    def look() -> None:
        look_everywhere()
        looked.set()

    one._mail._look_everywhere = look  # type: ignore[method-assign]
    listening = asyncio.create_task(one.run())
    await one.attach(agents)
    async with asyncio.timeout(60):
        await looked.wait()
    assert await one.receive_all() == []
    try:
        yield one
    finally:
        listening.cancel()


async def send(bus: AgentCommunicationBus, recipient: str, *payloads: object) -> None:
    for payload in payloads:
        await bus.send_message(sender_id="red-1", recipient_id=recipient, message_type=STATUS, payload=payload)


def told(messages: list[Message]) -> dict[str, list[object]]:
    by_agent: dict[str, list[object]] = {}
    for one in messages:
        by_agent.setdefault(one.recipient, []).append(one.payload)
    return by_agent


@pytest.mark.usefixtures("only_the_bell")
async def test_one_call_brings_the_mail_of_all_agents_here_when_the_bell_rings(
    engine: Engine, bus: AgentCommunicationBus
) -> None:
    async with host(engine, *WORKERS) as here:
        waiting = asyncio.create_task(here.receive_all(wait_s=60))
        await bus.share_context(sender_id="red-1", recipients="team:red", context="all")
        assert told(await waiting) == {one: ["all"] for one in WORKERS}
        await send(bus, "blue-1", "for another host")
        await send(bus, "red-worker-2", 1, 2, 3)
        got = [one for _ in range(2) for one in await here.receive_all(limit=2, wait_s=60)]
        assert told(got) == {"red-worker-2": [1, 2, 3]}
        assert await here.acknowledge(got) == []
    assert (await bus.get_communication_metrics())["inboxes"].keys() == {"blue-1", *WORKERS}


@pytest.mark.usefixtures("only_the_bell")
async def test_agents_come_and_go_while_a_process_receives(engine: Engine, bus: AgentCommunicationBus) -> None:
    async with host(engine, "red-worker-1") as here:
        await send(bus, "red-worker-2", "early")
        await here.attach(["red-worker-2"])
        assert here.agents == WORKERS
        assert told(await here.receive_all(wait_s=60)) == {"red-worker-2": ["early"]}
        await here.detach(["red-worker-1"])
        await send(bus, "red-worker-1", "nobody is here")
        await send(bus, "red-worker-2", "late")
        assert told(await here.receive_all(wait_s=60)) == {"red-worker-2": ["late"]}
        assert await here.receive_all() == []


@pytest.mark.usefixtures("only_the_bell")
async def test_an_agent_that_moves_brings_what_it_had_not_acknowledged(engine: Engine, bus: AgentCommunicationBus) -> None:
    async with host(engine, *WORKERS) as old, host(engine) as new:
        await send(bus, "red-worker-1", 1, 2, 3)
        first = await old.receive_all(wait_s=60)
        while len(first) < 3:
            first += await old.receive_all(wait_s=60)
        assert await old.acknowledge(first[:1]) == []
        await new.attach(["red-worker-1"])
        await send(bus, "red-worker-1", 4)
        got: list[Message] = []
        while len(got) < 3:
            got += await new.receive_all(wait_s=60)
        assert [(one.payload, one.deliveries) for one in got] == [(2, 2), (3, 2), (4, 1)]
        assert await old.acknowledge(first[1:]) == [one.id for one in first[1:]]
        assert await new.acknowledge(got) == []
        await send(bus, "red-worker-1", 5)
        old._mail._look_everywhere()  # as it does now and then, not knowing that the agent has gone
        assert await old.receive_all() == []
        assert told(await new.receive_all(wait_s=60)) == {"red-worker-1": [5]}


@pytest.mark.usefixtures("only_the_bell")
async def test_a_server_that_knows_nobody_is_told_who_is_here(engine: Engine, bus: AgentCommunicationBus) -> None:
    async with host(engine, *WORKERS) as here:
        await engine.client.delete(engine.key("mwho"))
        here._mail._bell.listening.clear()
        await engine.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        async with asyncio.timeout(60):
            await here._mail._bell.listening.wait()
            while await engine.client.hlen(engine.key("mwho")) < len(WORKERS):
                await asyncio.sleep(0.01)
        waiting = asyncio.create_task(here.receive_all(wait_s=60))
        await send(bus, "red-worker-1", "again")
        assert told(await waiting) == {"red-worker-1": ["again"]}


async def test_without_a_bell_mail_comes_all_the_same(engine: Engine, bus: AgentCommunicationBus) -> None:
    here = AgentCommunicationBus(engine, FLEET, ROOMY, agents=["red-worker-1"])
    waiting = asyncio.create_task(here.receive_all(wait_s=60))
    await send(bus, "red-worker-1", 1)
    assert told(await waiting) == {"red-worker-1": [1]}


async def test_concurrent_sends_share_calls_and_keep_their_order(engine: Engine, bus: AgentCommunicationBus) -> None:
    async def calls() -> int:
        return int((await engine.client.info("commandstats"))["cmdstat_fcall"]["calls"])

    await send(bus, "red-worker-1", "first")
    before = await calls()
    await asyncio.gather(*(send(bus, WORKERS[number % 2], number) for number in range(400)))
    got = {one: await bus.receive(one, limit=1000) for one in WORKERS}
    assert [one.payload for one in got["red-worker-1"]] == ["first", *range(0, 400, 2)]
    assert [one.payload for one in got["red-worker-2"]] == list(range(1, 400, 2))
    await asyncio.gather(*(bus.acknowledge([one]) for messages in got.values() for one in messages))
    assert await calls() - before < 20
    assert (await bus.get_communication_metrics())["backlog"] == 0


async def test_latency_is_counted_once(engine: Engine, bus: AgentCommunicationBus) -> None:
    await send(bus, "red-worker-1", 1, 2)
    await bus.escalate_to_management(sender_id="red-worker-1", payload="?")
    here = AgentCommunicationBus(engine, FLEET, ROOMY, agents=["red-worker-1", "red-1"])
    await here.receive_all()
    assert sum(here.latencies.counts) == 3
    again = AgentCommunicationBus(engine, FLEET, ROOMY)
    await again.attach(["red-worker-1"])
    assert [one.deliveries for one in await again.receive_all()] == [2, 2]
    assert again.latencies == bus.latencies == Latencies()  # the first time is what counts, where it came


async def test_an_answers_inbox_leaves_nothing_behind(engine: Engine, bus: AgentCommunicationBus) -> None:
    async def answer() -> None:
        (asked,) = await bus.receive("red-worker-1", wait_s=60)
        await bus.reply(asked, "yes")
        await bus.acknowledge([asked])

    answering = asyncio.create_task(answer())
    assert (await bus.request(sender_id="red-1", recipient_id="red-worker-1", timeout_s=60)).payload == "yes"
    await answering
    assert [name async for name in engine.client.scan_iter(engine.prefix.replace("[", "\\[") + ":*#*")] == []


async def test_what_no_engine_could_keep_is_refused(engine: Engine, bus: AgentCommunicationBus) -> None:
    keys, sent = Keyring(ROOMY.secret.encode()), engine.now_ms()
    model = Message(id="m", sender="red-1", recipient="red-worker-1", type=STATUS, sent_ms=sent, expires_ms=sent + 9000)
    for odd in ({"priority": 4}, {"priority": -1}, {"id": "m" * 256}):
        with pytest.raises(MessageRefused, match="at most 255 bytes, and its priority is from 0 to 3"):
            await bus.deliver(keys.signer("red-1").sign(msgspec.structs.replace(model, **odd)), recipient_id="red-worker-1")
    lying = keys.signer("red-1").sign(msgspec.structs.replace(model, deliveries=7))
    await bus.deliver(lying, recipient_id="red-worker-1")
    assert [one.deliveries for one in await bus.receive("red-worker-1")] == [1]


# -- the engine's functions


async def test_what_comes_again_keeps_its_priority(engine: Engine) -> None:
    inboxes = Inboxes(engine, SETTINGS)
    await inboxes.send([letter("a"), letter("b"), letter("urgent", priority=3)], now_ms=NOW)
    for receiver, at in (("host-1", NOW), ("host-2", NOW + 30_000)):
        (got,) = await inboxes.receive(receiver, [("r", 10)], now_ms=at)
        assert got is not None
        assert [one.id for one in got] == ["urgent", "a", "b"]
    await inboxes.send([letter("low", priority=0, sent_ms=NOW + 30_000)], now_ms=NOW + 30_000)
    again = [Delivery(one, 3, b"\xff" + one.encode()) for one in ("urgent", "a", "b")]
    assert await inboxes.receive("host-2", [("r", 10)], now_ms=NOW + 60_000) == [[*again, Delivery("low", 1, b"\xfflow")]]


async def test_a_call_hands_out_so_much_and_says_where_it_has_not_been(engine: Engine) -> None:
    inboxes = Inboxes(engine, SETTINGS)
    await inboxes.send([letter(f"{box}{n}", inbox=box) for box in "rqp" for n in range(3)], now_ms=NOW)
    wanted = [("r", 2), ("empty", 5), ("q", 5), ("p", 5)]
    first, none, second, third = await inboxes.receive("h", wanted, most=4, now_ms=NOW)
    assert ([one.id for one in first or ()], none, [one.id for one in second or ()]) == (["r0", "r1"], [], ["q0", "q1"])
    assert third is None
    assert await inboxes.acknowledge("h", [("q", ["q0", "q0", "q2"]), ("p", ["p0"]), ("r", ["r0"])], now_ms=NOW) == [
        ["q0", "q2"],
        ["p0"],
        [],
    ]
    assert await inboxes.backlog(now_ms=NOW) == {"r": 2, "q": 2, "p": 3}


async def test_what_nobody_fetches_goes_when_it_has_expired(engine: Engine) -> None:
    inboxes = Inboxes(engine, SETTINGS)
    await inboxes.send([letter("a", life_ms=1000), letter("b", life_ms=1000)], now_ms=NOW)
    await inboxes.receive("gone", [("r", 1)], now_ms=NOW)
    later = NOW + 40_000
    for number in range(200):  # each call looks into one inbox of the two
        await inboxes.send([letter(f"c{number}", inbox="q", sent_ms=later)], now_ms=later)
        await inboxes.receive("h", [("q", 1)], now_ms=later)
        await inboxes.acknowledge("h", [("q", [f"c{number}"])], now_ms=later)
    assert await engine.client.hgetall(engine.key("inboxes")) == {}
    assert (await inboxes.totals())["expired"] == 2
