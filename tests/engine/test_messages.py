"""Inboxes and the bus on a real engine: order, redelivery, expiry, back-pressure, and what is refused."""

import asyncio
import random

import msgspec
import pytest

from amas.clock import new_id
from amas.engine.connection import Engine
from amas.engine.inbox import Delivery, Fate, Inboxes, Letter
from amas.errors import InboxFull, MessageForbidden, MessageRefused
from amas.messages.bus import AgentCommunicationBus, backlog_state
from amas.model.authority import Right
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.message import Message, MessageType
from amas.model.states import Layer
from amas.policy.signatures import Keyring, Signer
from amas.settings import MessageSettings

SETTINGS = MessageSettings(secret="a-secret-of-the-fleet", backlog_warning=3, backlog_critical=5)
NOW = 1_800_000_000_000
CLAIM_MS = 30_000
STATUS = MessageType.STATUS


def pool(name: str, layer: Layer, lead: str = "", replicas: int = 1) -> PoolSpec:
    return PoolSpec(name=name, agent="a:b", capabilities=(f"work.{name}",), layer=layer, lead=lead, replicas=replicas)


FLEET = FleetSpec(
    name="talk",
    pools=(
        pool("chief", Layer.EXECUTIVE),
        pool("red", Layer.MANAGEMENT, "chief"),
        pool("blue", Layer.MANAGEMENT, "chief"),
        pool("red-worker", Layer.SPECIALIST, "red", replicas=2),
        pool("blue-worker", Layer.SPECIALIST, "blue"),
    ),
)


def letter(
    message_id: str, *, sender: str = "s", inbox: str = "r", priority: int = 1, sent_ms: int = NOW, life_ms: int = 300_000
) -> Letter:
    times, body = (sent_ms, sent_ms + life_ms), b"\xff" + message_id.encode()
    return Letter.of(inbox, body, message_id=message_id, sender=sender, priority=priority, times_ms=times)


async def finish(inboxes: Inboxes, receiver: str, message_ids: list[str], *, at: int = NOW) -> list[str]:
    (stale,) = await inboxes.acknowledge(receiver, [("r", message_ids)], now_ms=at)
    return stale


@pytest.fixture
def inboxes(engine: Engine) -> Inboxes:
    return Inboxes(engine, SETTINGS)


@pytest.fixture
def bus(engine: Engine) -> AgentCommunicationBus:
    return AgentCommunicationBus(engine, FLEET, SETTINGS)


async def take(inboxes: Inboxes, receiver: str = "host-1", *, at: int = NOW, limit: int = 100) -> list[Delivery]:
    (got,) = await inboxes.receive(receiver, [("r", limit)], now_ms=at)
    assert got is not None
    return got


def ids(found: list[Delivery]) -> list[str]:
    return [one.id for one in found]


async def fates(inboxes: Inboxes, *letters: Letter, at: int = NOW, resend: bool = False) -> list[Fate]:
    return [receipt.fate for receipt in await inboxes.send(letters, resend=resend, now_ms=at)]


async def test_messages_come_by_priority_and_then_in_their_order(inboxes: Inboxes) -> None:
    await inboxes.send([letter("a"), letter("b"), letter("urgent", priority=3)], now_ms=NOW)
    await inboxes.send([letter("c"), letter("later", priority=0)], now_ms=NOW)
    got = await take(inboxes)
    assert ids(got) == ["urgent", "a", "b", "c", "later"]
    assert got[0].body == b"\xffurgent"
    assert await finish(inboxes, "host-1", ids(got)) == []
    assert await inboxes.backlog(now_ms=NOW) == {}


