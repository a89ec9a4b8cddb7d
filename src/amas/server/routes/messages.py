"""Messages between agents: write to them as the operator, and look at inboxes, refusals and dead messages.

What comes over this API is sent in the operator's name alone, whatever the caller would like, and passes the same policy as an
agent's: the operator may write to everybody, and nobody can escalate to it or through it.
"""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from amas.core.agents import why_no_agent
from amas.errors import AgentUnknown, SettingInvalid
from amas.messages.bus import AgentCommunicationBus, backlog_state
from amas.messages.fleet_bus import OPERATOR
from amas.model.message import MessageType
from amas.model.remote import is_remote
from amas.model.states import Priority
from amas.server import intake
from amas.server.contract import answers, encoded, takes
from amas.server.message_shapes import (
    CommunicationFigures,
    DeadMessagePage,
    DeadMessageShape,
    InboxShape,
    MessageShape,
    NewMessage,
    NewQuestion,
    RefusedMessage,
    RefusedPage,
    SentMessage,
)
from amas.server.plane import ControlPlane, Plane
from amas.server.routes.agents import AgentId

router = APIRouter(prefix="/api/messages", tags=["messages"])

Limit = Annotated[int, Query(ge=1, le=1000)]

_ID = "01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e"
_SENT = SentMessage(sender=OPERATOR, ids={"code-reviewer-1": _ID}, full={})
_ANSWER = MessageShape(
    id=_ID,
    sender="code-reviewer-1",
    recipient=OPERATOR,
    type=MessageType.HELP_RESPONSE,
    payload={"open": 3},
    priority=2,
    sent_ms=1_757_000_002_004,
    reply_to="01990d3e-7a0f-7000-8000-5b7c8d9e0a6f",
)
_INBOX = InboxShape(agent_id="code-reviewer-1", held=2, state="ok", answers=0)
_FIGURES = CommunicationFigures(state="ok", backlog=2, inboxes=[_INBOX], counts={"sent": 42, "delivered": 41, "acknowledged": 40})
_REFUSED = RefusedMessage(why="forged", message_id=_ID, sender="qa-lead-1", recipient="code-reviewer-1", at_ms=1_757_000_002_004)
_DEAD = DeadMessageShape(message_id=_ID, inbox="code-reviewer-1", deliveries=4, at_ms=1_757_000_002_004)


@router.get("", summary="Look at the bus", **answers(CommunicationFigures, _FIGURES, problems=(503,)))
async def get_metrics(plane: Plane) -> Response:
    """Show the state of the bus, the inboxes that hold something, and what was counted."""
    found = await _bus(plane).get_communication_metrics()
    held, waiting = Counter[str](), Counter[str]()
    for inbox, shown in found.pop("inboxes").items():
        agent_id, _, question = inbox.partition("#")
        (waiting if question else held)[agent_id] += shown["held"]
    inboxes = [_inbox(plane, agent_id, held, waiting) for agent_id in {**held, **waiting}]
    inboxes.sort(key=lambda one: (-one.held, one.agent_id))
    state, backlog = found.pop("state"), found.pop("backlog")
    return encoded(CommunicationFigures(state=state, backlog=backlog, inboxes=inboxes, counts=found))


@router.post(
    "",
    summary="Write to agents",
    openapi_extra=takes(NewMessage, NewMessage(recipient="code-reviewer-1", payload={"pause": "until noon"})),
    **answers(SentMessage, _SENT, status=201, problems=(400, 403, 404, 413, 415, 422, 429, 503)),
)
async def post_message(request: Request, plane: Plane) -> Response:
    """Put a message of the operator's into one agent's inbox, or into many."""
    new = await intake.read_one(request, NewMessage)
    bus, priority = _bus(plane), Priority(new.priority)
    if ":" in new.recipient:
        told = await bus.broadcast_message(
            sender_id=OPERATOR, recipients=new.recipient, message_type=new.type, payload=new.payload, priority=priority
        )
        full = {agent_id: error.retry_after_s for agent_id, error in told.full.items()}
        return encoded(SentMessage(sender=OPERATOR, ids=told.ids, full=full), 201)
    _check(plane, new.recipient)
    message_id = await bus.send_message(
        sender_id=OPERATOR, recipient_id=new.recipient, message_type=new.type, payload=new.payload, priority=priority
    )
    return encoded(SentMessage(sender=OPERATOR, ids={new.recipient: message_id}, full={}), 201)


