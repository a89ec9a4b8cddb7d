"""The message bus: agents write to each other, whatever hosts they are on.

Whoever sends asks the hierarchy's policy and signs; whoever receives checks signature, policy and expiry again before an agent
gets to see a message, so that nothing depends on the sender's good will. The engine keeps repeats and replays out. What is
refused on either side is audited (`refusals`), and an agent never sees it.

A request's answer has an inbox of its own, named by the request: `request` waits for that and leaves the agent's other mail be.
`docs/messages.md` shows it.
"""

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from amas.agents.insist import insist
from amas.clock import child_id, new_id
from amas.core.messaging import forbidden, leads_of
from amas.engine.bell import Bell
from amas.engine.connection import Engine
from amas.engine.inbox import DeadMessage, Delivery, Fate, Inboxes, Letter, Receipt, Refusal
from amas.errors import InboxFull, MessageForbidden, MessageRefused, PayloadTooLarge, ReplyOverdue
from amas.model.authority import Member
from amas.model.fleet import FleetSpec
from amas.model.message import TO_CAPABILITY, TO_LAYER, TO_POOL, TO_TEAM, TO_TOPIC, Message, MessageType
from amas.model.states import Priority
from amas.model.task import Json
from amas.policy.signatures import Keyring
from amas.settings import MessageSettings

PAYLOAD_BYTES_MAX = 64 << 10
"""As for inputs: what is larger goes to the artifact store, and its reference into the message."""
POLL_S = 1.0
"""How often a receiver that waits looks anyway: a bell may be lost with its connection."""
_NUMBERED = re.compile(r"(.+)-\d+")


def members_of(fleet: FleetSpec) -> dict[str, Member]:
    """Return each pool's place in the hierarchy, with what the fleet file lets it do."""
    return {member.pool: member for member in fleet.members}


def backlog_state(held: int, settings: MessageSettings) -> str:
    """Return `ok`, `warning` or `critical` for what one inbox holds."""
    if held >= settings.backlog_critical:
        return "critical"
    return "warning" if held >= settings.backlog_warning else "ok"


class Told(NamedTuple):
    """What became of a message to many."""

    ids: dict[str, str]
    """agent id -> the id of its message."""
    full: dict[str, InboxFull]
    """Agents whose inboxes took nothing; send those again later."""