async def test_what_a_lost_receiver_had_comes_again_whole_and_in_order(inboxes: Inboxes) -> None:
    await inboxes.send([letter("a"), letter("b")], now_ms=NOW)
    assert ids(await take(inboxes, limit=1)) == ["a"]
    assert ids(await take(inboxes, at=NOW + 1000, limit=1)) == ["b"]
    assert await take(inboxes, "host-2", at=NOW + CLAIM_MS) == []  # the first host's last claim holds the inbox
    again = await take(inboxes, "host-2", at=NOW + 1000 + CLAIM_MS)
    assert [(one.id, one.deliveries) for one in again] == [("a", 2), ("b", 2)]
    assert await finish(inboxes, "host-1", ["a"], at=NOW + 1001 + CLAIM_MS) == ["a"]
    assert await finish(inboxes, "host-2", ["a", "b"], at=NOW + 1001 + CLAIM_MS) == []


async def test_after_three_retries_a_message_is_dead(inboxes: Inboxes) -> None:
    await inboxes.send([letter("a")], now_ms=NOW)
    delivered = [[one.deliveries for one in await take(inboxes, at=NOW + turn * CLAIM_MS)] for turn in range(5)]
    assert delivered == [[1], [2], [3], [4], []]
    (dead,) = await inboxes.dead()
    assert (dead.message_id, dead.deliveries, dead.body) == ("a", 4, b"\xffa")
    assert (await inboxes.totals())["dead"] == 1
    assert await inboxes.backlog(now_ms=NOW + 5 * CLAIM_MS) == {}


async def test_an_expired_message_reaches_nobody(inboxes: Inboxes) -> None:
    await inboxes.send([letter("a", life_ms=5000), letter("b")], now_ms=NOW)
    assert ids(await take(inboxes, at=NOW + 5000)) == ["b"]
    assert (await inboxes.totals())["expired"] == 1
    assert await fates(inboxes, letter("c", life_ms=0)) == [Fate.EXPIRED]


async def test_a_repeat_changes_nothing_and_a_replay_is_audited(inboxes: Inboxes) -> None:
    assert await fates(inboxes, letter("a")) == [Fate.TAKEN]
    assert await fates(inboxes, letter("a"), resend=True) == [Fate.SAME]
    await finish(inboxes, "host-1", ids(await take(inboxes)))
    assert await fates(inboxes, letter("a"), at=NOW + 59_000) == [Fate.REPLAYED]
    assert await fates(inboxes, letter("a"), at=NOW + 61_000) == [Fate.STALE]
    assert await take(inboxes, at=NOW + 61_000) == []
    assert [(one.why, one.message_id, one.body) for one in await inboxes.refusals()] == [
        ("stale", "a", b"\xffa"),
        ("replayed", "a", b"\xffa"),
    ]


async def test_a_full_inbox_refuses_until_there_is_room(inboxes: Inboxes) -> None:
    letters = [letter(f"m{n}") for n in range(7)]
    receipts = await inboxes.send(letters, now_ms=NOW)
    assert [one.fate for one in receipts] == [Fate.TAKEN] * 5 + [Fate.FULL] * 2
    assert (receipts[-1].held, receipts[-1].retry_ms > 0) == (5, True)
    assert await fates(inboxes, letter("other", inbox="q")) == [Fate.TAKEN]
    await finish(inboxes, "host-1", ids(await take(inboxes, limit=2)))
    assert await fates(inboxes, *letters[5:]) == [Fate.TAKEN] * 2
    assert ids(await take(inboxes)) == ["m2", "m3", "m4", "m5", "m6"]


async def test_one_who_fills_inboxes_that_nobody_reads_is_rationed_and_nobody_else(inboxes: Inboxes) -> None:
    """Each inbox was far from full; together they took the engine's memory."""

    def large(number: int, sender: str = "flood") -> Letter:
        times_ms = (NOW, NOW + 300_000)
        return Letter.of(
            f"l{number}", bytes(1 << 16), message_id=f"{sender}{number}", sender=sender, priority=1, times_ms=times_ms
        )

    ration = [large(number) for number in range(600)]  # 37 MiB of the 32
    some = [letter(f"s{number}", inbox=f"s{number}") for number in range(1999)]
    await inboxes.send(some, now_ms=NOW)
    assert await fates(inboxes, *ration[:50]) == [Fate.TAKEN] * 50, "nobody is while little lies unread"
    receipts = [receipt for first in range(50, 600, 50) for receipt in await inboxes.send(ration[first : first + 50], now_ms=NOW)]
    taken = [receipt.fate for receipt in receipts].count(Fate.TAKEN)
    assert 500 < taken < 520 and {receipt.fate for receipt in receipts[taken:]} == {Fate.FULL}
    assert (receipts[-1].held, receipts[-1].retry_ms) == (0, 60_000 - NOW % 60_000)
    assert await fates(inboxes, letter("tiny", inbox="t", sender="flood"), large(1, "other")) == [Fate.FULL, Fate.TAKEN]
    later = NOW + 60_000 - NOW % 60_000
    assert await fates(inboxes, letter("tiny", inbox="t", sender="flood"), at=later) == [Fate.TAKEN]


