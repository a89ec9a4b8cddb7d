"""A host's mail: carries out what its agents say, and hands what others write to those that have `on_message`.

An agent's handler gets one message at a time, when the agent is idle; the message is acknowledged after the handler returned,
comes again after its claim where the handler raised or the host died, and is among the dead when that happened too often. A host
without handlers whose agents neither receive nor ask opens no bus and makes no call. The bus is told of an agent when it first
wants mail, so a host of thousands that never do says nothing of them; what comes for them waits in their inboxes.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, assert_never

import msgspec

from amas.agents.attempt import Seat
from amas.agents.mail import (
    Acknowledge,
    Ask,
    Broadcast,
    MailCall,
    MessageContext,
    Reached,
    Receive,
    Send,
    Subscribe,
    Surroundings,
)
from amas.agents.traces import handling
from amas.core.retry import Draw
from amas.engine.bell import came
from amas.engine.coalesce import Coalescer
from amas.engine.insist import PAUSE_MAX_S, insist
from amas.errors import EngineError
from amas.messages.bus import AgentCommunicationBus
from amas.model.latency import Latencies
from amas.model.message import Message
from amas.model.states import Priority
from amas.observe import events
from amas.observe.logging import Log
from amas.observe.tracing import process_tracing

MOVES_IN_A_CALL = 500
"""Agents that come or go; as the messages in one, some milliseconds of the engine's time."""
WAIT_S = 60.0
"""Seconds for which a reader waits before it looks again whether its agent is idle."""
HOLD_S = 5.0
"""Seconds for which a message that came in just as a task began waits for the agent, well within a claim; then the handler works
beside the task."""


