"""The remote-agent protocol as it goes over the wire; see `shapes.py` and docs/remote-agents.md."""

from typing import Annotated

import msgspec
from msgspec import Meta

from amas.model.limits import USD_MAX, USED_MAX
from amas.model.message import MessageType
from amas.model.remote import RegisteredAgent
from amas.model.states import Layer
from amas.model.task import Json
from amas.server.message_shapes import AnswerSeconds, MessageShape
from amas.server.patterns import AUDIENCE
from amas.server.shapes import FailureShape, Given, Line, Name, Rank, Seconds

AGENTS_MAX, TASKS_MAX = 1000, 100

Amount = Annotated[float, Meta(ge=0, le=USD_MAX)]
Count = Annotated[int, Meta(ge=0, le=USED_MAX)]
Text = Annotated[str, Meta(max_length=20_000)]
Number = Annotated[int, Meta(ge=1)]
Ids = Annotated[list[Name], Meta(max_length=10_000)]


class NewRemoteAgent(Given, frozen=True):
    """An agent that runs elsewhere."""

    name: Name
    """Its id is `remote.` and this."""
    capabilities: Annotated[list[Name], Meta(min_length=1, max_length=100)]
    version: Name = "1"
    labels: Annotated[dict[str, str], Meta(max_length=32)] = msgspec.field(default_factory=dict)
    layer: Layer = Layer.EXECUTION
    title: Line = ""
    slots: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Tasks that it takes at a time."""


class NewSession(Given, frozen=True):
    """A batch of agents to be registered under one lease."""

    agents: Annotated[list[NewRemoteAgent], Meta(min_length=1, max_length=AGENTS_MAX)]
    machine: Line = ""
    """Where they run, for people."""
    take_over: bool = False
    """Whether agents of these names that another live session has are this one's from now on: after a crash, say."""


class OpenedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session and the secret that opens it."""

    session_id: str
    token: str
    """Sent as `Authorization: Bearer` with every further call; shown once."""
    agents: list[str]
    """The agents' ids."""
    lease_s: float
    """After so long without a call its tasks go to others."""
    beat_every_s: float
    """How often to renew, at least."""
    renew_wait_s: float = 0.0
    """What `wait_s` of a renewal may be; waiting so, a session hears at once what it must stop."""


class NewClaim(Given, frozen=True):
    """What a session has room for, and what it runs."""

    running: Ids = msgspec.field(default_factory=list)
    """Every task whose outcome hasn't been acknowledged yet. One that was handed out and isn't named here is handed out again."""
    agents: Annotated[list[Name], Meta(max_length=AGENTS_MAX)] = msgspec.field(default_factory=list)
    """For whom tasks are wanted; empty for all."""
    max_tasks: Annotated[int, Meta(ge=1, le=TASKS_MAX)] = 1
    wait_s: Annotated[float, Meta(ge=0, le=60)] = 0.0
    """How long to wait for the first; two thirds of the lease at most."""


class RemoteTask(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a task, handed to a remote agent."""

    task_id: str
    attempt: int
    """Named by all that is said of it; another attempt's word is refused."""
    agent_id: str
    capability: str
    input: Json
    key: str = ""
    title: str = ""
    workflow_id: str = ""
    tenant: str = ""
    needs: dict[str, Json] = {}
    """The results of the tasks that it needed, by key."""
    failures: dict[str, FailureShape] = {}
    """Why those of them failed that need not have succeeded."""
    failed_attempts: int = 0
    resumed: bool = False
    """Whether an earlier attempt may have journaled steps."""
    timeout_s: float = 0.0
    """What it may take; then it is failed as `timed_out` and stands in `stop`."""
    deadline_ms: int = 0
    """0 for none."""
    traceparent: str = ""
    """Where the attempt stands in its trace (W3C), for what the agent calls; empty: it has none."""


class RemoteWork(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is to do, and to stop doing."""

    tasks: list[RemoteTask]
    stop: list[str]
    """Of the tasks that it said it runs, those that it must not go on with: cancelled, timed out, or given to others."""


class NewBeat(Given, frozen=True):
    """A sign of life."""

    running: Ids = msgspec.field(default_factory=list)
    wait_s: Annotated[float, Meta(ge=0, le=60)] = 0.0
    """How long to wait for something to stop; two thirds of the lease at most."""


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """How long a lease holds now, and what to stop."""

    lease_s: float
    stop: list[str]


class NewUsage(Given, frozen=True):
    """What an attempt used."""

    usd: Amount = 0.0
    tokens: Count = 0
    calls: Count = 0


class NewResult(Given, frozen=True):
    """What an attempt came to."""

    attempt: Number
    result: Json = None
    usage: NewUsage | None = None


class NewFailure(Given, frozen=True):
    """Why an attempt failed."""

    attempt: Number
    message: Text
    code: Name = "agent_error"
    detail: Text = ""
    """For the log."""
    final: bool = False
    """No further attempt can help."""
    delay_s: Seconds | None = None
    """Until the next attempt; not said: by the task's retry policy."""
    usage: NewUsage | None = None


class NewProgress(Given, frozen=True):
    """How far an attempt is."""

    attempt: Number
    fraction: Annotated[float, Meta(ge=0, le=1)]
    note: Line = ""


class NewStep(Given, frozen=True):
    """A named piece of a task that is done; a later attempt finds it."""

    attempt: Number
    name: Name
    result: Json = None


class NewTokenWish(Given, frozen=True):
    """A wish for a token of the agent that runs a task."""

    attempt: Number
    audience: Annotated[str, Meta(pattern=AUDIENCE)] = ""
    """The service that it is for, mostly by its address; empty for this API."""


class MadeToken(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's token."""

    token: str
    """A JWT."""
    expires_ms: int


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of a task that are done, with their results; the first result of a name stands."""

    steps: dict[str, Json]


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A word about a task that counts."""

    task_id: str
    attempt: int


class NewRemoteMessage(Given, frozen=True):
    """A message of a remote agent's."""

    agent_id: Name
    """Who writes."""
    recipient: Name
    """An agent's id."""
    type: MessageType = MessageType.STATUS
    payload: Json = None
    priority: Rank = 1
    reply_to: Line = ""
    """The id of the message that this one answers."""


class NewRemoteQuestion(Given, frozen=True):
    """A message of a remote agent's whose answer is waited for."""

    agent_id: Name
    """Who asks."""
    recipient: Name
    type: MessageType = MessageType.HELP_REQUEST
    payload: Json = None
    timeout_s: AnswerSeconds = 10.0


class SentRemoteMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is in its recipient's inbox."""

    message_id: str


class NewReceive(Given, frozen=True):
    """A look into a remote agent's inbox."""

    agent_id: Name
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    wait_s: Annotated[float, Meta(ge=0, le=60)] = 0.0


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """Messages for a remote agent."""

    messages: list[MessageShape]


class NewReceipt(Given, frozen=True):
    """Messages that a remote agent is done with."""

    agent_id: Name
    message_ids: Annotated[list[Name], Meta(min_length=1, max_length=100)]


class Receipts(msgspec.Struct, frozen=True, kw_only=True):
    """What came too late."""

    too_late: list[str]
    """Ids of messages that another receiver has now."""


class ClosedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that has ended."""

    session_id: str
    given_back: int
    """Tasks that went back into their queues."""


class RegisteredAgents(msgspec.Struct, frozen=True, kw_only=True):
    """Agents of this fleet's hosts and remote ones, remote ones first."""

    items: list[RegisteredAgent]
    next: str | None
    """The next page's `cursor`; null on the last."""