def test_backlog_states() -> None:
    assert [backlog_state(held, MessageSettings()) for held in (999, 1000, 4999, 5000)] == [
        "ok",
        "warning",
        "warning",
        "critical",
    ]


# -- the bus


def signed(engine: Engine, sender: str, recipient: str, *, secret: str = SETTINGS.secret, ago_ms: int = 0) -> bytes:
    sent = engine.now_ms() - ago_ms
    message = Message(id=new_id(), sender=sender, recipient=recipient, type=STATUS, sent_ms=sent, expires_ms=sent + 300_000)
    return Keyring(secret.encode()).signer(sender).sign(message)


async def test_a_message_arrives_signed_and_whole(bus: AgentCommunicationBus) -> None:
    sent = await bus.send_message(sender_id="red-worker-1", recipient_id="red-1", message_type=STATUS, payload={"done": 1})
    (got,) = await bus.receive("red-1")
    assert (got.id, got.sender, got.payload, got.deliveries) == (sent, "red-worker-1", {"done": 1}, 1)
    assert await bus.acknowledge([got]) == []
    assert await bus.receive("red-1") == []


async def test_an_agent_on_another_host_keeps_its_inbox(engine: Engine, bus: AgentCommunicationBus) -> None:
    await bus.send_message(sender_id="red-1", recipient_id="red-worker-1", message_type=STATUS)
    async with Engine(engine.url, cell=engine.prefix.partition("{")[2].rstrip("}")) as other:
        (got,) = await AgentCommunicationBus(other, FLEET, SETTINGS).receive("red-worker-1")
    assert got.sender == "red-1"


async def test_a_forged_message_is_refused_and_audited(engine: Engine, bus: AgentCommunicationBus) -> None:
    forged = signed(engine, "red-1", "red-worker-1", secret="another-secret-entirely")
    changed = signed(engine, "red-1", "red-worker-1").replace(b"status", b"system")
    for body in (forged, changed):
        with pytest.raises(MessageRefused, match="forged"):
            await bus.deliver(body, recipient_id="red-worker-1")
    with pytest.raises(MessageRefused, match="misdirected"):
        await bus.deliver(signed(engine, "red-1", "red-worker-2"), recipient_id="red-worker-1")
    assert await bus.receive("red-worker-1") == []
    assert [(one.why, one.sender) for one in await bus.refusals()] == [("forged", "red-1")] * 3


async def test_an_agents_key_signs_for_nobody_else(engine: Engine, bus: AgentCommunicationBus) -> None:
    mine = Keyring(SETTINGS.secret.encode()).signer("red-worker-1")
    sent = engine.now_ms()
    message = Message(id=new_id(), sender="red-1", recipient="red-worker-2", type=STATUS, sent_ms=sent, expires_ms=sent + 9000)
    with pytest.raises(ValueError, match="can't sign as"):
        mine.sign(message)
    with pytest.raises(MessageRefused, match="forged"):
        await bus.deliver(Signer("red-1", mine._key).sign(message), recipient_id="red-worker-2")


