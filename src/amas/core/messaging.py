"""Who may send what to whom: the hierarchy's policy for messages, pure, asked by who sends and again by who receives.

One's own pool, the pools that share its lead, its lead and its own reports can always be written to; anybody else takes the right
`message`, or a question that he was allowed to ask. An escalation only climbs, and an approval takes the right `approve`.
"""

from collections.abc import Iterator, Mapping

from amas.model.authority import Member, Right
from amas.model.message import MessageType
from amas.model.states import Layer

_RANK = {layer: rank for rank, layer in enumerate(Layer)}

ANSWERS = frozenset({MessageType.HELP_RESPONSE, MessageType.QUALITY_FEEDBACK, MessageType.ACKNOWLEDGEMENT})
"""What may go back to whoever was allowed to ask."""


def forbidden(sender: Member, recipient: Member, kind: MessageType, members: Mapping[str, Member]) -> str:
    """Return why `sender` may not send this to `recipient`, or ""; `members`: the fleet's pools by name."""
    if kind is MessageType.ESCALATION:
        return _not_upwards(sender, recipient, members)
    if kind is MessageType.QUALITY_APPROVAL and Right.APPROVE not in sender.rights:
        return f"{sender.pool} has no right to approve"
    if _near(sender, recipient) or Right.MESSAGE in sender.rights:
        return ""
    if kind in ANSWERS and Right.MESSAGE in recipient.rights:
        return ""
    return f"{recipient.pool} is neither of {sender.pool}'s team nor its lead, and {sender.pool} has no right to write to others"


def leads_of(member: Member, members: Mapping[str, Member]) -> Iterator[Member]:
    """Yield whom a member reports to, the nearest first, once each."""
    seen = {member.pool}
    while (lead := members.get(member.lead)) is not None and lead.pool not in seen:
        seen.add(lead.pool)
        yield lead
        member = lead


def _near(one: Member, other: Member) -> bool:
    """Return whether two are of one team, or one leads the other."""
    return one.pool in {other.pool, other.lead} or other.pool == one.lead or (one.lead != "" and one.lead == other.lead)


def _not_upwards(sender: Member, recipient: Member, members: Mapping[str, Member]) -> str:
    if Right.ESCALATE not in sender.rights:
        return f"{sender.pool} has no right to escalate"
    if any(lead.pool == recipient.pool for lead in leads_of(sender, members)):
        return ""
    if recipient.layer is Layer.EXECUTIVE and _RANK[recipient.layer] < _RANK[sender.layer]:
        return ""
    return f"an escalation only climbs, and {recipient.pool} doesn't lead {sender.pool}"
