"""Who may send what to whom."""

import pytest

from amas.core.messaging import forbidden
from amas.model.authority import AUTHORITY, Member
from amas.model.message import MessageType
from amas.model.states import Layer

M = MessageType
MEMBERS = {
    name: Member(pool=name, layer=layer, lead=lead, rights=AUTHORITY[layer])
    for name, layer, lead in [
        ("chief", Layer.EXECUTIVE, ""),
        ("quality", Layer.EXECUTIVE, ""),
        ("red", Layer.MANAGEMENT, "chief"),
        ("blue", Layer.MANAGEMENT, "chief"),
        ("red-a", Layer.SPECIALIST, "red"),
        ("red-b", Layer.SPECIALIST, "red"),
        ("blue-a", Layer.SPECIALIST, "blue"),
        ("red-hand", Layer.EXECUTION, "red-a"),
    ]
}


@pytest.mark.parametrize(
    ("sender", "recipient", "kind", "why"),
    [
        ("red-a", "red-a", M.STATUS, ""),
        ("red-a", "red-b", M.STATUS, ""),
        ("red-a", "red", M.STATUS, ""),
        ("red-a", "red-hand", M.TASK_HANDOFF, ""),
        ("red-a", "blue-a", M.STATUS, "no right to write"),
        ("red-a", "chief", M.STATUS, "no right to write"),
        ("red-hand", "red", M.STATUS, "no right to write"),
        ("red", "blue-a", M.STATUS, ""),
        ("blue-a", "red", M.HELP_RESPONSE, ""),
        ("blue-a", "red-a", M.HELP_RESPONSE, "no right to write"),
        ("red-hand", "red-a", M.ESCALATION, ""),
        ("red-hand", "red", M.ESCALATION, ""),
        ("red-hand", "chief", M.ESCALATION, ""),
        ("red-hand", "quality", M.ESCALATION, ""),
        ("red-a", "red-b", M.ESCALATION, "only climbs"),
        ("chief", "red", M.ESCALATION, "only climbs"),
        ("red-a", "blue", M.ESCALATION, "only climbs"),
        ("red", "red-a", M.QUALITY_APPROVAL, "no right to approve"),
        ("quality", "red-a", M.QUALITY_APPROVAL, ""),
    ],
)
def test_the_hierarchy_decides(sender: str, recipient: str, kind: MessageType, why: str) -> None:
    found = forbidden(MEMBERS[sender], MEMBERS[recipient], kind, MEMBERS)
    assert why in found
    assert bool(why) == bool(found)


def test_without_the_right_nobody_escalates() -> None:
    mute = Member(pool="mute", layer=Layer.SPECIALIST, lead="red")
    assert "no right to escalate" in forbidden(mute, MEMBERS["red"], M.ESCALATION, MEMBERS)
