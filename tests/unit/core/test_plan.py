from typing import Any

import msgspec
import pytest

from amas.core.plan import DEPTH_MAX, graded, problems
from amas.model.fleet import FleetLimits
from amas.model.goal import Complexity, Plan, SubTask

LIMITS = FleetLimits(max_subtasks=50)


def plan(*tasks: SubTask, deliverable: str = "end", **more: Any) -> Plan:
    return Plan(playbook="p", complexity=Complexity.SIMPLE, tasks=tasks, deliverable=deliverable, **more)


def task(key: str, *needs: str, **more: Any) -> SubTask:
    return SubTask(key=key, capability=more.pop("capability", "a.b"), needs=needs, **more)


def found(checked: Plan, limits: FleetLimits = LIMITS) -> list[str]:
    return problems(checked, capabilities={"a.b"}, limits=limits)


def test_a_sound_plan_has_no_problems() -> None:
    assert found(plan(task("a"), task("b", "a"), task("end", "a", "b"))) == []


@pytest.mark.parametrize(
    ("checked", "words"),
    [
        (plan(), "the plan has no task"),
        (plan(task("end", capability="a.c")), "task 'end' needs the capability 'a.c', which no agent of this fleet has"),
        (plan(task("a"), task("a"), task("end", "a")), "the key 'a' is used more than once"),
        (plan(task(""), task("end", "")), "has no key"),
        (plan(task("end", "gone")), "task 'end' needs 'gone', which is not in the plan"),
        (plan(task("end", "a"), task("a", "b"), task("b", "end")), "in a circle: end -> a -> b -> end"),
        (plan(task("end", "end")), "in a circle: end -> end"),
        (plan(task("end"), task("a")), "nobody uses the result of task 'a'"),
        (plan(task("end"), deliverable="x"), "the deliverable 'x' is not a task of the plan"),
        (plan(task("end", priority=9)), "task 'end' has the priority 9; it must be 0 to 3"),
    ],
)
def test_each_broken_rule_is_one_clear_sentence(checked: Plan, words: str) -> None:
    assert [problem for problem in found(checked) if words in problem], found(checked)


def test_a_task_that_nobody_uses_may_be_meant() -> None:
    assert found(plan(task("end"), task("a"), task("b", "a"), aside=("b",))) == []


def test_size_and_depth_are_limited() -> None:
    chain = [task("0"), *(task(str(i), str(i - 1)) for i in range(1, DEPTH_MAX + 1))]
    assert found(plan(*chain, deliverable=str(DEPTH_MAX))) == [
        f"the longest chain has {DEPTH_MAX + 1} tasks; at most {DEPTH_MAX} may follow one another"
    ]
    assert "has 21 tasks; this fleet's limit (max_subtasks) is 20" in found(
        plan(*chain, deliverable=str(DEPTH_MAX)), msgspec.structs.replace(LIMITS, max_subtasks=20)
    )[0]  # fmt: skip


@pytest.mark.requirement("A1")
def test_complexity_is_graded_by_subtasks() -> None:
    grades = {n: graded(n).value for n in (1, 5, 6, 15, 16, 30, 31)}
    assert grades == {
        1: "simple", 5: "simple", 6: "moderate", 15: "moderate", 16: "complex", 30: "complex", 31: "very_complex",
    }  # fmt: skip