@router.post(
    "/ask",
    summary="Ask an agent",
    openapi_extra=takes(NewQuestion, NewQuestion(recipient="code-reviewer-1", payload="How many findings are open?")),
    **answers(MessageShape, _ANSWER, problems=(400, 403, 404, 413, 415, 422, 429, 503, 504)),
)
async def ask(request: Request, plane: Plane) -> Response:
    """Put a question of the operator's to an agent and wait for its answer."""
    new = await intake.read_one(request, NewQuestion)
    _check(plane, new.recipient)
    answer = await _bus(plane).request(
        sender_id=OPERATOR,
        recipient_id=new.recipient,
        message_type=new.type,
        payload=new.payload,
        timeout_s=new.timeout_s,
    )
    return encoded(MessageShape.of(answer))


@router.get("/inboxes/{agent_id}", summary="Look at an inbox", **answers(InboxShape, _INBOX, problems=(404, 422, 503)))
async def get_inbox(agent_id: AgentId, plane: Plane) -> Response:
    """Show how many messages an agent's inbox holds."""
    _check(plane, agent_id)
    held, waiting = Counter[str](), Counter[str]()
    for inbox, count in (await _bus(plane).inboxes.backlog()).items():
        of, _, question = inbox.partition("#")
        (waiting if question else held)[of] += count
    return encoded(_inbox(plane, agent_id, held, waiting))


@router.get(
    "/refused", summary="List refused messages", **answers(RefusedPage, RefusedPage(items=[_REFUSED]), problems=(422, 503))
)
async def list_refused(plane: Plane, limit: Limit = 100) -> Response:
    """List messages that were forged, replayed, stale or forbidden, and so reached nobody; the last thousand are kept."""
    found = await _bus(plane).refusals(limit=limit)
    return encoded(
        RefusedPage(
            items=[
                RefusedMessage(
                    why=one.why, message_id=one.message_id, sender=one.sender, recipient=one.recipient, at_ms=one.at_ms
                )
                for one in found
            ]
        )
    )


@router.get(
    "/dead", summary="List dead messages", **answers(DeadMessagePage, DeadMessagePage(items=[_DEAD]), problems=(422, 503))
)
async def list_dead(plane: Plane, limit: Limit = 100) -> Response:
    """List messages that were handed out too often without a receipt; the last thousand are kept."""
    found = await _bus(plane).dead_messages(limit=limit)
    return encoded(
        DeadMessagePage(
            items=[
                DeadMessageShape(message_id=one.message_id, inbox=one.inbox, deliveries=one.deliveries, at_ms=one.at_ms)
                for one in found
            ]
        )
    )


def _bus(plane: ControlPlane) -> AgentCommunicationBus:
    if plane.bus is None:
        raise SettingInvalid("this fleet has no message bus: set AMAS_MESSAGE_SECRET, the same for its hosts and control plane")
    return plane.bus


def _check(plane: ControlPlane, agent_id: str) -> None:
    """Raise AgentUnknown for one whom the fleet doesn't declare: its inbox would fill and nobody would ever look.

    Remote agents come and go, so an inbox of theirs may wait for them.
    """
    if is_remote(agent_id):
        return
    if unknown := why_no_agent(agent_id, plane.fleet.pools):
        raise AgentUnknown(unknown)


def _inbox(plane: ControlPlane, agent_id: str, held: Counter[str], waiting: Counter[str]) -> InboxShape:
    state = backlog_state(held[agent_id], plane.messages)
    return InboxShape(agent_id=agent_id, held=held[agent_id], state=state, answers=waiting[agent_id])
