"""The message bus over REST: the operator's mail, inboxes, refusals, dead messages, and its metrics."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from amas.clock import new_id
from amas.engine.hosts import HostFigures
from amas.errors import MessageForbidden, MessageRefused
from amas.messages.bus import AgentCommunicationBus
from amas.messages.fleet_bus import OPERATOR, fleet_bus
from amas.model.latency import Latencies
from amas.model.message import Message, MessageType
from amas.observe import names
from amas.policy.signatures import Keyring
from amas.server.agents import AgentBoard
from amas.server.plane import ControlPlane
from amas.settings import MessageSettings

from .conftest import FLEET, client_of, make_plane
from .test_fleet import scrape

pytestmark = pytest.mark.requirement("A3")
SETTINGS = MessageSettings(secret="a-secret-of-the-fleet", claim_s=0.1, retries=0, backlog_warning=2, backlog_critical=3)


@pytest.fixture
async def plane(engine, records, tmp_path) -> ControlPlane:
    plane = make_plane(engine, records, tmp_path)
    return ControlPlane(engine, plane.records, FLEET, plane.settings, tmp_path, messages=SETTINGS)


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(plane) as made:
        yield made


@pytest.fixture
def bus(engine) -> AgentCommunicationBus:
    """As a host has it."""
    return fleet_bus(engine, FLEET, SETTINGS)


async def test_the_operator_writes_to_one_and_to_many(client, bus: AgentCommunicationBus) -> None:
    sent = await client.post(
        "/api/messages", json={"recipient": "worker-1", "type": "system", "payload": {"a": 1}, "priority": 3}
    )
    assert sent.status_code == 201
    (got,) = await bus.receive("worker-1")
    assert (got.sender, got.type, got.payload, got.priority) == (OPERATOR, MessageType.SYSTEM, {"a": 1}, 3)
    assert sent.json() == {"sender": OPERATOR, "ids": {"worker-1": got.id}, "full": {}}
    many = (await client.post("/api/messages", json={"recipient": "layer:executive"})).json()
    assert list(many["ids"]) == ["coordinator-1"]  # the operator is of that layer, and isn't among those who are written to


async def test_a_question_comes_back_with_its_answer(client, bus: AgentCommunicationBus) -> None:
    async def answer() -> None:
        (question,) = await bus.receive("worker-2", wait_s=60)
        await bus.reply(question, question.payload + 1)

    answering = asyncio.ensure_future(answer())
    found = await client.post("/api/messages/ask", json={"recipient": "worker-2", "payload": 41, "timeout_s": 10})
    await answering
    assert (found.json()["payload"], found.json()["sender"], found.json()["recipient"]) == (42, "worker-2", OPERATOR)
    overdue = await client.post("/api/messages/ask", json={"recipient": "worker-2", "timeout_s": 0})
    assert (overdue.status_code, overdue.json()["code"]) == (504, "reply_overdue")


async def test_a_full_inbox_says_when_to_try_again(client) -> None:
    for _ in range(3):
        assert (await client.post("/api/messages", json={"recipient": "worker-1"})).status_code == 201
    full = await client.post("/api/messages", json={"recipient": "worker-1"})
    assert (full.status_code, full.json()["code"]) == (429, "inbox_full")
    assert int(full.headers["retry-after"]) >= 1
    many = (await client.post("/api/messages", json={"recipient": "pool:worker"})).json()
    assert (list(many["ids"]), list(many["full"])) == (["worker-2"], ["worker-1"])
    shown = (await client.get("/api/messages/inboxes/worker-1")).json()
    assert shown == {"agent_id": "worker-1", "held": 3, "state": "critical", "answers": 0}
    found = (await client.get("/api/messages")).json()
    assert (found["state"], found["backlog"], found["counts"]["sent"]) == ("critical", 4, 4)
    assert [one["agent_id"] for one in found["inboxes"]] == ["worker-1", "worker-2"]


async def test_forged_replayed_and_forbidden_messages_are_listed(client, engine, bus: AgentCommunicationBus) -> None:
    now = engine.now_ms()
    message = Message(
        id=new_id(), sender="coordinator-1", recipient="worker-1", type=MessageType.STATUS, sent_ms=now, expires_ms=now + 60_000
    )
    signed = Keyring.of(SETTINGS).signer("coordinator-1").sign(message)
    with pytest.raises(MessageRefused):
        await bus.deliver(signed[:-1] + bytes([signed[-1] ^ 1]), recipient_id="worker-1")
    await bus.deliver(signed, recipient_id="worker-1")
    with pytest.raises(MessageRefused):
        await bus.deliver(signed, recipient_id="worker-1")
    with pytest.raises(MessageForbidden):
        await bus.send_message(sender_id="worker-1", recipient_id="coordinator-1", message_type=MessageType.QUALITY_APPROVAL)
    listed = (await client.get("/api/messages/refused")).json()["items"]
    assert [one["why"] for one in listed] == ["forbidden", "replayed", "forged"]
    assert (listed[1]["message_id"], listed[1]["sender"], listed[1]["recipient"]) == (message.id, "coordinator-1", "worker-1")


async def test_the_operator_keeps_to_the_policy(client, bus: AgentCommunicationBus) -> None:
    refused = await client.post("/api/messages", json={"recipient": "worker-1", "type": "escalation"})
    assert (refused.status_code, refused.json()["code"]) == (403, "message_forbidden")
    (one,) = await bus.refusals()
    assert (one.why, one.sender) == ("forbidden", OPERATOR)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"recipient": "worker-3"}, 404),
        ({"recipient": OPERATOR}, 404),
        ({"recipient": "pool:nobody"}, 422),
        ({"recipient": "worker-1", "type": "gossip"}, 422),
        ({"recipient": "worker-1", "sender": "coordinator-1"}, 422),
    ],
)
async def test_what_makes_no_sense_is_refused(client, body: dict[str, str], status: int) -> None:
    assert (await client.post("/api/messages", json=body)).status_code == status
    assert (await client.get("/api/messages")).json()["backlog"] == 0


async def test_dead_messages_are_listed(client, bus: AgentCommunicationBus) -> None:
    sent = (await client.post("/api/messages", json={"recipient": "worker-1"})).json()
    await bus.receive("worker-1")
    async with asyncio.timeout(60):
        while not (items := (await client.get("/api/messages/dead")).json()["items"]):
            await bus.receive("worker-1")
    assert (items[0]["message_id"], items[0]["inbox"], items[0]["deliveries"]) == (sent["ids"]["worker-1"], "worker-1", 1)


async def test_without_a_secret_there_is_no_bus(engine, records, tmp_path) -> None:
    async with client_of(make_plane(engine, records, tmp_path)) as client:
        answer = await client.get("/api/messages")
    assert answer.status_code == 503
    assert "set AMAS_MESSAGE_SECRET" in answer.json()["detail"]


@pytest.mark.requirement("A12")
async def test_latency_is_added_up_over_hosts_that_come_and_go(plane: ControlPlane, client, hands) -> None:
    messages = Latencies()

    async def beat(*seconds: float) -> dict[str, float]:
        for each in seconds:
            messages.add(each)
        await plane.hosts.renew("h1", HostFigures(messages=messages), lease_s=60)
        plane.board = AgentBoard(plane.hosts)  # which hasn't looked yet
        return await scrape(plane)

    first = await beat(0.001, 0.005)
    assert (first[f"{names.MESSAGE_LATENCY}_count"], first[f"{names.MESSAGE_LATENCY}_bucket|0.001"]) == (2, 1)
    second = await beat(40.0)
    assert (second[f"{names.MESSAGE_LATENCY}_count"], second[f"{names.MESSAGE_LATENCY}_bucket|30.0"]) == (3, 2)
    assert second[f"{names.MESSAGE_LATENCY}_sum"] == pytest.approx(40.006)
    (host,) = await plane.hosts.all()
    again = msgspec.structs.replace(host, about=msgspec.structs.replace(host.about, pid=2))  # another process, from its start
    plane.deliveries.take([again])
    assert plane.deliveries.shown().buckets[-1] == (float("inf"), 6)
    await client.post("/api/messages", json={"recipient": "pool:worker"})
    found = await scrape(plane)
    assert (found[names.MESSAGE_QUEUE_DEPTH], found[f"{names.MESSAGES}_total|sent"]) == (2, 2)
