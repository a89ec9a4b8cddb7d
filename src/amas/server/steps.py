"""What a task's attempts have kept: its steps, and among them what it wrote to other agents. Pure.

Both are the engine's, which forgets them with the task; the history keeps steps of open tasks only.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from amas.model.message import SENT_STEP, MessageType, Sent, sent_of

STEPS_MAX = 200
"""In one answer; an agent that keeps thousands has a loop that people don't read."""
SHOWN_BYTES = 2048
"""What is longer says only how long it is."""


class TaskStep(msgspec.Struct, frozen=True, kw_only=True):
    """A named piece of a task's work that isn't done again, whatever happens."""

    name: str
    bytes: int
    """Of its result."""
    result: Any = None
    """Null where it is over 2 KiB, sealed, or lies in the artifact store."""


class TaskMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a task sent."""

    to: str
    """An agent's id, or `pool:`, `team:`, `layer:`, `capability:` or `topic:` and a name."""
    type: MessageType
    ids: list[str]
    """Of the messages: one for each agent that it went to; of a question, that of its answer."""
    answer: Any = None
    """What the agent that was asked said; null for what asks nothing."""
    sent_ms: int
    """Of a question, when it was answered."""


class TaskSteps(msgspec.Struct, frozen=True, kw_only=True):
    """What a task has kept, until the engine forgets the task."""

    task_id: str
    steps: list[TaskStep]
    messages: list[TaskMessage]
    """What it wrote, oldest first."""
    truncated: bool
    """Whether there are more steps than one answer shows."""


def steps_of(task_id: str, kept: Mapping[str, bytes], opened: Mapping[str, Any]) -> TaskSteps:
    """Return what is shown of the steps `kept`, as msgpack; `opened`: the values of those that could be read."""
    sent = [sent_of(value) for name, value in opened.items() if name.startswith(SENT_STEP)]
    messages = [_message(each) for each in sent if each]
    own = [name for name in kept if not name.startswith(SENT_STEP)]
    steps = [TaskStep(name=name, bytes=len(kept[name]), result=opened.get(name)) for name in own[:STEPS_MAX]]
    messages.sort(key=lambda message: message.sent_ms)
    return TaskSteps(task_id=task_id, steps=steps, messages=messages[-STEPS_MAX:], truncated=len(own) > STEPS_MAX)


def _message(sent: Sent) -> TaskMessage:
    came, ids, answer = sent.came, [], None
    if isinstance(came, dict) and "sender" in came:
        ids, answer = [str(came["id"])], came.get("payload")
    elif isinstance(came, dict):
        ids = [str(message_id) for message_id in came["ids"].values()]
    else:
        ids = [str(came)]
    return TaskMessage(to=sent.to, type=sent.type, ids=ids, answer=answer, sent_ms=_ms(ids[0]) if ids else 0)


def _ms(message_id: str) -> int:
    """Return the time that a UUIDv7 begins with; 0 for an id of another kind."""
    head = message_id.replace("-", "")[:12]
    try:
        return int(head, 16) if len(message_id) == 36 else 0
    except ValueError:
        return 0
