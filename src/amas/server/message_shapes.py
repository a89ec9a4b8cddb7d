"""Messages as they go over the wire; see `shapes.py`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from amas.model.message import Message, MessageType
from amas.model.task import Json
from amas.server.shapes import Given, Name, Rank

AnswerSeconds = Annotated[float, Meta(ge=0, le=60)]


class NewMessage(Given, frozen=True):
    """A message to an agent, or to many."""

    recipient: Name
    """An agent's id, or `pool:`, `team:`, `layer:`, `capability:` or `topic:` and a name."""
    type: MessageType = MessageType.STATUS
    payload: Json = None
    priority: Rank = 1


class NewQuestion(Given, frozen=True):
    """A message to an agent whose answer is waited for."""

    recipient: Name
    """An agent's id."""
    type: MessageType = MessageType.HELP_REQUEST
    payload: Json = None
    timeout_s: AnswerSeconds = 10.0


class SentMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a message reached."""

    sender: str
    ids: dict[str, str]
    """The id of each one's message, by agent."""
    full: dict[str, float]
    """Agents whose inboxes took nothing, each with the seconds after which there may be room."""


class MessageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A message between agents."""

    id: str
    sender: str
    recipient: str
    type: MessageType
    payload: Any
    priority: int
    sent_ms: int
    reply_to: str

    @classmethod
    def of(cls, message: Message) -> "MessageShape":
        """Return what is shown of a message."""
        return msgspec.convert(message, cls, from_attributes=True)


class InboxShape(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's inbox."""

    agent_id: str
    held: int
    """Messages that wait or are handed out and not acknowledged."""
    state: str
    """`ok`, `warning` or `critical`."""
    answers: int
    """Answers to its own questions that it hasn't taken yet."""


class CommunicationFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The message bus in figures."""

    state: str
    """The worst inbox's."""
    backlog: int
    inboxes: list[InboxShape]
    """Those that hold something, the fullest first."""
    counts: dict[str, int]
    """Ever: `sent`, `delivered`, `redelivered`, `acknowledged`, `expired`, `dead`, `refused_*`; what never was is missing."""


class RefusedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that reached nobody, and why."""

    why: str
    """`forged`, `forbidden`, `replayed`, `stale` or `expired`."""
    message_id: str
    sender: str
    """As it was said to be."""
    recipient: str
    at_ms: int


class RefusedPage(msgspec.Struct, frozen=True, kw_only=True):
    """The latest refused messages, the newest first."""

    items: list[RefusedMessage]


class DeadMessageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was handed out too often without a receipt."""

    message_id: str
    inbox: str
    """The agent's id; of an answer also `#` and the question's id."""
    deliveries: int
    at_ms: int


class DeadMessagePage(msgspec.Struct, frozen=True, kw_only=True):
    """The latest dead messages, the newest first."""

    items: list[DeadMessageShape]
