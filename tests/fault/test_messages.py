"""A receiver is killed with SIGKILL in the midst of its mail; another process takes the inboxes over."""

import asyncio
import sys
from itertools import pairwise

from amas.engine.connection import Engine
from amas.messages.bus import AgentCommunicationBus
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.message import Message, MessageType
from amas.model.states import Layer
from amas.settings import MessageSettings

SETTINGS = MessageSettings(secret="a-secret-of-the-fleet", claim_s=3.0)
COUNT, SENDERS = 400, ("worker-1", "worker-2")
FLEET = FleetSpec(
    name="talk",
    pools=(
        PoolSpec(name="lead", agent="a:b", capabilities=("work.lead",), layer=Layer.EXECUTIVE),
        PoolSpec(name="worker", agent="a:b", capabilities=("work.do",), lead="lead", replicas=2),
    ),
)

VICTIM = """
import asyncio, sys
from amas.engine.connection import Engine
from amas.messages.bus import AgentCommunicationBus
from tests.fault.test_messages import FLEET, SETTINGS

async def main():
    async with Engine(sys.argv[1], cell=sys.argv[2]) as engine:
        bus = AgentCommunicationBus(engine, FLEET, SETTINGS)
        while True:
            for message in await bus.receive("lead-1", limit=20, wait_s=5):
                if not await bus.acknowledge([message]):
                    print(message.sender, message.payload, flush=True)

asyncio.run(main())
"""

HOST = """
import asyncio, sys
from amas.engine.connection import Engine
from amas.messages.bus import AgentCommunicationBus
from tests.fault.test_messages import FLEET, PATIENT

async def main():
    async with Engine(sys.argv[1], cell=sys.argv[2]) as engine:
        bus = AgentCommunicationBus(engine, FLEET, PATIENT)
        listening = asyncio.create_task(bus.run())
        await bus.attach(["worker-1", "worker-2"])
        while True:
            messages = await bus.receive_all(limit=10, wait_s=5)
            for message in messages:
                print("handled", message.recipient, message.payload, flush=True)
            assert not await bus.acknowledge(messages)
            for message in messages:
                print("acknowledged", message.recipient, message.payload, flush=True)

asyncio.run(main())
"""
PATIENT = MessageSettings(secret=SETTINGS.secret, claim_s=3600)


async def _send(bus: AgentCommunicationBus, sender: str) -> None:
    for number in range(COUNT):
        await bus.send_message(sender_id=sender, recipient_id="lead-1", message_type=MessageType.STATUS, payload=number)


async def test_nothing_is_lost_and_the_order_stays_when_a_receiver_is_killed(engine: Engine) -> None:
    cell = engine.prefix.partition("{")[2].rstrip("}")
    bus = AgentCommunicationBus(engine, FLEET, SETTINGS)
    sending = asyncio.gather(*(_send(bus, sender) for sender in SENDERS))
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", VICTIM, engine.url, cell, stdout=asyncio.subprocess.PIPE)
    assert victim.stdout
    lines = [await victim.stdout.readline() for _ in range(50)]
    victim.kill()
    lines += [line async for line in victim.stdout]
    await victim.wait()
    await sending
    done = {(sender, int(number)) for sender, number in (line.decode().split() for line in lines)}
    assert 50 <= len(done) < COUNT * len(SENDERS)
    rest: list[Message] = []
    async with asyncio.timeout(60):
        while (await bus.get_communication_metrics())["backlog"]:
            got = await bus.receive("lead-1", wait_s=5)
            assert await bus.acknowledge(got) == []
            rest += got
    seen = done | {(one.sender, one.payload) for one in rest}
    missed = {(sender, number) for sender in SENDERS for number in range(COUNT)} - seen
    assert (await bus.inboxes.totals())["acknowledged"] == COUNT * len(SENDERS)
    assert len(missed) <= 1  # acknowledged, and killed before it could say so
    for sender in SENDERS:
        numbers = [one.payload for one in rest if one.sender == sender]
        assert all(before < after for before, after in pairwise(numbers))


async def test_a_host_that_takes_over_goes_on_at_once_where_the_killed_one_was(engine: Engine) -> None:
    """A dead host's claims would hold for an hour; its agents' mail moves with them all the same."""
    cell = engine.prefix.partition("{")[2].rstrip("}")
    bus = AgentCommunicationBus(engine, FLEET, PATIENT)

    async def send(recipient: str) -> None:
        for number in range(COUNT):
            await bus.send_message(sender_id="lead-1", recipient_id=recipient, message_type=MessageType.STATUS, payload=number)

    sending = asyncio.gather(*map(send, SENDERS))
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", HOST, engine.url, cell, stdout=asyncio.subprocess.PIPE)
    assert victim.stdout
    lines = [await victim.stdout.readline() for _ in range(55)]
    victim.kill()
    lines += [line async for line in victim.stdout]
    await victim.wait()
    await sending
    said = [tuple(line.decode().split()) for line in lines if line.endswith(b"\n")]
    successor = AgentCommunicationBus(engine, FLEET, PATIENT)
    await successor.attach(SENDERS)
    rest: list[Message] = []
    async with asyncio.timeout(60):
        while (await bus.get_communication_metrics())["backlog"]:
            got = await successor.receive_all(wait_s=5)
            assert await successor.acknowledge(got) == []
            rest += got
    again = {(one.recipient, str(one.payload)) for one in rest}
    handled, acknowledged = (
        {(who, number) for kind, who, number in said if kind == word} for word in ("handled", "acknowledged")
    )
    assert handled | again == {(agent_id, str(number)) for agent_id in SENDERS for number in range(COUNT)}
    assert acknowledged.isdisjoint(again)
    for agent_id in SENDERS:
        numbers = [one.payload for one in rest if one.recipient == agent_id]
        assert all(before < after for before, after in pairwise(numbers))
