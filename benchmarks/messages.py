"""`python -m benchmarks.messages send|receive ...`: one host's share of the bus under test, a process of its own.

Run by `benchmarks/parts/messages.py`, which says on standard input when to begin and when to stop. Both sides have as many agents
as they are told. Each sender numbers its messages to each recipient; who receives writes a line for each message that it handled,
and then, once the engine has taken the receipt, one for each that it acknowledged. The lines are with the kernel before anything
else is done, so they survive a kill -9.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Sequence

import uvloop

from amas.engine.connection import Engine
from amas.errors import InboxFull
from amas.messages.bus import AgentCommunicationBus
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.message import Message, MessageType
from amas.model.states import Layer
from amas.settings import MessageSettings

AGENTS = 100
"""On each side."""
SETTINGS = MessageSettings(secret="a-secret-of-the-benchmark")
TEXT = "x" * 200
"""What a message says besides its number and the time."""
FLEET = FleetSpec(
    name="bench",
    pools=(
        PoolSpec(name="lead", agent="a:b", capabilities=("bench.lead",), layer=Layer.EXECUTIVE),
        PoolSpec(name="sender", agent="a:b", capabilities=("bench.send",), lead="lead", replicas=AGENTS),
        PoolSpec(name="receiver", agent="a:b", capabilities=("bench.receive",), lead="lead", replicas=AGENTS),
    ),
)


async def _told() -> str:
    """Return the next word on standard input; "" at its end."""
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


def _tell(said: object) -> None:
    print(json.dumps(said), flush=True)


async def _send_one(bus: AgentCommunicationBus, sender: str, number: int) -> None:
    """Send message `number` of an agent, to one recipient after the other; try again while its inbox is full."""
    recipient = f"receiver-{(number + int(sender.rpartition('-')[2])) % AGENTS + 1}"
    while True:
        payload = [sender, number, time.monotonic(), TEXT]
        try:
            await bus.send_message(
                sender_id=sender, recipient_id=recipient, message_type=MessageType.SHARE_FINDINGS, payload=payload
            )
        except InboxFull as full:
            await asyncio.sleep(full.retry_after_s)
        else:
            return


async def _at_full_speed(bus: AgentCommunicationBus, sender: str, count: int) -> None:
    for number in range(count):
        await _send_one(bus, sender, number)


async def _by_chance(bus: AgentCommunicationBus, sender: str, count: int, per_s: float) -> None:
    """Send with exponential gaps, `per_s` messages a second on average."""
    chance = random.Random(sender)
    for number in range(count):
        await asyncio.sleep(chance.expovariate(per_s))
        await _send_one(bus, sender, number)


async def send(bus: AgentCommunicationBus, senders: Sequence[str], count: int, per_s: float) -> None:
    """Send `count` messages from each agent, `per_s` in all or, if that is 0, as many as go; tell what it took."""
    _tell("ready")
    await _told()
    began_s, cpu_s = time.monotonic(), time.process_time()
    each = per_s / len(senders)
    await asyncio.gather(*(_by_chance(bus, one, count, each) if per_s else _at_full_speed(bus, one, count) for one in senders))
    _tell({"began_s": began_s, "ended_s": time.monotonic(), "cpu_s": time.process_time() - cpu_s})


def _lines(kind: str, messages: Sequence[Message]) -> bytes:
    return "".join(f"{kind} {one.payload[0]} {one.recipient} {one.payload[1]}\n" for one in messages).encode()


async def _receive(bus: AgentCommunicationBus, ledger: int, taken_ms: list[float], stop: asyncio.Event) -> None:
    while not stop.is_set():
        messages = await bus.receive_all(wait_s=0.5)
        now = time.monotonic()
        taken_ms += [(now - one.payload[2]) * 1000 for one in messages]
        os.write(ledger, _lines("handled", messages))
        late = set(await bus.acknowledge(messages))
        os.write(ledger, _lines("acknowledged", [one for one in messages if one.id not in late]))


async def receive(bus: AgentCommunicationBus, agents: Sequence[str], ledger: int) -> None:
    """Receive for these agents until told to stop; tell what it took, and how long each message was under way."""
    listening = asyncio.create_task(bus.run())
    await bus.attach(agents)
    _tell("ready")
    taken_ms, stop = list[float](), asyncio.Event()
    receiving = asyncio.create_task(_receive(bus, ledger, taken_ms, stop))
    await _told()
    cpu_s = time.process_time()
    await _told()
    stop.set()
    await receiving
    listening.cancel()
    _tell({"cpu_s": time.process_time() - cpu_s, "taken_ms": taken_ms})


async def main(side: str, url: str, first: str, last: str, *rest: str) -> None:
    """`side`: send or receive; for agents `first` to `last`; then messages of each and rate, or the ledger's path."""
    agents = [f"{'sender' if side == 'send' else 'receiver'}-{number}" for number in range(int(first), int(last) + 1)]
    async with Engine(url) as engine:
        await engine.check()
        bus = AgentCommunicationBus(engine, FLEET, SETTINGS)
        if side == "send":
            await send(bus, agents, int(rest[0]), float(rest[1]))
        else:
            await receive(bus, agents, os.open(rest[0], os.O_WRONLY | os.O_CREAT | os.O_APPEND))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
