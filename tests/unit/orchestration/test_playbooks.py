from pathlib import Path

import pytest

from amas.errors import FleetFileInvalid
from amas.model.goal import Goal
from amas.orchestration.decomposer import rules_plan
from amas.orchestration.planner import FleetFacts
from amas.orchestration.playbooks import load_playbook, load_playbooks

SMALL = """\
name: soup
title: Soup
needs_input: false
source: shop
deliverable: serve
checked_by: kitchen.taste
subjects: [soup]
synonyms:
  cook: [cook, boil]
fixed:
- {key: shop, capability: kitchen.shop}
- {key: serve, capability: kitchen.serve, needs: [shop, "@parts"]}
phases:
- key: broth
  lead: kitchen.chef
  asked_by: ["{cook} soup"]
  work:
  - {capability: kitchen.boil, files: none}
- key: bread
  lead: kitchen.baker
  default: false
  after: [broth]
  asked_by: [bread]
  work:
  - {capability: kitchen.bake, files: none}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "soup.yaml"
    path.write_text(text)
    return path


def test_another_kind_of_goal_is_data_alone(tmp_path: Path) -> None:
    playbooks = (*load_playbooks(), load_playbook(write(tmp_path, SMALL)))
    facts = FleetFacts(capabilities=frozenset().union(*(each.capabilities for each in playbooks)), playbooks=playbooks)
    plan = rules_plan(Goal(text="Boil a soup and bake bread"), facts)
    assert plan.playbook == "soup"
    assert [task.key for task in plan.tasks] == ["shop", "serve", "broth", "gate/broth", "bread", "gate/bread"]
    assert rules_plan(Goal(text="Review the code", input_dir="/in"), facts).playbook == "code-base"


def test_shipped_playbooks_load_by_name_and_by_path() -> None:
    assert [each.name for each in load_playbooks(["code-base"])] == ["code-base"]
    assert "code-base" in [each.name for each in load_playbooks()]
    with pytest.raises(FleetFileInvalid, match="No such file"):
        load_playbooks(["none"])


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("deliverable: serve", "deliverable: server", 5, "'server' is none of the fixed tasks (did you mean 'serve'?)"),
        ("source: shop", "source: shopp", 4, "did you mean 'shop'"),
        ("needs: [shop,", "needs: [shopp,", 12, "did you mean 'shop'"),
        ("after: [broth]", "after: [bred]", 21, "'bred' is no phase above this one"),
        ("key: bread", "key: broth", 14, "'broth' is used more than once"),
        ("{cook} soup", "{cok} soup", 16, "no synonyms are called 'cok' (did you mean 'cook'?)"),
        ("files: none}", "file: none}", 17, "did you mean 'files'"),
        ("  lead: kitchen.chef\n", "", 14, "'lead' is missing"),
    ],
)
def test_a_mistake_names_its_line_and_mend(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(FleetFileInvalid) as caught:
        load_playbook(write(tmp_path, SMALL.replace(old, new, 1)))
    assert words in str(caught.value)
    assert abs(caught.value.line - line) <= 1, str(caught.value)