class Mailroom:
    """One host's mail."""

    def __init__(
        self, open_bus: Callable[[], AgentCommunicationBus], around: Callable[[Seat], Surroundings], *, log: Log, draw: Draw
    ) -> None:
        """`open_bus` is called when the first agent needs it. `around`: what a handler has about it."""
        self._open, self._around, self._log, self._draw = open_bus, around, log, draw
        self._bus: AgentCommunicationBus | None = None
        self._wanted, self._closing = asyncio.Event(), False
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._handling: set[asyncio.Task[None]] = set()
        self._here: set[str] = set()
        self._moves = Coalescer(self._move, limit=MOVES_IN_A_CALL)
        self._group: asyncio.TaskGroup | None = None
        self._admitted: list[Seat] = []

    @property
    def bus(self) -> AgentCommunicationBus:
        """The host's bus, opened now where it wasn't."""
        if self._bus is None:
            self._bus = self._open()
            self._wanted.set()
        return self._bus

    @property
    def latencies(self) -> Latencies:
        """How long messages took to come here."""
        return self._bus.latencies if self._bus else Latencies()

    async def run(self) -> None:
        """Listen for those who wait, and hand out mail to handlers, until cancelled."""
        await self._wanted.wait()
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self.bus.run(), name="bus")
            self.admit(self._admitted)

    # -- who is here

    def admit(self, seats: Iterable[Seat]) -> None:
        """Hand out mail to those of these agents that have a handler, from now on."""
        for seat in seats:
            if not seat.agent.reads_messages or self._closing:
                continue
            if seat.idle is None:
                seat.idle = asyncio.Event()
                if not seat.running:
                    seat.idle.set()
            if self._group is None:
                self._admitted.append(seat)
                self._wanted.set()
            else:
                agent_id = seat.agent.agent_id
                context = MessageContext(self._around(seat), self.carry_out)
                self._readers[agent_id] = self._group.create_task(self._read(seat, context), name=f"mail of {agent_id}")

    def dismiss(self, agent_id: str) -> None:
        """Hand out no more mail to an agent, which has left; what it hasn't acknowledged is its next host's."""
        self._admitted = [seat for seat in self._admitted if seat.agent.agent_id != agent_id]
        reader = self._readers.pop(agent_id, None)
        if reader and reader not in self._handling:
            reader.cancel()
        if agent_id in self._here and self._group:
            self._here.discard(agent_id)
            self._group.create_task(self._part(agent_id, reader), name=f"leave of {agent_id}")

    async def _part(self, agent_id: str, reader: asyncio.Task[None] | None) -> None:
        if reader:
            await asyncio.wait((reader,))
        if agent_id not in self._here:  # it hasn't come back meanwhile
            with contextlib.suppress(EngineError):  # whoever receives for it next takes it from us
                await self._moves.put((agent_id, False))

    async def _present(self, agent_id: str) -> None:
        """Have the mail of an agent come to this process."""
        if agent_id not in self._here:
            self._here.add(agent_id)
            try:
                await self._moves.put((agent_id, True))
            except BaseException:
                self._here.discard(agent_id)
                raise

    async def _move(self, moves: list[tuple[str, bool]]) -> list[None]:
        """Tell the bus who came and went, in that order for each: what an agent did last counts."""
        last = dict(moves)
        if gone := [agent_id for agent_id, here in last.items() if not here]:
            await self.bus.detach(gone)
        if come := [agent_id for agent_id, here in last.items() if here]:
            await self.bus.attach(come)
        return [None] * len(moves)

    async def drain(self, limit_s: float) -> None:
        """Hand out nothing more, and give handlers that are at work up to `limit_s` seconds."""
        self._closing = True
        for reader in self._readers.values():
            if reader not in self._handling:
                reader.cancel()
        if self._handling:
            await asyncio.wait(self._handling, timeout=limit_s)

    # -- what agents say

    async def carry_out(self, agent_id: str, said: MailCall) -> Any:
        """Do what an agent asks for, in its name."""
        bus = self.bus
        match said:
            case Send():
                return await bus.send_message(
                    sender_id=agent_id,
                    recipient_id=said.recipient,
                    message_type=said.type,
                    payload=said.payload,
                    priority=Priority(said.priority),
                    reply_to=said.reply_to,
                )
            case Broadcast():
                told = await bus.broadcast_message(
                    sender_id=agent_id,
                    recipients=said.recipients,
                    message_type=said.type,
                    payload=said.payload,
                    priority=Priority(said.priority),
                )
                return Reached(told.ids, {one: error.retry_after_s for one, error in told.full.items()})
            case Ask():
                await self._present(agent_id)
                return await bus.request(
                    sender_id=agent_id,
                    recipient_id=said.recipient,
                    message_type=said.type,
                    payload=said.payload,
                    timeout_s=said.timeout_s,
                )
            case Receive():
                await self._present(agent_id)
                return await self._receive(agent_id, limit=said.limit, wait_s=said.wait_s)
            case Acknowledge():
                return await self._acknowledge([msgspec.structs.replace(one, recipient=agent_id) for one in said.messages])
            case Subscribe():
                return await bus.inboxes.subscribe(agent_id, said.topic, wanted=said.wanted)
            case other:
                assert_never(other)

    async def _receive(self, agent_id: str, *, limit: int, wait_s: float) -> list[Message]:
        return await insist(lambda: self.bus.receive(agent_id, limit=limit, wait_s=wait_s), draw=self._draw)

    async def _acknowledge(self, messages: Sequence[Message]) -> list[str]:
        return await insist(lambda: self.bus.acknowledge(messages), draw=self._draw)

    # -- what handlers get

    async def _read(self, seat: Seat, context: MessageContext) -> None:
        reader, idle = asyncio.current_task(), seat.idle
        assert reader is not None and idle is not None
        await self._present(context.agent_id)
        await self.bus.always_read(context.agent_id)
        while not self._closing and self._readers.get(context.agent_id) is reader:
            await idle.wait()
            try:
                messages = await self._receive(context.agent_id, limit=1, wait_s=WAIT_S)
            except EngineError as error:
                self._log.warning("the engine doesn't take our calls", event=events.ENGINE_TROUBLE, why=str(error))
                await asyncio.sleep(PAUSE_MAX_S)
                continue
            for message in messages:
                self._handling.add(reader)
                try:
                    await came(idle, HOLD_S)
                    await self._handle(seat, context, message)
                finally:
                    self._handling.discard(reader)

    async def _handle(self, seat: Seat, context: MessageContext, message: Message) -> None:
        """Hand one message to its agent, and acknowledge it where that didn't raise."""
        why = ""
        try:
            async with asyncio.timeout(seat.pool.timeout_s or None):
                with handling(process_tracing(), message, context.agent_id):
                    await seat.agent.on_message(context, message)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            why = "the agent's own code cancelled its handler"
        except (Exception, SystemExit) as error:  # noqa: BLE001  the agent's code may raise anything
            why = repr(error)
        if why:
            self._log.warning(
                "an agent failed on a message, which comes again unless that happened too often",
                event=events.MESSAGE_FAILED,
                agent_id=context.agent_id,
                message_id=message.id,
                deliveries=message.deliveries,
                why=why,
            )
            return
        with contextlib.suppress(EngineError):  # it comes again
            await self._acknowledge([message])