class AgentCommunicationBus:
    """The bus as one process sees it: `run` in the background makes waiting receivers quick; all else works without."""

    def __init__(
        self,
        engine: Engine,
        fleet: FleetSpec,
        settings: MessageSettings,
        *,
        members: Mapping[str, Member] | None = None,
        agents: Sequence[str] = (),
    ) -> None:
        """`members`: the hierarchy where it isn't what the layers say. `agents`: who receives in this process."""
        self.inboxes = Inboxes(engine, settings)
        self._engine, self._fleet, self._settings = engine, fleet, settings
        self._members = members if members is not None else members_of(fleet)
        self._keys = Keyring.of(settings)
        self._receiver = new_id()
        self._news = {agent_id: asyncio.Event() for agent_id in agents}
        self._bell = Bell(engine, {f"mail:{one}": self._ringer(one) for one in agents}, connected=self._wake)

    async def run(self) -> None:
        """Listen for mail of `agents` until cancelled."""
        if self._news:
            await self._bell.run()

    def _ringer(self, agent_id: str) -> Any:
        return lambda _: self._news[agent_id].set()

    def _wake(self) -> None:
        for news in self._news.values():
            news.set()

    # -- who is who

    def _member(self, agent_id: str) -> Member | None:
        """Return the place of an agent, by the pool in its name."""
        named = _NUMBERED.fullmatch(agent_id)
        return self._members.get(named[1]) if named else None

    def _agents(self, pools: Sequence[Member]) -> list[str]:
        return [f"{one.pool}-{number}" for one in pools for number in range(1, self._fleet.pool(one.pool).replicas + 1)]

    async def resolve(self, recipient: str) -> list[str]:
        """Return the agents that a recipient stands for: itself, or those of a pool, team, layer, capability or topic."""
        prefix, _, name = recipient.partition(":")
        members = list(self._members.values())
        match f"{prefix}:":
            case _ if prefix == recipient:
                return [recipient]
            case prefix if prefix == TO_POOL:
                return self._agents([one for one in members if one.pool == name])
            case prefix if prefix == TO_TEAM:
                return self._agents([one for one in members if name in {one.pool, one.lead}])
            case prefix if prefix == TO_LAYER:
                return self._agents([one for one in members if one.layer.value == name])
            case prefix if prefix == TO_CAPABILITY:
                return self._agents([one for one in members if name in one.capabilities])
            case prefix if prefix == TO_TOPIC:
                return await self.inboxes.subscribers(name)
        raise MessageRefused(f"{recipient!r} is nobody: write an agent's id, or pool:, team:, layer:, capability: or topic:")

    def _reason(self, sender_id: str, recipient_id: str, kind: MessageType) -> str:
        """Return why the hierarchy forbids a message, or ""."""
        sender, recipient = self._member(sender_id), self._member(recipient_id)
        if sender is None or recipient is None:
            return f"{sender_id if sender is None else recipient_id} is no agent of this fleet"
        return forbidden(sender, recipient, kind, self._members)

    # -- sending

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
        """Put a message into one agent's inbox and return its id, once the engine has it.

        `InboxFull` says when to try again; `MessageForbidden` and `PayloadTooLarge` never work by trying again.
        """
        message = self._message(sender_id, recipient_id, MessageType(message_type), payload, priority)
        if reply_to:
            message = msgspec.structs.replace(message, reply_to=reply_to)
        ((_, receipt),) = await self._send([message])
        if receipt.fate is Fate.FULL:
            raise _full(message, receipt)
        return message.id

    async def broadcast_message(
        self,
        *,
        sender_id: str,
        recipients: str,
        message_type: MessageType,
        payload: Json = None,
        priority: Priority = Priority.NORMAL,
    ) -> Told:
        """Put a message into the inbox of everybody that `recipients` stands for, except the sender's, in one call.

        A full inbox keeps nobody else from getting it; one recipient that is forbidden refuses the whole.
        """
        base, names = new_id(), [one for one in await self.resolve(recipients) if one != sender_id]
        if not names:
            raise MessageRefused(f"{recipients!r} stands for nobody in this fleet but the sender")
        first = self._message(sender_id, names[0], MessageType(message_type), payload, priority)
        messages = [msgspec.structs.replace(first, id=child_id(base, one), recipient=one) for one in names]
        sent = await self._send(messages)
        return Told(
            {one.recipient: one.id for one, receipt in sent if receipt.fate is not Fate.FULL},
            {one.recipient: _full(one, receipt) for one, receipt in sent if receipt.fate is Fate.FULL},
        )

    def _message(self, sender: str, recipient: str, kind: MessageType, payload: Json, priority: int) -> Message:
        now = self._engine.now_ms()
        return Message(
            id=new_id(),
            sender=sender,
            recipient=recipient,
            type=kind,
            payload=payload,
            priority=int(priority),
            sent_ms=now,
            expires_ms=now + round(self._settings.timeout_s * 1000),
        )

    async def _send(self, messages: Sequence[Message]) -> list[tuple[Message, Receipt]]:
        """Check, sign and send; return each with its receipt. Refused whole where the hierarchy forbids one."""
        for message in messages:
            if why := self._reason(message.sender, message.recipient, message.type):
                await self._refuse("forbidden", message, b"")
                raise MessageForbidden(f"{message.sender} may not send {message.type} to {message.recipient}: {why}")
        signer = self._keys.signer(messages[0].sender)
        letters = [self._letter(message, signer.sign(message)) for message in messages]
        receipts = await self._put(letters)
        for message, receipt in zip(messages, receipts, strict=True):
            if receipt.fate in {Fate.REPLAYED, Fate.STALE, Fate.EXPIRED}:
                raise MessageRefused(f"message {message.id} to {message.recipient} was refused as {receipt.fate}: send a new one")
        return list(zip(messages, receipts, strict=True))

    async def _put(self, letters: Sequence[Letter]) -> list[Receipt]:
        """Send until the engine answers; from the second try on they are repeats."""
        tries = 0

        async def put() -> list[Receipt]:
            nonlocal tries
            tries += 1
            return await self.inboxes.send(letters, resend=tries > 1)

        return await insist(put, draw=random.random)

    def _letter(self, message: Message, signed: bytes) -> Letter:
        if len(signed) > PAYLOAD_BYTES_MAX:
            raise PayloadTooLarge(
                f"a message is {len(signed)} bytes, over {PAYLOAD_BYTES_MAX}: store the value as an artifact and send its id"
            )
        return Letter.of(
            _inbox(message.recipient, message.reply_to),
            signed,
            head=(message.id, message.sender, message.recipient),
            priority=message.priority,
            times_ms=(message.sent_ms, message.expires_ms),
        )

    async def deliver(self, signed: bytes, *, recipient_id: str) -> str:
        """Put a message that was signed elsewhere into its inbox and return its id; MessageRefused after auditing a bad one."""
        window_ms = round(self._settings.replay_window_s * 1000)
        message, why = self._keys.verify(signed, recipient=recipient_id, now_ms=self._engine.now_ms(), window_ms=window_ms)
        if message is None:
            await self.inboxes.refuse("forged", [("", "", recipient_id, signed)])
            raise MessageRefused(f"a message to {recipient_id} can't be read")
        if why:
            await self._refuse("forged" if why in {"forged", "misdirected"} else why, message, signed)
            raise MessageRefused(f"message {message.id}, said to be from {message.sender}, was refused as {why}")
        if why := self._reason(message.sender, message.recipient, message.type):
            await self._refuse("forbidden", message, signed)
            raise MessageForbidden(f"{message.sender} may not send {message.type} to {message.recipient}: {why}")
        (receipt,) = await self._put([self._letter(message, signed)])
        if receipt.fate is Fate.FULL:
            raise _full(message, receipt)
        if receipt.fate not in {Fate.TAKEN, Fate.SAME}:
            raise MessageRefused(f"message {message.id} from {message.sender} was refused as {receipt.fate}")
        return message.id

    async def _refuse(self, why: str, message: Message, signed: bytes) -> None:
        await self.inboxes.refuse(why, [(message.id, message.sender, message.recipient, signed)])

    # -- receiving

    async def receive(self, agent_id: str, *, limit: int = 100, wait_s: float = 0.0) -> list[Message]:
        """Return up to `limit` messages for an agent, the most urgent first, waiting up to `wait_s` seconds for the first.

        Each comes again unless it is acknowledged within AMAS_MESSAGE_CLAIM_S: handle it so that twice does no harm.
        """
        return await self._receive(agent_id, agent_id, limit=limit, wait_s=wait_s)

    async def _receive(self, agent_id: str, inbox: str, *, limit: int, wait_s: float) -> list[Message]:
        loop, news = asyncio.get_running_loop(), self._news.get(agent_id)
        until_s = loop.time() + wait_s
        while True:
            if news:
                news.clear()
            (found,) = await self.inboxes.receive(self._receiver, [inbox], limit=limit)
            if good := await self._checked(agent_id, inbox, found):
                return good
            left_s = until_s - loop.time()
            if left_s <= 0:
                return []
            await _wait(news, min(left_s, POLL_S))

    async def _checked(self, agent_id: str, inbox: str, found: Sequence[Delivery]) -> list[Message]:
        """Return the messages that an agent may see; the others are audited and dropped."""
        good, now = [], self._engine.now_ms()
        for one in found:
            message, why = self._keys.verify(one.body, recipient=agent_id, now_ms=now)
            kind = "forged"
            if message is not None and not why and (message.id != one.id or _inbox(agent_id, message.reply_to) != inbox):
                why = "misdirected"
            if message is not None and not why:
                why, kind = self._reason(message.sender, message.recipient, message.type), "forbidden"
            if message is not None and not why:
                good.append(msgspec.structs.replace(message, deliveries=one.deliveries))
                continue
            if why != "expired":
                await self.inboxes.refuse(kind, [(one.id, message.sender if message else "", agent_id, one.body)])
            await self.inboxes.acknowledge(self._receiver, inbox, [one.id])
        return good

    async def acknowledge(self, messages: Sequence[Message]) -> list[str]:
        """Say that messages are done with; return the ids for which that came too late, since they are another host's now."""
        stale, by_inbox = [], dict[str, list[str]]()
        for message in messages:
            by_inbox.setdefault(_inbox(message.recipient, message.reply_to), []).append(message.id)
        for inbox, ids in by_inbox.items():
            stale += await self.inboxes.acknowledge(self._receiver, inbox, ids)
        return stale

    # -- conversations

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
        asked = await self.send_message(
            sender_id=sender_id, recipient_id=recipient_id, message_type=message_type, payload=payload, priority=Priority.HIGH
        )
        answers = await self._receive(sender_id, _inbox(sender_id, asked), limit=1, wait_s=timeout_s)
        if not answers:
            raise ReplyOverdue(f"{recipient_id} didn't answer message {asked} within {timeout_s:g} s")
        await self.acknowledge(answers)
        return answers[0]

    async def reply(self, to: Message, payload: Json, *, message_type: MessageType = MessageType.HELP_RESPONSE) -> str:
        """Answer a message and return the answer's id; it reaches whoever waits in `request`."""
        return await self.send_message(
            sender_id=to.recipient,
            recipient_id=to.sender,
            message_type=message_type,
            payload=payload,
            priority=Priority(to.priority),
            reply_to=to.id,
        )

    async def share_context(self, *, sender_id: str, recipients: str, context: Json) -> Told:
        """Tell everybody that `recipients` stands for what the sender knows."""
        return await self.broadcast_message(
            sender_id=sender_id, recipients=recipients, message_type=MessageType.SHARE_CONTEXT, payload=context
        )

    async def escalate_to_management(self, *, sender_id: str, payload: Json) -> str:
        """Hand a question to the sender's lead, the first agent of that pool, and return the message's id."""
        member = self._member(sender_id)
        lead = next(leads_of(member, self._members), None) if member else None
        if lead is None:
            raise MessageForbidden(f"{sender_id} reports to nobody: a question of the topmost layer is for a person")
        return await self.send_message(
            sender_id=sender_id,
            recipient_id=f"{lead.pool}-1",
            message_type=MessageType.ESCALATION,
            payload=payload,
            priority=Priority.HIGH,
        )

    # -- what people look at

    async def get_communication_metrics(self) -> dict[str, Any]:
        """Return `state` (the worst inbox's), `backlog` in all, `inboxes` by agent with `held` and `state`, and the counters."""
        held = await self.inboxes.backlog()
        states = {inbox: backlog_state(count, self._settings) for inbox, count in held.items()}
        worst = next((state for state in ("critical", "warning") if state in states.values()), "ok")
        shown = {inbox: {"held": count, "state": states[inbox]} for inbox, count in held.items()}
        return {"state": worst, "backlog": sum(held.values()), "inboxes": shown, **await self.inboxes.totals()}

    async def refusals(self, *, limit: int = 100) -> list[Refusal]:
        """Return the latest messages that were refused as forged, forbidden, replayed or stale, the newest first."""
        return await self.inboxes.refusals(limit=limit)

    async def dead_messages(self, *, limit: int = 100) -> list[DeadMessage]:
        """Return the latest messages that were handed out too often without a word, the newest first."""
        return await self.inboxes.dead(limit=limit)


def _inbox(agent_id: str, reply_to: str) -> str:
    return f"{agent_id}#{reply_to}" if reply_to else agent_id


def _full(message: Message, receipt: Receipt) -> InboxFull:
    return InboxFull(message.recipient, held=receipt.held, retry_after_s=receipt.retry_ms / 1000)


async def _wait(news: asyncio.Event | None, at_most_s: float) -> None:
    """Wait for news, or a poll's time where nobody listens."""
    if news is None:
        await asyncio.sleep(min(at_most_s, POLL_S / 20))
        return
    try:
        async with asyncio.timeout(at_most_s):
            await news.wait()
    except TimeoutError:
        pass
