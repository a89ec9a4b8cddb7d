"""Goals in plain words find the research playbook, and goals about code don't."""

import pytest

from amas.fleet.load import load_fleet
from amas.model.fleet import FleetLimits
from amas.model.goal import Goal
from amas.orchestration.decomposer import rules_plan
from amas.orchestration.planner import FleetFacts
from amas.orchestration.playbooks import load_playbooks


def _plan(text: str, folder: str = "") -> str:
    facts = FleetFacts(
        capabilities=load_fleet("amas", environ={}).capabilities, playbooks=tuple(load_playbooks()), limits=FleetLimits()
    )
    plan = rules_plan(Goal(text=text, input_dir=folder), facts)
    assert not [note for note in plan.notes if note.startswith("not covered")], plan.notes
    return plan.playbook


@pytest.mark.requirement("A6")
@pytest.mark.parametrize("folder", ["", "/documents"])
@pytest.mark.parametrize(
    "text",
    [
        "Research AI market trends and create presentation",
        "Research competitor pricing and create report",
        "Research solar panels and write a report",
        "Analyse the competitors' pricing and make slides",
    ],
)
def test_research_goals(text: str, folder: str) -> None:
    assert _plan(text, folder) == "research"


@pytest.mark.parametrize(
    "text",
    [
        "Review the code",
        "Run the tests of the market module",
        "Review this project and write a report",
        "Check the licences and create a report",
        "Write a report",
    ],
)
def test_goals_about_code_stay_what_they_were(text: str) -> None:
    assert _plan(text, "/project") == "code-base"
