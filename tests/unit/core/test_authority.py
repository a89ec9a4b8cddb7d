"""Who may do what in the hierarchy, and what a refusal says."""

from typing import Any

import pytest

from amas.core.authority import Hierarchy, lacks, refusal
from amas.core.plan import problems
from amas.model.authority import AUTHORITY, Member, Right
from amas.model.fleet import FleetLimits
from amas.model.flow import ESCALATION_CAPABILITY, FLOW_CAPABILITY
from amas.model.goal import ROOT_CAPABILITY, Complexity, Plan, SubTask
from amas.model.states import Layer


def member(pool: str, layer: Layer, lead: str = "", *capabilities: str, **changes: Any) -> Member:
    return Member(
        **{"pool": pool, "layer": layer, "lead": lead, "rights": AUTHORITY[layer], "capabilities": capabilities, **changes}
    )


BOSS = member("boss", Layer.EXECUTIVE, "", ROOT_CAPABILITY, "executive.approve", "mixed.work")
HEAD = member("head", Layer.MANAGEMENT, "boss", "management.part")
WRITER = member("writer", Layer.SPECIALIST, "head", "text.write", "mixed.work")
TOOL = member("tool", Layer.EXECUTION, "head", "execution.tool")
ALL = Hierarchy.of([BOSS, HEAD, WRITER, TOOL])


def sub(capability: str, **said: Any) -> SubTask:
    return SubTask(key=said.pop("key", capability), capability=capability, **said)


@pytest.mark.parametrize(
    ("who", "what"),
    [
        (BOSS, sub("management.part")),
        (BOSS, sub("executive.approve")),
        (HEAD, sub("text.write")),
        (WRITER, sub("text.write")),
        (WRITER, sub("mixed.work", pool="writer")),
        (WRITER, sub("execution.tool")),
        (WRITER, sub("nobody.known")),
        (HEAD, sub(FLOW_CAPABILITY)),
        (WRITER, sub(ESCALATION_CAPABILITY, pool="head")),
        (WRITER, sub(ESCALATION_CAPABILITY, pool="boss")),
        (TOOL, sub("amas.timer", kind="timer")),
    ],
)
def test_work_goes_to_ones_own_layer_or_down_and_questions_go_up(who: Member, what: SubTask) -> None:
    assert refusal(who, [what], ALL) == ""


@pytest.mark.parametrize(
    ("who", "what", "says"),
    [
        (WRITER, sub("management.part"), "'writer' (specialist layer) has no right to task 'head' (management layer)"),
        (WRITER, sub("text.write", pool="boss"), "no right to task 'boss' (executive layer)"),
        (WRITER, sub("mixed.work"), "no right to task 'boss' (executive layer)"),
        (TOOL, sub("execution.tool"), "'tool' (execution layer) has no right to split and so can't have sub-tasks done"),
        (WRITER, sub(FLOW_CAPABILITY), "has no right to plan"),
        (HEAD, sub(ESCALATION_CAPABILITY, pool="writer"), "may escalate to its leads alone: boss"),
        (HEAD, sub(ESCALATION_CAPABILITY), "may escalate to its leads alone: boss"),
    ],
)
def test_a_refusal_names_who_what_and_the_way_out(who: Member, what: SubTask, says: str) -> None:
    assert says in refusal(who, [sub("nobody.known", kind="timer"), what], ALL)


def test_a_right_may_be_given_and_taken() -> None:
    mute = member("mute", Layer.SPECIALIST, "head", rights=frozenset())
    assert lacks(mute, Right.ESCALATE).endswith(
        "give it with rights: [escalate] in the fleet file, or escalate to its lead 'head'"
    )
    assert "no right to escalate" in refusal(mute, [sub(ESCALATION_CAPABILITY, pool="head")], ALL)
    planner = member("planner", Layer.SPECIALIST, "head", rights=frozenset({Right.PLAN}))
    assert refusal(planner, [sub("text.write")], ALL) == "", "who may have a plan carried out may have one task done"


def test_leads_are_told_nearest_first_and_a_circle_ends() -> None:
    assert [lead.pool for lead in ALL.leads(WRITER)] == ["head", "boss"]
    one, other = member("one", Layer.SPECIALIST, "other"), member("other", Layer.SPECIALIST, "one")
    assert [lead.pool for lead in Hierarchy.of([one, other]).leads(one)] == ["other", "one"]


def plan_problems(*tasks: SubTask, members: list[Member]) -> list[str]:
    needed = tuple(task.key for task in tasks)
    last = SubTask(key="last", capability="text.write", needs=needed)
    plan = Plan(playbook="p", complexity=Complexity.SIMPLE, tasks=(*tasks, last), deliverable="last")
    known = {capability for each in members for capability in each.capabilities}
    return problems(plan, capabilities=known, limits=FleetLimits(), members=members)


def test_a_plan_with_a_step_that_nobody_may_take_is_refused() -> None:
    writer = member("writer", Layer.SPECIALIST, "head", "text.write", "executive.approve")
    assert plan_problems(sub("management.part"), sub("executive.approve"), members=[BOSS, HEAD, WRITER]) == []
    assert plan_problems(sub("executive.approve"), members=[BOSS, HEAD, writer]) == [
        "task 'executive.approve' needs the right to approve, which writer (specialist) lacks: give it with rights: [approve]"
    ]
    assert plan_problems(sub("management.part", pool="writer"), members=[BOSS, HEAD, WRITER]) == [
        "task 'management.part' is for the pool 'writer', which can't do 'management.part'"
    ]
    low = member("low", Layer.MANAGEMENT, "boss", ROOT_CAPABILITY)
    boss = member("boss", Layer.EXECUTIVE, "", "executive.quality")
    (refused,) = plan_problems(sub("executive.quality"), members=[low, boss, WRITER])
    assert refused.startswith("task 'executive.quality': the pool 'low' (management layer) has no right to task 'boss'")
