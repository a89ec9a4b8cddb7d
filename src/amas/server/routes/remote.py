"""Agents that run elsewhere: they register, claim by long poll, and say what came of it (docs/remote-agents.md).

A session's calls carry the token that came with it, and no other session's tasks or agents can be spoken for with that.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from amas.core.agents import why_no_agent
from amas.engine.registry import ANYBODY, NOBODY, Terms
from amas.errors import AgentUnknown, SettingInvalid
from amas.messages.bus import AgentCommunicationBus
from amas.messages.fleet_bus import OPERATOR
from amas.model.access import Role
from amas.model.journal import ProgressNote
from amas.model.message import Message, MessageType
from amas.model.remote import RegisteredAgent, RemoteAgent, agent_id_of, is_remote
from amas.model.states import AgentStatus, Layer, Priority
from amas.orchestration.discovery import Discovery
from amas.server import intake
from amas.server.choosing import Labels, selector_of
from amas.server.contract import answers, encoded, takes
from amas.server.guard import SESSIONS
from amas.server.identity import Calling, bearer
from amas.server.message_shapes import MessageShape
from amas.server.paging import Cursor, Limit
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal
from amas.server.remote_shapes import (
    Beat,
    ClosedSession,
    MadeToken,
    Mail,
    NewBeat,
    NewClaim,
    NewFailure,
    NewProgress,
    NewReceipt,
    NewReceive,
    NewRemoteAgent,
    NewRemoteMessage,
    NewRemoteQuestion,
    NewResult,
    NewSession,
    NewStep,
    NewTokenWish,
    OpenedSession,
    Receipts,
    RegisteredAgents,
    RemoteTask,
    RemoteWork,
    SentRemoteMessage,
    Steps,
    Taken,
)
from amas.server.routes.tasks import TaskId

router = APIRouter(tags=["remote agents"])

SessionId = Annotated[str, Path(max_length=100, description="What the registration answered as `session_id`.")]

_SESSION = "remote-01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e"
_ID = "01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e"
_ME = "remote.ocr-1"
_TASK = RemoteTask(task_id=_ID, attempt=1, agent_id=_ME, capability="vision.ocr", input={"page": 3}, timeout_s=600.0)
_TAKEN = Taken(task_id=_ID, attempt=1)
_MESSAGE = MessageShape(
    id=_ID, sender="editor-1", recipient=_ME, type=MessageType.STATUS, payload="noon", priority=1, sent_ms=1, reply_to=""
)
_AGENT = RegisteredAgent(
    id=_ME,
    host_id=_SESSION,
    capabilities=("vision.ocr",),
    version="1",
    layer="execution",
    title="",
    slots=1,
    labels={"gpu": "a100"},
    status=AgentStatus.IDLE,
    remote=True,
)
SAID = (400, 404, 409, 410, 413, 415, 422, 503)
"""What any call of a session may be answered."""


async def _enter(request: Request, plane: ControlPlane, session_id: str, *, late: bool = False) -> None:
    await plane.remote.enter(session_id, bearer(request.headers), late=late)


def _gone(request: Request, plane: ControlPlane, session_id: str) -> Callable[[], Awaitable[bool]]:
    """Return what one who waits asks in between: whether nobody waits any more; Refusal once the session has been ended."""

    async def gone() -> bool:
        await plane.remote.identify(session_id, bearer(request.headers))
        return await request.is_disconnected()

    return gone


@router.post(
    SESSIONS,
    summary="Register agents that run elsewhere",
    openapi_extra=takes(NewSession, NewSession(agents=[NewRemoteAgent(name="ocr-1", capabilities=["vision.ocr"])])),
    **answers(
        OpenedSession,
        OpenedSession(session_id=_SESSION, token="...", agents=[_ME], lease_s=30.0, beat_every_s=10.0),  # noqa: S106  an example
        status=201,
        problems=(400, 409, 413, 415, 422, 503),
    ),
)
async def open_session(request: Request, plane: Plane, caller: Calling) -> Response:
    """Open a session for a batch of agents, all or none; its token opens its further calls."""
    new = await intake.read_one(request, NewSession)
    agents = [_agent(each, index) for index, each in enumerate(new.agents)]
    if caller.kind == "agent" and [agent.id for agent in agents] != [caller.name]:
        raise Refusal(
            Fault(detail=f"{caller.name} can register itself alone", pointer="#/agents"), status=403, code="agent_foreign"
        )
    desk = plane.remote
    desk.check(agents)
    lease_s = desk.settings.lease_s
    owner = ANYBODY if caller.role is Role.SYSTEM_ADMIN else caller.name if caller.named else NOBODY
    terms = Terms(take_over=new.take_over, owner=owner, most=desk.settings.max_agents, opener=plane.identity.opener(caller))
    session = await desk.registry.open(agents, lease_s=lease_s, machine=new.machine, terms=terms)
    ids = [agent.id for agent in agents]
    beat_every_s = desk.settings.beat_every_s
    opened = OpenedSession(
        session_id=session.id,
        token=session.token,
        agents=ids,
        lease_s=lease_s,
        beat_every_s=beat_every_s,
        renew_wait_s=beat_every_s,
    )
    return encoded(opened, 201)


@router.post(
    SESSIONS + "/{session_id}/claim",
    summary="Claim tasks",
    openapi_extra=takes(NewClaim, NewClaim(wait_s=20.0)),
    **answers(RemoteWork, RemoteWork(tasks=[_TASK], stop=[]), problems=SAID),
)
async def claim(request: Request, session_id: SessionId, plane: Plane) -> Response:
    """Wait for tasks, each as a new attempt; what was handed out and isn't named in `running` comes again."""
    await _enter(request, plane, session_id)
    asked = await intake.read_one(request, NewClaim)
    return encoded(await plane.remote.claim(session_id, asked, gone=_gone(request, plane, session_id)))


