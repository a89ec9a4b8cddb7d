"""`CommunicationBus`: programs write to agents, and in agents' names.

Who runs such a program can read the fleet's secret and so may send as any agent; the hierarchy's policy holds all the same.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from amas.client import Fleet
from amas.messages.bus import AgentCommunicationBus, Told
from amas.messages.fleet_bus import fleet_bus
from amas.model.fleet import FleetSpec
from amas.model.message import Message, MessageType
from amas.model.states import Priority
from amas.model.task import Json
from amas.platforms.local.secret import message_settings
from amas.programs.link import Link
from amas.sealing import read_seal

T = TypeVar("T")


class CommunicationBus:
    """The bus of the running fleet. What each method raises is said in `amas.messages.bus`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._opened: tuple[Fleet, AgentCommunicationBus] | None = None

    async def send_message(
        self,
        *,
        sender_id: str,
        recipient_id: str,
        message_type: MessageType,
        payload: Json = None,
        priority: Priority = Priority.NORMAL,
    ) -> str:
        """Put a message into one agent's inbox and return its id, once the engine has it."""
        return await self._with(
            lambda bus: bus.send_message(
                sender_id=sender_id, recipient_id=recipient_id, message_type=message_type, payload=payload, priority=priority
            )
        )

    async def broadcast_message(
        self,
        *,
        sender_id: str,
        recipients: str,
        message_type: MessageType,
        payload: Json = None,
        priority: Priority = Priority.NORMAL,
    ) -> Told:
        """Put a message into the inbox of everybody that `recipients` stands for, except the sender's."""
        return await self._with(
            lambda bus: bus.broadcast_message(
                sender_id=sender_id, recipients=recipients, message_type=message_type, payload=payload, priority=priority
            )
        )

    async def share_context(self, *, sender_id: str, recipients: str, context: Json) -> Told:
        """Tell everybody that `recipients` stands for what the sender knows."""
        return await self._with(lambda bus: bus.share_context(sender_id=sender_id, recipients=recipients, context=context))

    async def escalate_to_management(self, *, sender_id: str, payload: Json) -> str:
        """Hand a question to the sender's lead and return the message's id."""
        return await self._with(lambda bus: bus.escalate_to_management(sender_id=sender_id, payload=payload))

    async def request(
        self,
        *,
        sender_id: str,
        recipient_id: str,
        message_type: MessageType = MessageType.HELP_REQUEST,
        payload: Json = None,
        timeout_s: float = 60.0,
    ) -> Message:
        """Send a message and return the answer; ReplyOverdue when none came within `timeout_s` seconds."""
        return await self._with(
            lambda bus: bus.request(
                sender_id=sender_id,
                recipient_id=recipient_id,
                message_type=message_type,
                payload=payload,
                timeout_s=timeout_s,
            )
        )

    async def get_communication_metrics(self) -> dict[str, Any]:
        """Return `state` (the worst inbox's), `backlog` in all, `inboxes` by agent with `held` and `state`, and the counters."""
        return await self._with(AgentCommunicationBus.get_communication_metrics)

    async def _with(self, act: Callable[[AgentCommunicationBus], Awaitable[T]]) -> T:
        """Return what comes of the fleet's bus, opened where it isn't."""

        async def ask(fleet: Fleet, spec: FleetSpec) -> T:
            if self._opened is None or self._opened[0] is not fleet:
                self._opened = fleet, fleet_bus(fleet.engine, spec, message_settings(self._link.home), seal=read_seal())
            return await act(self._opened[1])

        return await self._link.ask(ask)
