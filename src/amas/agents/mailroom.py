"""A host's mail: carries out what its agents say, and hands what others write to those that have `on_message`.

An agent's handler gets one message at a time, when the agent is idle; the message is acknowledged after the handler returned,
comes again after its claim where the handler raised or the host died, and is among the dead when that happened too often. A host
without handlers whose agents neither receive nor ask opens no bus and makes no call.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, assert_never

import msgspec

from amas.agents.attempt import Seat
from amas.agents.insist import PAUSE_MAX_S, insist
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
from amas.core.retry import Draw
from amas.errors import EngineError, InboxFull
from amas.model.latency import Latencies
from amas.model.message import Message, MessageType
from amas.model.states import Priority
from amas.model.task import Json
from amas.observe import events
from amas.observe.logging import Log

WAIT_S = 60.0
"""Seconds for which a reader waits before it looks again whether its agent is idle."""
HOLD_S = 5.0
"""Seconds for which a message that came in just as a task began waits for the agent, well within a claim; then the handler works
beside the task."""


class Told(Protocol):
    """What became of a message to many."""

    @property
    def ids(self) -> dict[str, str]:
        """By agent."""

    @property
    def full(self) -> dict[str, InboxFull]:
        """By agent."""


class Subscriptions(Protocol):
    """Who hears of which topic."""

    async def subscribe(self, agent_id: str, topic: str, *, wanted: bool = True) -> None:
        """Have an agent hear of it, or no longer."""


class Bus(Protocol):
    """`orchestration.bus.AgentCommunicationBus`, which stands above this package."""

    @property
    def inboxes(self) -> Subscriptions:
        """The engine's side."""

    @property
    def latencies(self) -> Latencies:
        """How long messages took to come here."""

    async def run(self) -> None:
        """Listen until cancelled."""

    async def send_message(
        self,
        *,
        sender_id: str,
        recipient_id: str,
        message_type: MessageType,
        payload: Json = None,
        priority: Priority = Priority.NORMAL,
        reply_to: str = "",
    ) -> str:
        """Return the id."""

    async def broadcast_message(
        self,
        *,
        sender_id: str,
        recipients: str,
        message_type: MessageType,
        payload: Json = None,
        priority: Priority = Priority.NORMAL,
    ) -> Told:
        """Return whom it reached."""

    async def request(
        self,
        *,
        sender_id: str,
        recipient_id: str,
        message_type: MessageType = MessageType.HELP_REQUEST,
        payload: Json = None,
        timeout_s: float = 60.0,
    ) -> Message:
        """Return the answer."""

    async def receive(self, agent_id: str, *, limit: int = 100, wait_s: float = 0.0) -> list[Message]:
        """Return messages."""

    async def always_read(self, agent_id: str) -> None:
        """Hear that an agent's mail is always read."""

    async def acknowledge(self, messages: Sequence[Message]) -> list[str]:
        """Return the ids of those that are another's now."""


class Mailroom:
    """One host's mail."""

    def __init__(self, open_bus: Callable[[], Bus], seats: Iterable[Seat], *, log: Log, draw: Draw) -> None:
        """`open_bus` is called when the first agent needs it."""
        self._open, self._log, self._draw = open_bus, log, draw
        self._bus: Bus | None = None
        self._opened, self._closing = asyncio.Event(), False
        self._readers: dict[asyncio.Task[None], Seat] = {}
        self._handling: set[asyncio.Task[None]] = set()
        self._reading = [seat for seat in seats if seat.agent.reads_messages]
        for seat in self._reading:
            seat.idle = asyncio.Event()
            seat.idle.set()

    @property
    def bus(self) -> Bus:
        """The host's bus, opened now where it wasn't."""
        if self._bus is None:
            self._bus = self._open()
            self._opened.set()
        return self._bus

    @property
    def latencies(self) -> Latencies:
        """How long messages took to come here."""
        return self._bus.latencies if self._bus else Latencies()

    async def run(self, around: Callable[[Seat], Surroundings]) -> None:
        """Listen for those who wait, and hand out mail to handlers, until cancelled. `around`: what a handler has about it."""
        if not self._reading:
            await self._opened.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.bus.run(), name="bus")
            for seat in self._reading:
                context = MessageContext(around(seat), self.carry_out)
                self._readers[group.create_task(self._read(seat, context), name=f"mail of {context.agent_id}")] = seat

    async def drain(self, limit_s: float) -> None:
        """Hand out nothing more, and give handlers that are at work up to `limit_s` seconds."""
        self._closing = True
        for reader in self._readers:
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
                return await bus.request(
                    sender_id=agent_id,
                    recipient_id=said.recipient,
                    message_type=said.type,
                    payload=said.payload,
                    timeout_s=said.timeout_s,
                )
            case Receive():
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
        await self.bus.always_read(context.agent_id)
        while not self._closing:
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
                    await _until(idle, HOLD_S)
                    await self._handle(seat, context, message)
                finally:
                    self._handling.discard(reader)

    async def _handle(self, seat: Seat, context: MessageContext, message: Message) -> None:
        """Hand one message to its agent, and acknowledge it where that didn't raise."""
        why = ""
        try:
            async with asyncio.timeout(seat.pool.timeout_s or None):
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


async def _until(event: asyncio.Event, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        pass
