"""Messages as agents write and read them: what may be said, and `Correspondent`, which tasks' contexts and handlers' are.

Who sends is never said: the host puts in the agent that the call comes from, so that an isolated child, whose calls travel as
these structs (`frames.py`), can speak for nobody else. The host's side is `mailroom.py`. Nothing of the engine is imported here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from amas.artifacts.store import ArtifactStore
from amas.errors import MessageError
from amas.model.authority import Member
from amas.model.message import Message, MessageType, Sent
from amas.model.states import Priority
from amas.model.task import Json
from amas.observe.logging import Log

T = TypeVar("T")

REQUEST_S = 60.0
"""Seconds that a request waits for its answer."""
RECEIVE_MAX = 100


class Send(msgspec.Struct, frozen=True, tag=True, tag_field="call"):
    """Answered with the message's id."""

    recipient: str
    type: MessageType
    payload: Json
    priority: int
    reply_to: str = ""


class Broadcast(msgspec.Struct, frozen=True, tag=True, tag_field="call"):
    """Answered with a `Reached`."""

    recipients: str
    type: MessageType
    payload: Json
    priority: int


class Ask(msgspec.Struct, frozen=True, tag=True, tag_field="call"):
    """Answered with the answer, a `Message`."""

    recipient: str
    type: MessageType
    payload: Json
    timeout_s: float


class Receive(msgspec.Struct, frozen=True, tag=True, tag_field="call"):
    """Answered with messages."""

    wait_s: float
    limit: int


class Acknowledge(msgspec.Struct, frozen=True, tag=True, tag_field="call"):
    """Answered with the ids for which it came too late."""

    messages: list[Message]


class Subscribe(msgspec.Struct, frozen=True, tag=True, tag_field="call"):
    """Answered with null."""

    topic: str
    wanted: bool


MailCall = Send | Broadcast | Ask | Receive | Acknowledge | Subscribe


class Reached(msgspec.Struct, frozen=True):
    """Whom a message to many reached."""

    ids: dict[str, str]
    """agent id -> the id of its message."""
    full: dict[str, float]
    """agent id -> seconds after which its inbox, which took nothing, may have room."""


def sent(said: MailCall, came: Json) -> Sent:
    """Return what a task keeps of a sending and of what came of it."""
    assert isinstance(said, Send | Ask | Broadcast), "only what goes out is done once"
    return Sent(said.recipients if isinstance(said, Broadcast) else said.recipient, said.type, msgspec.to_builtins(came))


class Correspondent(ABC):
    """One agent's way to write to others and to read what they write."""

    __slots__ = ()

    @abstractmethod
    async def mail(self, said: MailCall) -> Any:
        """Have the host carry out a call in this agent's name."""

    async def _once(self, said: MailCall, key: str) -> Any:
        """Carry out a call; a task's context does it once in the task's life."""
        return await self.mail(said)

    async def send(
        self,
        recipient: str,
        type: MessageType | str,  # noqa: A002  the message's own word for it
        payload: Json = None,
        *,
        priority: Priority = Priority.NORMAL,
        key: str = "",
    ) -> str:
        """Put a message into another agent's inbox and return its id, once the engine has it.

        In a task it goes out once, however often the task is attempted: the n-th time that an attempt sends the same content is
        the n-th time of every attempt. `key` stands for the content where that differs between attempts.
        `MessageForbidden` where the hierarchy doesn't let this agent write to that one, `InboxFull` says when to try again.
        """
        return str(await self._once(Send(recipient, MessageType(type), payload, int(priority)), key))

    async def broadcast(
        self,
        recipients: str,
        type: MessageType | str,  # noqa: A002
        payload: Json = None,
        *,
        priority: Priority = Priority.NORMAL,
        key: str = "",
    ) -> Reached:
        """Write to all of a `pool:`, `team:`, `layer:`, `capability:` or `topic:`, as `send` does to one."""
        said = Broadcast(recipients, MessageType(type), payload, int(priority))
        return msgspec.convert(await self._once(said, key), Reached)

    async def share_context(self, recipients: str, context: Json, *, key: str = "") -> Reached:
        """Tell many what this agent knows."""
        return await self.broadcast(recipients, MessageType.SHARE_CONTEXT, context, key=key)

    async def request(
        self,
        recipient: str,
        payload: Json = None,
        *,
        type: MessageType | str = MessageType.HELP_REQUEST,  # noqa: A002
        timeout_s: float = REQUEST_S,
        key: str = "",
    ) -> Message:
        """Ask another agent and return its answer; ReplyOverdue when none came within `timeout_s` seconds.

        In a task an answer that came is kept as a step; an attempt that died before it asks again.
        """
        return msgspec.convert(await self._once(Ask(recipient, MessageType(type), payload, timeout_s), key), Message)

    async def reply(
        self,
        message: Message,
        payload: Json = None,
        *,
        type: MessageType | str = MessageType.HELP_RESPONSE,  # noqa: A002
    ) -> str:
        """Answer a message and return the answer's id; it reaches whoever waits in `request`."""
        said = Send(message.sender, MessageType(type), payload, message.priority, message.id)
        return str(await self._once(said, ""))

    async def receive(self, *, wait_s: float = 0.0, limit: int = RECEIVE_MAX) -> list[Message]:
        """Return up to `limit` messages to this agent, the most urgent first, waiting up to `wait_s` seconds for the first.

        Each comes again, to whatever host the agent is on then, unless it is acknowledged within AMAS_MESSAGE_CLAIM_S.
        """
        return msgspec.convert(await self.mail(Receive(wait_s, limit)), list[Message])

    async def acknowledge(self, messages: Message | Sequence[Message]) -> list[str]:
        """Say that messages are done with; return the ids for which that came too late, so that they come again."""
        done = [messages] if isinstance(messages, Message) else list(messages)
        return list(await self.mail(Acknowledge(done))) if done else []

    async def subscribe(self, topic: str, *, wanted: bool = True) -> None:
        """Have this agent, wherever it is, get what is sent to `topic:` and this name, or no longer."""
        await self.mail(Subscribe(topic, wanted))


