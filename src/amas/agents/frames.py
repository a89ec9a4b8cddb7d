"""What a host and an isolated child say to each other: msgpack with its length before it, over a socket pair.

The child gets one `Start`, then answers to what it asked, by number. It says `Done` or `Failed` last. What comes from the
child is decoded into these types and nothing else: its code is not the host's.
"""

import asyncio
from typing import Literal

import msgspec

from amas.agents.mail import MailCall
from amas.core.breaker import Outcome
from amas.errors import AmasError
from amas.model.cost import ModelCall
from amas.model.fleet import PoolSpec
from amas.model.flow import Wait
from amas.model.goal import SubTask
from amas.model.task import Failure, Json, TaskSpec

FRAME_BYTES_MAX = 256 << 20
"""A lead's outcomes are the largest frames: what all of its sub-tasks brought, each at most AMAS_PAYLOAD_MB."""


class Start(msgspec.Struct, frozen=True, tag=True):
    """The attempt."""

    id: str
    attempt: int
    agent_id: str
    spec: TaskSpec
    pool: PoolSpec
    results: dict[str, Json]
    failures: dict[str, Failure]
    workspace: str
    artifacts: str
    deadline_ms: int
    path: list[str]
    """Where the host finds modules, the agent's among them."""
    leads: list[str]
    """The pools above the agent's, its own lead first."""


class Answer(msgspec.Struct, frozen=True, tag=True):
    """What a call returned."""

    call: int
    value: Json


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """A call was refused, and would be again."""

    call: int
    message: str
    code: str = ""
    """`budget_exhausted`, `not_allowed`, a message's, or an author's mistake."""
    full: tuple[str, int, float] | None = None
    """Of a full inbox: whose, what it holds, and in how many seconds there may be room."""


class Recall(msgspec.Struct, frozen=True, tag=True):
    """Asks for a step; answered with [known, result]."""

    call: int
    name: str


class Keep(msgspec.Struct, frozen=True, tag=True):
    """Journals a step; answered with its result."""

    call: int
    name: str
    result: Json
    calls: tuple[ModelCall, ...] = ()


class Spawn(msgspec.Struct, frozen=True, tag=True):
    """Has sub-tasks done; answered with their outcomes by key, or never, since a child whose attempt is suspended is ended."""

    call: int
    tasks: list[SubTask]
    wait: Wait = "all"


class Spend(msgspec.Struct, frozen=True, tag=True):
    """Announces what is about to be used; answered when it is reserved, or refused."""

    call: int
    usd: float
    tokens: int
    calls: int


class Mail(msgspec.Struct, frozen=True, tag=True):
    """Sends or receives messages as the attempt's own agent; answered with what `mail.py` says of each."""

    call: int
    said: MailCall


class Enter(msgspec.Struct, frozen=True, tag=True):
    """Asks a dependency's breaker; answered with what the use is called, and the seconds after which to ask again."""

    call: int
    name: str


class Leave(msgspec.Struct, frozen=True, tag=True):
    """Says how a use of a dependency went; answered with nil."""

    call: int
    name: str
    token: str
    outcome: Outcome
    why: str


class Left(msgspec.Struct, frozen=True, tag=True):
    """Asks what the workflow's budget has left; answered with `Amounts` or nil."""

    call: int


class Used(msgspec.Struct, frozen=True, tag=True):
    """What was used besides; not answered."""

    usd: float
    tokens: int
    calls: int


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Not answered."""

    fraction: float
    note: str


class LogLine(msgspec.Struct, frozen=True, tag=True):
    """Not answered."""

    level: Literal["debug", "info", "warning", "error", "critical"]
    message: str
    fields: dict[str, Json]


class Took(msgspec.Struct, frozen=True, tag=True):
    """The most memory that this process had, before it ends; said where the pool's limit follows it."""

    memory_mb: int


class Done(msgspec.Struct, frozen=True, tag=True):
    """The result."""

    result: Json


class Failed(msgspec.Struct, frozen=True, tag=True):
    """What `failures.verdict` made of the exception."""

    failure: Failure
    final: bool
    delay_s: float | None
    provider: str | None = None
    later: bool = False


Asks = Recall | Keep | Spawn | Spend | Mail | Left | Enter | Leave
"""What is answered."""
FromHost = Start | Answer | Refusal
FromChild = Asks | Used | Progress | LogLine | Took | Done | Failed

_encode = msgspec.msgpack.Encoder().encode
from_host = msgspec.msgpack.Decoder(FromHost)
from_child = msgspec.msgpack.Decoder(FromChild)


class FrameTooLarge(AmasError):
    """One side said more than the other reads."""

    code = "frame_too_large"


def pack(message: FromHost | FromChild) -> bytes:
    """Return a message with its length."""
    body = _encode(message)
    return len(body).to_bytes(4, "big") + body


async def read(reader: asyncio.StreamReader) -> bytes:
    """Return the next message without its length; IncompleteReadError when the other side is gone."""
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > FRAME_BYTES_MAX:
        raise FrameTooLarge(f"a message of {size} bytes came over an isolated agent's socket; {FRAME_BYTES_MAX} is the limit")
    return await reader.readexactly(size)
