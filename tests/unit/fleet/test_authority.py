"""What fleet files say of rights, and what each mistake says: line, field and the mend."""

from pathlib import Path

import pytest

from amas.errors import FleetFileInvalid
from amas.fleet.load import load_fleet
from amas.model.authority import AUTHORITY, Right
from amas.model.fleet import FleetSpec
from amas.model.states import Layer

FILE = """\
name: small
authority:
  specialist: [-split, message]
pools:
  - name: boss
    layer: executive
    agent: my_agents:Boss
    capabilities: [lead.all]
  - name: writer
    lead: boss
    agent: my_agents:write
    capabilities: [text.write]
    rights: [approve, -spend]
  - {name: reader, lead: boss, agent: "my_agents:read", capabilities: [text.read]}
"""


def load(folder: Path, text: str) -> FleetSpec:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return load_fleet(path, environ={})


def test_a_layer_and_a_pool_get_and_lose_rights(tmp_path: Path) -> None:
    rights = {member.pool: member.rights for member in load(tmp_path, FILE).members}
    assert rights["boss"] == AUTHORITY[Layer.EXECUTIVE]
    assert rights["reader"] == {Right.ESCALATE, Right.SPEND, Right.MESSAGE}
    assert rights["writer"] == {Right.ESCALATE, Right.MESSAGE, Right.APPROVE}


def test_every_member_has_the_rights_that_the_file_says(tmp_path: Path) -> None:
    rights = {member.pool: Right.MESSAGE in member.rights for member in load(tmp_path, FILE).members}
    assert rights == {"boss": True, "writer": True, "reader": True}
    mute = {member.pool: member for member in load(tmp_path, FILE.replace("-spend]", "-message]")).members}
    assert Right.MESSAGE not in mute["writer"].rights


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("-split", "-splitt", "fleet.yaml:3: authority.specialist[0]: there is no right 'splitt' (did you mean 'split'?)"),
        ("specialist:", "special:", "fleet.yaml:3: authority.special: there is no layer 'special' (did you mean 'specialist'?)"),
        (
            "[approve,",
            "[fly,",
            "fleet.yaml:13: pools[1].rights[0]: there is no right 'fly': the rights are plan, split, spawn, approve, escalate, "
            "message, spend; a - before one takes it away",
        ),
        ("-spend]", "-approve]", "fleet.yaml:13: pools[1].rights[1]: 'approve' stands here twice: keep one"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, before: str, after: str, says: str) -> None:
    with pytest.raises(FleetFileInvalid) as error:
        load(tmp_path, FILE.replace(before, after))
    assert str(error.value).removeprefix(f"{tmp_path}/") == says