@router.post(
    SESSIONS + "/{session_id}/renew",
    summary="Renew the lease",
    openapi_extra=takes(NewBeat, NewBeat(running=[_ID])),
    **answers(Beat, Beat(lease_s=30.0, stop=[]), problems=SAID),
)
async def renew(request: Request, session_id: SessionId, plane: Plane) -> Response:
    """Prolong the lease and say which of the running tasks to stop; `wait_s` waits for there to be one."""
    await _enter(request, plane, session_id)
    said = await intake.read_one(request, NewBeat)
    stop = await plane.remote.beat(session_id, said, gone=_gone(request, plane, session_id))
    return encoded(Beat(lease_s=plane.remote.settings.lease_s, stop=stop))


@router.post(
    SESSIONS + "/{session_id}/tasks/{task_id}/complete",
    summary="Complete a task",
    openapi_extra=takes(NewResult, NewResult(attempt=1, result={"text": "..."})),
    **answers(Taken, _TAKEN, problems=SAID),
)
async def complete(request: Request, session_id: SessionId, task_id: TaskId, plane: Plane) -> Response:
    """Record a result; 409 once the task is another attempt's. Saying it again after a lost answer is harmless."""
    await _enter(request, plane, session_id, late=True)
    said = await intake.read_one(request, NewResult)
    await plane.remote.complete(session_id, task_id, said.attempt, said.result, said.usage)
    return encoded(Taken(task_id=task_id, attempt=said.attempt))


@router.post(
    SESSIONS + "/{session_id}/tasks/{task_id}/fail",
    summary="Fail an attempt",
    openapi_extra=takes(NewFailure, NewFailure(attempt=1, message="the page is blank")),
    **answers(Taken, _TAKEN, problems=SAID),
)
async def fail(request: Request, session_id: SessionId, task_id: TaskId, plane: Plane) -> Response:
    """Record a failed attempt; another follows by the task's retry policy unless the failure is final."""
    await _enter(request, plane, session_id, late=True)
    said = await intake.read_one(request, NewFailure)
    await plane.remote.fail(session_id, task_id, said)
    return encoded(Taken(task_id=task_id, attempt=said.attempt))


@router.post(
    SESSIONS + "/{session_id}/tasks/{task_id}/progress",
    summary="Report progress",
    openapi_extra=takes(NewProgress, NewProgress(attempt=1, fraction=0.5, note="12 of 24 pages")),
    **answers(Taken, _TAKEN, problems=SAID),
)
async def progress(request: Request, session_id: SessionId, task_id: TaskId, plane: Plane) -> Response:
    """Say how far an attempt is."""
    await _enter(request, plane, session_id)
    said = await intake.read_one(request, NewProgress)
    await plane.remote.progress(session_id, ProgressNote(task_id, said.attempt, said.fraction, said.note))
    return encoded(Taken(task_id=task_id, attempt=said.attempt))


@router.post(
    SESSIONS + "/{session_id}/tasks/{task_id}/steps",
    summary="Journal a step",
    openapi_extra=takes(NewStep, NewStep(attempt=1, name="page-1", result="...")),
    **answers(Steps, Steps(steps={"page-1": "..."}), problems=SAID),
)
async def keep_step(request: Request, session_id: SessionId, task_id: TaskId, plane: Plane) -> Response:
    """Keep the result of a piece of the task, so that a later attempt needn't do it again."""
    await _enter(request, plane, session_id)
    said = await intake.read_one(request, NewStep)
    return encoded(Steps(steps=await plane.remote.keep_step(session_id, task_id, said.attempt, said.name, said.result)))


