"""Who is who on the message bus: agents' places in the hierarchy, whom a recipient stands for, and who may not write to whom.

From the fleet file alone; only a topic's subscribers are known elsewhere. It remembers what it was asked, since the same few
pools write to each other all the time.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from amas.core.messaging import forbidden, leads_of
from amas.model.authority import Member
from amas.model.fleet import FleetSpec
from amas.model.message import TO_CAPABILITY, TO_LAYER, TO_POOL, TO_TEAM, MessageType
from amas.model.numbers import expand
from amas.model.remote import AGENT_NAME, AGENT_PREFIX, REMOTE_POOL

AGENTS_KNOWN_MAX = 100_000
"""Three times the largest fleet: names that nobody has are remembered, too, and must not fill the memory."""
PAIRS_KNOWN_MAX = 100_000
_NUMBERED = re.compile(r"(.+)-[1-9][0-9]{0,8}")
_ELSEWHERE = re.compile(re.escape(AGENT_PREFIX) + AGENT_NAME)
"""An inbox is kept for every name that an agent can have, so no two names may stand for one, nor any for an answer's inbox."""


class Directory:
    """The agents of one fleet."""

    def __init__(self, fleet: FleetSpec) -> None:
        self._fleet = fleet
        self._members = {member.pool: member for member in fleet.members}
        self.member = lru_cache(AGENTS_KNOWN_MAX)(self._member)
        """agent id -> its place, by the pool in its name, or None."""
        self._forbidden = lru_cache(PAIRS_KNOWN_MAX)(self._forbid)

    def _member(self, agent_id: str) -> Member | None:
        if _ELSEWHERE.fullmatch(agent_id):
            return self._members.get(REMOTE_POOL)
        named = _NUMBERED.fullmatch(agent_id)
        return self._members.get(named[1]) if named else None

    def _forbid(self, sender: str, recipient: str, kind: MessageType) -> str:
        return forbidden(self._members[sender], self._members[recipient], kind, self._members)

    def reason(self, sender_id: str, recipient_id: str, kind: MessageType) -> str:
        """Return why the hierarchy forbids a message, or ""."""
        sender, recipient = self.member(sender_id), self.member(recipient_id)
        if sender is None or recipient is None:
            return f"{sender_id if sender is None else recipient_id} is no agent of this fleet"
        return self._forbidden(sender.pool, recipient.pool, kind)

    def lead(self, agent_id: str) -> str:
        """Return the first agent of the pool that an agent reports to, or "" for one that reports to nobody."""
        member = self.member(agent_id)
        lead = next(leads_of(member, self._members), None) if member else None
        if lead is None:
            return ""
        numbers = self._fleet.pool(lead.pool).numbers
        return f"{lead.pool}-{numbers[0][0] if numbers else 1}"

    def _agents(self, pools: Sequence[Member]) -> list[str]:
        return [f"{one.pool}-{number}" for one in pools for number in expand(self._fleet.pool(one.pool).numbers)]

    def group(self, prefix: str, name: str) -> list[str] | None:
        """Return the agents of a pool, team, layer or capability; None for a prefix that is none of these."""
        members = list(self._members.values())
        match prefix:
            case p if p == TO_POOL:
                return self._agents([one for one in members if one.pool == name])
            case p if p == TO_TEAM:
                return self._agents([one for one in members if name in {one.pool, one.lead}])
            case p if p == TO_LAYER:
                return self._agents([one for one in members if one.layer.value == name])
            case p if p == TO_CAPABILITY:
                return self._agents([one for one in members if name in one.capabilities])
        return None