async def test_what_was_put_past_the_bus_is_found_out_by_the_receiver(engine: Engine, bus: AgentCommunicationBus) -> None:
    sent = engine.now_ms()
    for body in (signed(engine, "red-1", "red-worker-1", secret="another-secret-entirely"), b"noise"):
        times = (sent, sent + 9000)
        past = Letter.of("red-worker-1", body, message_id=new_id(), sender="red-1", priority=1, times_ms=times)
        await bus.inboxes.send([past])
    await bus.send_message(sender_id="red-1", recipient_id="red-worker-1", message_type=STATUS)
    assert [one.sender for one in await bus.receive("red-worker-1")] == ["red-1"]
    assert [one.why for one in await bus.refusals()] == ["forged", "forged"]
    assert (await bus.get_communication_metrics())["backlog"] == 1


async def test_what_a_sender_may_not_say_is_found_out_by_the_receiver(engine: Engine, bus: AgentCommunicationBus) -> None:
    sent, head = engine.now_ms(), (new_id(), "red-worker-1", "blue-worker-1")
    message = Message(id=head[0], sender=head[1], recipient=head[2], type=STATUS, sent_ms=sent, expires_ms=sent + 9000)
    body = Keyring(SETTINGS.secret.encode()).signer(head[1]).sign(message)
    times = (sent, sent + 9000)
    await bus.inboxes.send([Letter.of(head[2], body, message_id=head[0], sender=head[1], priority=1, times_ms=times)])
    assert await bus.receive("blue-worker-1") == []
    assert [(one.why, one.sender) for one in await bus.refusals()] == [("forbidden", "red-worker-1")]


async def test_a_replayed_message_is_refused_and_audited(engine: Engine, bus: AgentCommunicationBus) -> None:
    body = signed(engine, "red-1", "red-worker-1")
    await bus.deliver(body, recipient_id="red-worker-1")
    assert await bus.acknowledge(await bus.receive("red-worker-1")) == []
    with pytest.raises(MessageRefused, match="replayed"):
        await bus.deliver(body, recipient_id="red-worker-1")
    with pytest.raises(MessageRefused, match="stale"):
        await bus.deliver(signed(engine, "red-1", "red-worker-1", ago_ms=70_000), recipient_id="red-worker-1")
    assert await bus.receive("red-worker-1") == []
    assert [one.why for one in await bus.refusals()] == ["stale", "replayed"]


async def test_a_forbidden_message_is_refused_and_audited(engine: Engine, bus: AgentCommunicationBus) -> None:
    with pytest.raises(MessageForbidden, match="no right to write to others"):
        await bus.send_message(sender_id="red-worker-1", recipient_id="blue-worker-1", message_type=STATUS)
    with pytest.raises(MessageForbidden, match="no right to write to others"):
        await bus.deliver(signed(engine, "red-worker-1", "blue-worker-1"), recipient_id="blue-worker-1")
    with pytest.raises(MessageForbidden, match="is no agent of this fleet"):
        await bus.send_message(sender_id="red-1", recipient_id="ghost-1", message_type=STATUS)
    assert await bus.receive("blue-worker-1") == []
    assert [one.why for one in await bus.refusals()] == ["forbidden"] * 3


async def test_a_fleets_own_rights_count(engine: Engine) -> None:
    pools = tuple(
        msgspec.structs.replace(one, rights=frozenset({Right.MESSAGE})) if one.name == "red-worker" else one
        for one in FLEET.pools
    )
    bus = AgentCommunicationBus(engine, FleetSpec(name="talk", pools=pools), SETTINGS)
    await bus.send_message(sender_id="red-worker-1", recipient_id="blue-worker-1", message_type=STATUS)
    assert [one.sender for one in await bus.receive("blue-worker-1")] == ["red-worker-1"]
    with pytest.raises(MessageForbidden, match="no right to escalate"):
        await bus.escalate_to_management(sender_id="red-worker-1", payload="?")