@router.get(
    SESSIONS + "/{session_id}/tasks/{task_id}/steps",
    summary="Read the steps that are done",
    **answers(Steps, Steps(steps={"page-1": "..."}), problems=SAID),
)
async def get_steps(request: Request, session_id: SessionId, task_id: TaskId, plane: Plane) -> Response:
    """Return what this and earlier attempts of a task have journaled."""
    await _enter(request, plane, session_id)
    await plane.remote.own(session_id, task_id)
    return encoded(Steps(steps=await plane.remote.steps(task_id)))


@router.post(
    SESSIONS + "/{session_id}/tasks/{task_id}/token",
    summary="Get a token for an agent",
    openapi_extra=takes(NewTokenWish, NewTokenWish(attempt=1, audience="https://payments.example")),
    **answers(MadeToken, MadeToken(token="eyJ...", expires_ms=1_757_086_400_000), problems=(*SAID, 401)),  # noqa: S106  an example
)
async def make_token(request: Request, session_id: SessionId, task_id: TaskId, plane: Plane) -> Response:
    """Return a JWT by which the agent that runs a task shows a service who it is; for 24 hours (docs/access.md)."""
    await _enter(request, plane, session_id)
    said = await intake.read_one(request, NewTokenWish)
    agent = await plane.remote.agent_at(session_id, task_id, said.attempt)
    made = await plane.tokens.of_remote(session_id, agent, audience=said.audience, task_id=task_id)
    return encoded(MadeToken(token=made.text, expires_ms=made.expires_ms), headers={"cache-control": "no-store"})


@router.post(
    SESSIONS + "/{session_id}/messages",
    summary="Write to an agent",
    openapi_extra=takes(NewRemoteMessage, NewRemoteMessage(agent_id=_ME, recipient="editor-1", payload="done")),
    **answers(SentRemoteMessage, SentRemoteMessage(message_id=_ID), status=201, problems=(*SAID, 429)),
)
async def send_message(request: Request, session_id: SessionId, plane: Plane) -> Response:
    """Put a message of one of the session's agents into another agent's inbox."""
    await _enter(request, plane, session_id)
    said = await intake.read_one(request, NewRemoteMessage)
    bus = await _bus(plane, session_id, said.agent_id, to=said.recipient)
    message_id = await bus.send_message(
        sender_id=said.agent_id,
        recipient_id=said.recipient,
        message_type=said.type,
        payload=said.payload,
        priority=Priority(said.priority),
        reply_to=said.reply_to,
    )
    return encoded(SentRemoteMessage(message_id=message_id), 201)


@router.post(
    SESSIONS + "/{session_id}/messages/ask",
    summary="Ask an agent and wait",
    openapi_extra=takes(NewRemoteQuestion, NewRemoteQuestion(agent_id=_ME, recipient="editor-1", payload="Which language?")),
    **answers(MessageShape, _MESSAGE, problems=(*SAID, 429, 504)),
)
async def ask(request: Request, session_id: SessionId, plane: Plane) -> Response:
    """Put a question of one of the session's agents to another agent and wait for the answer."""
    await _enter(request, plane, session_id)
    said = await intake.read_one(request, NewRemoteQuestion)
    bus = await _bus(plane, session_id, said.agent_id, to=said.recipient)
    with plane.remote.waits_for(said.agent_id):
        answer = await bus.request(
            sender_id=said.agent_id,
            recipient_id=said.recipient,
            message_type=said.type,
            payload=said.payload,
            timeout_s=said.timeout_s,
        )
    await _still(request, plane, session_id, said.agent_id)
    return encoded(MessageShape.of(answer))


@router.post(
    SESSIONS + "/{session_id}/messages/receive",
    summary="Receive messages",
    openapi_extra=takes(NewReceive, NewReceive(agent_id=_ME, wait_s=20.0)),
    **answers(Mail, Mail(messages=[_MESSAGE]), problems=SAID),
)
async def receive(request: Request, session_id: SessionId, plane: Plane) -> Response:
    """Wait for messages to one of the session's agents; each comes again unless it is acknowledged in time."""
    await _enter(request, plane, session_id)
    said = await intake.read_one(request, NewReceive)
    bus = await _bus(plane, session_id, said.agent_id)
    wait_s = min(said.wait_s, plane.remote.settings.lease_s * 2 / 3)
    with plane.remote.waits_for(said.agent_id):
        found = await bus.receive(said.agent_id, limit=said.limit, wait_s=wait_s)
    await _still(request, plane, session_id, said.agent_id)
    return encoded(Mail(messages=[MessageShape.of(message) for message in found]))