class Waits(Protocol):
    """Runs a coroutine on the event loop for a thread, which waits for it."""

    def __call__(self, work: Coroutine[Any, Any, T], /) -> T:
        """Return what the coroutine returns."""
        ...


class SyncCorrespondent:
    """The same for agents that are plain functions: each call blocks their thread. See `Correspondent`."""

    _context: Correspondent
    _call: Waits

    def send(
        self,
        recipient: str,
        type: MessageType | str,  # noqa: A002
        payload: Json = None,
        *,
        priority: Priority = Priority.NORMAL,
        key: str = "",
    ) -> str:
        """Put a message into another agent's inbox and return its id."""
        return self._call(self._context.send(recipient, type, payload, priority=priority, key=key))

    def broadcast(
        self,
        recipients: str,
        type: MessageType | str,  # noqa: A002
        payload: Json = None,
        *,
        priority: Priority = Priority.NORMAL,
        key: str = "",
    ) -> Reached:
        """Write to many."""
        return self._call(self._context.broadcast(recipients, type, payload, priority=priority, key=key))

    def share_context(self, recipients: str, context: Json, *, key: str = "") -> Reached:
        """Tell many what this agent knows."""
        return self._call(self._context.share_context(recipients, context, key=key))

    def request(
        self,
        recipient: str,
        payload: Json = None,
        *,
        type: MessageType | str = MessageType.HELP_REQUEST,  # noqa: A002
        timeout_s: float = REQUEST_S,
        key: str = "",
    ) -> Message:
        """Ask another agent and return its answer."""
        return self._call(self._context.request(recipient, payload, type=type, timeout_s=timeout_s, key=key))

    def reply(
        self,
        message: Message,
        payload: Json = None,
        *,
        type: MessageType | str = MessageType.HELP_RESPONSE,  # noqa: A002
    ) -> str:
        """Answer a message."""
        return self._call(self._context.reply(message, payload, type=type))

    def receive(self, *, wait_s: float = 0.0, limit: int = RECEIVE_MAX) -> list[Message]:
        """Return messages to this agent."""
        return self._call(self._context.receive(wait_s=wait_s, limit=limit))

    def acknowledge(self, messages: Message | Sequence[Message]) -> list[str]:
        """Say that messages are done with."""
        return self._call(self._context.acknowledge(messages))

    def subscribe(self, topic: str, *, wanted: bool = True) -> None:
        """Have this agent get what is sent to a topic, or no longer."""
        self._call(self._context.subscribe(topic, wanted=wanted))


class Surroundings(NamedTuple):
    """What an agent has about it while it reads a message."""

    agent_id: str
    member: Member
    leads: tuple[str, ...]
    options: dict[str, Json]
    artifacts: ArtifactStore
    log: Log


class MessageContext(Correspondent):
    """Handed to `on_message`: the agent's own mail, and what it needs to work on one message. It has no task and no steps."""

    def __init__(self, around: Surroundings, mail: "Carry") -> None:
        self.agent_id, self.member, self.leads, self.options, self.artifacts, self.log = around
        self._mail = mail

    async def mail(self, said: MailCall) -> Any:
        """Have the host carry it out."""
        return await self._mail(self.agent_id, said)


Carry = Callable[[str, MailCall], Any]
"""Carries out what an agent, by its id, says; awaited."""


async def no_mail(agent_id: str, said: MailCall) -> Any:
    """Refuse, on a host without a secret."""
    raise MessageError(f"{agent_id} can't write or read messages: set AMAS_MESSAGE_SECRET, the same on every host of the fleet")
