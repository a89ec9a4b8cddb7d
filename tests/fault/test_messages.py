"""A receiver is killed with SIGKILL in the midst of its mail; another process takes the inbox over."""

import asyncio
import sys
from itertools import pairwise

from amas.engine.connection import Engine
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.message import Message, MessageType
from amas.model.states import Layer
from amas.orchestration.bus import AgentCommunicationBus
from amas.settings import MessageSettings

SETTINGS = MessageSettings(secret="a-secret-of-the-fleet", claim_s=0.5)
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
from amas.orchestration.bus import AgentCommunicationBus
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
