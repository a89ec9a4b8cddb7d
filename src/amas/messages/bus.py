"""The message bus: agents write to each other, whatever hosts they are on.

Whoever sends asks the hierarchy's policy and signs; whoever receives checks signature, policy and expiry again before an agent
gets to see a message, so that nothing depends on the sender's good will. The engine keeps repeats and replays out. What is
refused on either side is audited (`refusals`), and an agent never sees it.

A request's answer has an inbox of its own, named by the request: `request` waits for that and leaves the agent's other mail be.
`docs/messages.md` shows it.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from amas.clock import child_id, new_id
from amas.engine.coalesce import Coalescer
from amas.engine.connection import Engine
from amas.engine.inbox import ID_BYTES_MAX, DeadMessage, Delivery, Fate, Inboxes, Letter, Receipt, Refusal
from amas.engine.insist import insist
from amas.engine.payload import encode_value
from amas.errors import InboxFull, MessageForbidden, MessageRefused, PayloadTooLarge, ReplyOverdue, SealKeyMissing
from amas.messages.arrivals import Arrivals
from amas.messages.directory import Directory
from amas.model.fleet import FleetSpec
from amas.model.latency import Latencies
from amas.model.message import TO_TOPIC, Message, MessageType
from amas.model.states import Priority
from amas.model.task import Json
from amas.observe.tracing import current
from amas.policy.signatures import Keyring
from amas.sealing import Seal, is_sealed, key_id_of
from amas.settings import MessageSettings

PAYLOAD_BYTES_MAX = 64 << 10
"""As for inputs: what is larger goes to the artifact store, and its reference into the message."""
_PRIORITIES = frozenset(map(int, Priority))
LETTERS_IN_A_CALL = 500
"""As for tasks: some milliseconds of the engine's time."""


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
        agents: Sequence[str] = (),
        seal: Seal | None = None,
    ) -> None:
        """`agents`: who receives in this process to begin with. `seal`: what payloads are sealed with."""
        self._seal = seal
        self.inboxes = Inboxes(engine, settings)
        self.latencies = Latencies()
        """How long it took until what this process received was first handed out, by type, since it began."""
        self._engine, self._settings = engine, settings
        self._directory = Directory(fleet)
        self._keys = Keyring.of(settings)
        self._mail = Arrivals(engine, self.inboxes, agents)
        self._letters = Coalescer(self._put, limit=LETTERS_IN_A_CALL)

    def follow(self, fleet: FleetSpec) -> None:
        """Let these be the members, and theirs the hierarchy, from now on."""
        self._directory = Directory(fleet)

    async def run(self) -> None:
        """Listen for mail of the agents here until cancelled."""
        await self._mail.run()

    @property
    def agents(self) -> Sequence[str]:
        """Who receives in this process."""
        return self._mail.agents

    async def attach(self, agents: Iterable[str]) -> None:
        """Receive for these agents, too; what their last receiver hadn't acknowledged comes here at once, in its order."""
        await self._mail.attach(agents)

    async def detach(self, agents: Iterable[str]) -> None:
        """Receive for these agents no more: they go to another process, or end."""
        await self._mail.detach(agents)

    async def resolve(self, recipient: str) -> list[str]:
        """Return the agents that a recipient stands for: itself, or those of a pool, team, layer, capability or topic."""
        prefix, colon, name = recipient.partition(":")
        if not colon:
            return [recipient]
        if prefix + colon == TO_TOPIC:
            return await self.inboxes.subscribers(name)
        agents = self._directory.group(prefix + colon, name)
        if agents is None:
            raise MessageRefused(f"{recipient!r} is nobody: write an agent's id, or pool:, team:, layer:, capability: or topic:")
        return agents

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
        (letter,) = await self._signed([message])
        receipt = await self._letters.put(letter)
        _check(message, receipt)
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
        """Put a message into the inbox of everybody that `recipients` stands for, except the sender's.

        A full inbox keeps nobody else from getting it; one recipient that is forbidden refuses the whole.
        """
        base, names = new_id(), [name for name in await self.resolve(recipients) if name != sender_id]
        if not names:
            raise MessageRefused(f"{recipients!r} stands for nobody in this fleet but the sender")
        model = self._message(sender_id, names[0], MessageType(message_type), payload, priority)
        messages = [msgspec.structs.replace(model, id=child_id(base, name), recipient=name) for name in names]
        letters, told = await self._signed(messages), Told({}, {})
        for first in range(0, len(letters), LETTERS_IN_A_CALL):
            receipts = await self._put(letters[first : first + LETTERS_IN_A_CALL])
            for one, receipt in zip(messages[first:], receipts, strict=False):
                _check(one, receipt)
                if receipt.fate is Fate.FULL:
                    told.full[one.recipient] = _full(one, receipt)
                else:
                    told.ids[one.recipient] = one.id
        return told

    def _message(self, sender: str, recipient: str, kind: MessageType, payload: Json, priority: int) -> Message:
        now = self._engine.now_ms()
        return Message(
            id=new_id(),
            sender=sender,
            recipient=recipient,
            type=kind,
            payload=payload if self._seal is None else self._seal.value(encode_value(payload, "a message's payload")),
            priority=int(priority),
            sent_ms=now,
            expires_ms=now + round(self._settings.timeout_s * 1000),
            traceparent=current(),
        )

    async def _signed(self, messages: Sequence[Message]) -> list[Letter]:
        """Return one sender's messages signed; refused whole where the hierarchy forbids one."""
        for message in messages:
            if why := self._directory.reason(message.sender, message.recipient, message.type):
                await self._refuse("forbidden", message, b"")
                raise MessageForbidden(f"{message.sender} may not send {message.type} to {message.recipient}: {why}")
        signer = self._keys.signer(messages[0].sender)
        return [self._letter(message, signer.sign(message)) for message in messages]

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
        if len(message.id.encode()) > ID_BYTES_MAX or message.priority not in _PRIORITIES:
            raise MessageRefused(f"a message's id has at most {ID_BYTES_MAX} bytes, and its priority is from 0 to 3")
        return Letter.of(
            _inbox(message.recipient, message.reply_to),
            signed,
            message_id=message.id,
            sender=message.sender,
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
        if why := self._directory.reason(message.sender, message.recipient, message.type):
            await self._refuse("forbidden", message, signed)
            raise MessageForbidden(f"{message.sender} may not send {message.type} to {message.recipient}: {why}")
        receipt = await self._letters.put(self._letter(message, signed))
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
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        with self._mail.watching(inbox) as news:
            while True:
                news.clear()
                found = await self._mail.claim(inbox, limit)
                if good := await self._checked([(inbox, found)]):
                    return good
                left_s = until_s - loop.time()
                if left_s <= 0:
                    return []
                if not found:
                    await self._mail.wait(agent_id, news, left_s)

    async def always_read(self, agent_id: str) -> None:
        """Say that somebody calls `receive` for an agent of this process whenever it isn't at work on a message.

        A message that comes into its empty inbox is then handed out as it is sent, which takes half the time.
        """
        await self._mail.always_read([agent_id])

    async def receive_all(self, *, limit: int = 1000, wait_s: float = 0.0) -> list[Message]:
        """Return up to `limit` messages, at most 1000, for all agents of this process, waiting up to `wait_s` s for the first.

        `Message.recipient` says whose each is; an agent's come in the order in which `receive` would give them, and as with that
        each comes again unless it is acknowledged in time. Answers to a `request` aren't among them.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        await self._mail.always_read()
        while True:
            found = await self._mail.collect(limit)
            if good := await self._checked(found):
                return good
            left_s = until_s - loop.time()
            if left_s <= 0:
                return []
            if not found:
                await self._mail.wait_any(left_s)

    async def _checked(self, found: Iterable[tuple[str, Sequence[Delivery]]]) -> list[Message]:
        """Return the messages that agents may see; the others are audited and dropped."""
        good, bad, now = list[Message](), list[tuple[str, str]](), self._engine.now_ms()
        for inbox, deliveries in found:
            for one in deliveries:
                message, why, kind = self._judged(inbox, one, now)
                if message is not None and not why:
                    if message.deliveries == 1:
                        self.latencies.add(max(0, now - message.sent_ms) / 1000)
                    if is_sealed(message.payload):
                        message = self._opened(message)
                    good.append(message)
                    continue
                if why != "expired":
                    sender, agent_id = message.sender if message else "", _agent(inbox)
                    await self.inboxes.refuse(kind, [(one.id, sender, agent_id, one.body)])
                bad.append((inbox, one.id))
        await self._mail.drop([(inbox, [message_id]) for inbox, message_id in bad])
        return good

    def _opened(self, message: Message) -> Message:
        """Return a message with its payload; SealKeyMissing leaves it in its inbox, for whoever has the key."""
        if self._seal is None:
            raise SealKeyMissing(key_id_of(message.payload))
        return msgspec.structs.replace(message, payload=self._seal.opened(message.payload))

    def _judged(self, inbox: str, one: Delivery, now_ms: int) -> tuple[Message | None, str, str]:
        """Return a message as its recipient gets it, why it mustn't, and what the audit calls that."""
        message, why = self._keys.verify(one.body, recipient=_agent(inbox), now_ms=now_ms)
        if message is None or why:
            return message, why, "forged"
        if message.id != one.id or _inbox(message.recipient, message.reply_to) != inbox:
            return message, "misdirected", "forged"
        if why := self._directory.reason(message.sender, message.recipient, message.type):
            return message, why, "forbidden"
        if message.deliveries != one.deliveries:
            message = msgspec.structs.replace(message, deliveries=one.deliveries)
        return message, "", ""

    async def acknowledge(self, messages: Iterable[Message]) -> list[str]:
        """Say that messages are done with; return the ids for which that came too late, since they are another host's now.

        Many at once cost far less than one at a time.
        """
        by_inbox = dict[str, list[str]]()
        for message in messages:
            by_inbox.setdefault(_inbox(message.recipient, message.reply_to), []).append(message.id)
        return await self._mail.drop(list(by_inbox.items()))

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
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while answers := await self._receive(
            sender_id, _inbox(sender_id, asked), limit=1, wait_s=max(until_s - loop.time(), 0.0)
        ):
            await self.acknowledge(answers)
            if answers[0].sender == recipient_id:
                return answers[0]
            await self._refuse("forbidden", answers[0], b"")  # who knows the question's id could answer in another's place
        raise ReplyOverdue(f"{recipient_id} didn't answer message {asked} within {timeout_s:g} s")

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
        lead = self._directory.lead(sender_id)
        if not lead:
            raise MessageForbidden(f"{sender_id} reports to nobody: a question of the topmost layer is for a person")
        return await self.send_message(
            sender_id=sender_id,
            recipient_id=lead,
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


def _agent(inbox: str) -> str:
    return inbox.partition("#")[0]


def _check(message: Message, receipt: Receipt) -> None:
    """Raise MessageRefused for a new message that the engine didn't take for another reason than that the inbox is full."""
    if receipt.fate in {Fate.REPLAYED, Fate.STALE, Fate.EXPIRED}:
        raise MessageRefused(f"message {message.id} to {message.recipient} was refused as {receipt.fate}: send a new one")


def _full(message: Message, receipt: Receipt) -> InboxFull:
    return InboxFull(message.recipient, held=receipt.held, retry_after_s=receipt.retry_ms / 1000)