async def test_back_pressure_is_one_clear_error(bus: AgentCommunicationBus) -> None:
    for _ in range(5):
        await bus.send_message(sender_id="red-1", recipient_id="red-worker-1", message_type=STATUS)
    with pytest.raises(InboxFull, match="holds 5 messages and takes no more: try again in") as full:
        await bus.send_message(sender_id="red-1", recipient_id="red-worker-1", message_type=STATUS)
    assert full.value.retry_after_s > 0
    told = await bus.share_context(sender_id="red-1", recipients="team:red", context={"k": 1})
    assert (set(told.ids), set(told.full)) == ({"red-worker-2"}, {"red-worker-1"})
    found = await bus.get_communication_metrics()
    assert (found["state"], found["backlog"], found["refused_full"]) == ("critical", 6, 2)
    assert found["inboxes"]["red-worker-2"] == {"held": 1, "state": "ok"}


@pytest.mark.parametrize(
    ("recipients", "expected"),
    [
        ("pool:red-worker", {"red-worker-1", "red-worker-2"}),
        ("team:chief", {"red-1", "blue-1"}),
        ("layer:specialist", {"red-worker-1", "red-worker-2", "blue-worker-1"}),
        ("capability:work.blue-worker", {"blue-worker-1"}),
        ("topic:prices", {"blue-worker-1"}),
    ],
)
async def test_a_broadcast_reaches_whom_it_names(bus: AgentCommunicationBus, recipients: str, expected: set[str]) -> None:
    await bus.inboxes.subscribe("blue-worker-1", "prices")
    told = await bus.broadcast_message(sender_id="chief-1", recipients=recipients, message_type=STATUS, payload="hear")
    assert set(told.ids) == expected
    for agent_id, message_id in told.ids.items():
        assert [(one.id, one.payload) for one in await bus.receive(agent_id)] == [(message_id, "hear")]


async def test_a_request_gets_its_answer_and_leaves_other_mail_alone(engine: Engine) -> None:
    bus = AgentCommunicationBus(engine, FLEET, SETTINGS, agents=["red-worker-1", "chief-1"])

    async def answer() -> None:
        (asked,) = await bus.receive("red-worker-1", wait_s=60)
        await bus.send_message(sender_id="red-1", recipient_id="chief-1", message_type=STATUS)
        await bus.reply(asked, {"sum": 3})
        await bus.acknowledge([asked])

    listening, answering = asyncio.create_task(bus.run()), asyncio.create_task(answer())
    got = await bus.request(sender_id="chief-1", recipient_id="red-worker-1", payload={"add": [1, 2]}, timeout_s=60)
    await answering
    listening.cancel()
    assert (got.payload, got.sender, got.type) == ({"sum": 3}, "red-worker-1", MessageType.HELP_RESPONSE)
    assert [one.sender for one in await bus.receive("chief-1")] == ["red-1"]


async def test_a_question_climbs_to_the_lead(bus: AgentCommunicationBus) -> None:
    await bus.escalate_to_management(sender_id="red-worker-1", payload="which?")
    assert [(one.type, one.payload) for one in await bus.receive("red-1")] == [(MessageType.ESCALATION, "which?")]
    with pytest.raises(MessageForbidden, match="only climbs"):
        await bus.send_message(sender_id="red-1", recipient_id="red-worker-1", message_type=MessageType.ESCALATION)


async def test_nothing_is_lost_or_out_of_order_while_receivers_die(inboxes: Inboxes) -> None:
    """Receivers take over from each other at random, and each acknowledges a prefix of what it got."""
    rng, now, sent, done = random.Random(7), NOW, 0, list[str]()
    while len(done) < 60:
        now += CLAIM_MS + 1
        wanted = [letter(f"{n:03}", sent_ms=now) for n in range(sent, min(sent + 3, 60))]
        sent += sum(fate is Fate.TAKEN for fate in await fates(inboxes, *wanted, at=now))
        receiver = f"host-{rng.randrange(3)}"
        got = ids(await take(inboxes, receiver, at=now))
        prefix = got[: rng.randrange(1, len(got) + 1)]
        assert await finish(inboxes, receiver, prefix, at=now) == []
        done += prefix
    assert done == [f"{n:03}" for n in range(60)]