@router.post(
    SESSIONS + "/{session_id}/messages/ack",
    summary="Acknowledge messages",
    openapi_extra=takes(NewReceipt, NewReceipt(agent_id=_ME, message_ids=[_ID])),
    **answers(Receipts, Receipts(too_late=[]), problems=SAID),
)
async def acknowledge(request: Request, session_id: SessionId, plane: Plane) -> Response:
    """Say that one of the session's agents is done with messages."""
    await _enter(request, plane, session_id)
    said = await intake.read_one(request, NewReceipt)
    bus = await _bus(plane, session_id, said.agent_id)
    done = [
        Message(id=message_id, sender="", recipient=said.agent_id, type=MessageType.STATUS, sent_ms=0, expires_ms=0)
        for message_id in said.message_ids
    ]
    return encoded(Receipts(too_late=await bus.acknowledge(done)))


@router.delete(
    SESSIONS + "/{session_id}",
    summary="End a session",
    **answers(ClosedSession, ClosedSession(session_id=_SESSION, given_back=0), problems=SAID),
)
async def close_session(request: Request, session_id: SessionId, plane: Plane) -> Response:
    """Take the session's agents out of the fleet and put what they run back into its queues, without blame."""
    await _enter(request, plane, session_id)
    return encoded(ClosedSession(session_id=session_id, given_back=await plane.remote.registry.close(session_id)))


@router.get(
    "/api/remote/agents",
    summary="Find agents",
    **answers(RegisteredAgents, RegisteredAgents(items=[_AGENT], next=None), problems=(422, 503)),
)
async def find_agents(  # noqa: PLR0913, PLR0917  one query parameter each
    plane: Plane,
    capability: Annotated[str, Query(max_length=200)] = "",
    layer: Annotated[Layer | None, Query()] = None,
    label: Labels = [],  # noqa: B006  FastAPI copies it
    status: Annotated[AgentStatus | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Response:
    """Find agents of the fleet's hosts and remote ones by what they can do, their layer, labels and status."""
    discovery = Discovery(plane.hosts, plane.remote.registry)
    found = await discovery.discover(
        capability=capability, layer=layer or "", labels=selector_of(label), status=status, limit=limit + 1, after=cursor
    )
    return encoded(RegisteredAgents(items=found[:limit], next=found[limit - 1].id if len(found) > limit else None))


def _agent(said: NewRemoteAgent, index: int) -> RemoteAgent:
    try:
        agent_id = agent_id_of(said.name)
    except ValueError as error:
        raise Refusal(Fault(detail=str(error), pointer=f"#/agents/{index}/name")) from error
    return RemoteAgent(
        id=agent_id,
        capabilities=tuple(said.capabilities),
        version=said.version,
        labels=said.labels,
        layer=said.layer,
        title=said.title,
        slots=said.slots,
    )


async def _bus(plane: ControlPlane, session_id: str, agent_id: str, *, to: str = "") -> AgentCommunicationBus:
    """Return the bus for a session that hears as one of its own agents, or writes `to` somebody; raise where it may not."""
    await plane.remote.agents(session_id, [agent_id])
    if to:
        if (await plane.tokens.kept.standing(session_id, agent_id, "")).stopped:
            why = f"{agent_id} is killed: it writes to nobody until that is lifted"
            raise Refusal(Fault(detail=why, pointer="#/agent_id"), status=409, code="agent_stopped")
        await _check_there(plane, to)
    if plane.bus is None:
        raise SettingInvalid("this fleet has no message bus: set AMAS_MESSAGE_SECRET, the same for its hosts and control plane")
    return plane.bus


async def _still(request: Request, plane: ControlPlane, session_id: str, agent_id: str) -> None:
    """Raise for one who has waited and mustn't hear more: its key was revoked meanwhile, or its agent is another session's."""
    await plane.remote.identify(session_id, bearer(request.headers))
    await plane.remote.agents(session_id, [agent_id])


async def _check_there(plane: ControlPlane, recipient: str) -> None:
    """Raise AgentUnknown for one who isn't there: an inbox that nobody will ever look into would be kept all the same."""
    if is_remote(recipient):
        if not await plane.remote.registry.look([recipient]):
            raise AgentUnknown(f"no session has an agent {recipient!r} (any more)")
    elif recipient != OPERATOR and (unknown := why_no_agent(recipient, plane.fleet.pools)):
        raise AgentUnknown(unknown)
