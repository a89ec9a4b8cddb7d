"""Messages between agents: what is said, by whom, to whom, and until when it is worth hearing.

A message is signed by its sender and kept in its recipient's inbox until that has said it is done with it.
"""

from enum import StrEnum

import msgspec

from amas.model.flow import RESERVED_PREFIX
from amas.model.states import Priority
from amas.model.task import Json


class MessageType(StrEnum):
    """What a message is about; the hierarchy's policy says who may send which."""

    TASK_STARTED = "task_started"
    TASK_COMPLETED = "task_completed"
    TASK_BLOCKED = "task_blocked"
    TASK_FAILED = "task_failed"
    TASK_HANDOFF = "task_handoff"
    SHARE_FINDINGS = "share_findings"
    SHARE_CONTEXT = "share_context"
    SHARE_RESOURCES = "share_resources"
    HELP_REQUEST = "help_request"
    HELP_RESPONSE = "help_response"
    REVIEW_REQUEST = "review_request"
    QUALITY_FEEDBACK = "quality_feedback"
    QUALITY_APPROVAL = "quality_approval"
    ESCALATION = "escalation"
    STATUS = "status"
    SYSTEM = "system"
    ACKNOWLEDGEMENT = "acknowledgement"


TO_POOL, TO_TEAM, TO_LAYER, TO_CAPABILITY, TO_TOPIC = "pool:", "team:", "layer:", "capability:", "topic:"
"""Before a recipient that stands for many: a pool, a lead's pool and all that report to it, a layer, who can do something, who
asked to hear of a topic. Without one of them a recipient is an agent's id."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message, as its recipient gets it."""

    id: str
    sender: str
    """An agent's id; the signature is bound to it."""
    recipient: str
    type: MessageType
    payload: Json = None
    priority: int = int(Priority.NORMAL)
    sent_ms: int
    expires_ms: int
    """Milliseconds since the epoch; nobody gets it afterwards."""
    reply_to: str = ""
    """The id of the message that this one answers."""
    task_id: str = ""
    """The task that it is about."""
    deliveries: int = 1
    """How often it was handed out: more than 1 says that an earlier host went away with it."""
    traceparent: str = ""
    """W3C trace context of its sending."""


SENT_STEP = f"{RESERVED_PREFIX}message/"
"""Before the name of the step in which a task keeps what it sent."""


class Sent(msgspec.Struct, frozen=True):
    """What a task keeps of one sending, so that its next attempt doesn't send again and people can look it up."""

    to: str
    """An agent's id, or what stands for many."""
    type: MessageType
    came: Json
    """Of a message its id; of one to many `ids` and `full`; of a question its answer, a message."""


def sent_of(kept: Json) -> Sent | None:
    """Return what a task kept of a sending; None where an earlier release did, which kept only what came of it."""
    try:
        return msgspec.convert(kept, Sent)
    except msgspec.ValidationError:
        return None
