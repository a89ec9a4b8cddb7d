"""What makes a flow sound, the order in which its tasks go in, and what its expressions mean."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amas.core.conditions import holds, references, resolved
from amas.core.flow import in_order, sub_tasks
from amas.core.flow_check import check, problems
from amas.errors import ExpressionInvalid, FlowInvalid
from amas.model.flow import Flow, FlowTask, MapOver, Replan, Undo


def work(key: str, *needs: str, **more: Any) -> FlowTask:
    return FlowTask(key=key, capability="a.b", needs=needs, **more)


def sentences(*tasks: FlowTask, output: str = "", **more: Any) -> list[str]:
    return [f"{field}: {message}" for field, message in problems(Flow(name="f", tasks=tasks, output=output), **more)]


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ((), "tasks: the flow 'f' has no task"),
        ((work("a"), work("a")), "tasks[0].key: the key 'a' names 2 tasks"),
        ((work(""),), "tasks[0].key: a key has 1 to 200 characters"),
        ((work("amas/all-in"),), "tasks[0].key: the key 'amas/all-in' begins with 'amas/'"),
        ((FlowTask(key="a"),), "tasks[0].capability: task 'a' says nothing of what it does"),
        ((work("a", signal=True),), "tasks[0].capability: task 'a' says capability and signal of what it does"),
        ((work("a", "b"),), "tasks[0].needs: task 'a' needs 'b', which is not in the flow"),
        ((work("a"), work("b", "a", "a")), "tasks[1].needs: task 'b' names a need twice"),
        ((work("a"), work("b", "a", wait=2)), "tasks[1].wait: task 'b' waits for 2 of its 1 needs"),
        ((work("a", wait="any"),), "tasks[0].wait: task 'a' waits for any of its needs, but has none"),
        ((work("a", "b"), work("b", "a")), "tasks: the tasks wait for each other in a circle: a -> b -> a"),
        ((work("a", when="a ||"),), "tasks[0].when: task 'a': 'a ||' is no JMESPath expression"),
        ((FlowTask(key="a", map=MapOver(over="!!", capability="a.b")),), "tasks[0].map.over: task 'a': '!!' is no JMESPath"),
        (
            (FlowTask(key="a", map=MapOver(over="input", capability="a.b", input=[{"x": {"$": "it em"}}])),),
            "tasks[0].map.input: task 'a': 'it em' is no JMESPath",
        ),
        ((work("a", expires_s=1),), "tasks[0].expires_s: task 'a' is no signal or approval"),
        ((work("a", delay_s=-1),), "tasks[0].delay_s: delay_s of task 'a' is -1"),
        ((work("a", priority=4),), "tasks[0].priority: the priority of task 'a' is 4"),
        ((FlowTask(key="a", signal=True, when="input"),), "tasks[0].when: task 'a' runs on no agent"),
        ((FlowTask(key="a", timer_s=1, provider="p"),), "tasks[0].provider: task 'a' runs on no agent"),
        ((work("a", concurrency={"k": 0}),), "tasks[0].concurrency: task 'a': the concurrency limit of 'k' is 0"),
        (
            (FlowTask(key="a", map=MapOver(over="input", capability="a.b", concurrency={"": 1})),),
            "tasks[0].map.concurrency: task 'a': a concurrency key is one line",
        ),
        ((work("a", on_failure="replan"),), "tasks[0].replan: task 'a' must have both"),
        ((work("a", on_failure="replan", replan=Replan(capability="c.d", rounds=0)),), "tasks[0].replan.rounds: task 'a' asks"),
        (
            (FlowTask(key="a", flow=Flow(name="in", tasks=(work("b", "c"),))),),
            "tasks[0].flow.tasks[0].needs: task 'b' needs 'c', which is not in the flow",
        ),
    ],
)
def test_each_mistake_is_one_sentence_with_its_place(tasks: tuple[FlowTask, ...], said: str) -> None:
    (found,) = sentences(*tasks)
    assert found.startswith(said)


def test_capabilities_are_those_of_the_fleet_and_the_engines_own() -> None:
    mapped = FlowTask(key="m", map=MapOver(over="input", capability="c.d"))
    undone = work("a", undo=Undo(capability="e.f"))
    assert sentences(mapped, undone, capabilities={"a.b"}) == [
        "tasks[0].map.capability: task 'm' needs the capability 'c.d', which no agent of this fleet has",
        "tasks[1].undo.capability: task 'a' needs the capability 'e.f', which no agent of this fleet has",
    ]
    assert sentences(mapped, undone, capabilities={"a.b", "c.d", "e.f"}) == []


def test_an_output_is_a_task() -> None:
    assert sentences(work("a"), output="b") == ["output: the output 'b' is no task of the flow 'f'"]


def test_a_refused_flow_names_what_is_wrong_and_counts_the_rest() -> None:
    with pytest.raises(FlowInvalid, match=r"the flow 'f' can't start: .*; and 5 more$") as raised:
        check(Flow(name="f", tasks=tuple(work(f"t{number}", "nobody") for number in range(25))))
    assert len(raised.value.problems) == 25


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), max_size=30), st.randoms(use_true_random=False))
def test_tasks_go_in_after_what_they_need(graph: list[list[int]], random: Any) -> None:
    tasks = [work(str(index), *{str(need) for need in needs if need < index}) for index, needs in enumerate(graph)]
    shuffled = random.sample(tasks, len(tasks))
    ordered = in_order(shuffled)
    assert sorted(task.key for task in ordered) == sorted(task.key for task in tasks)
    seen: set[str] = set()
    for task in ordered:
        assert set(task.needs) <= seen
        seen.add(task.key)
    assert in_order(tasks) == tasks


def test_what_undoes_a_task_comes_right_after_it() -> None:
    flow = Flow(name="f", tasks=(work("b", "a"), work("a", undo=Undo(capability="c.d", input=1))))
    assert [(task.key, task.undoes) for task in sub_tasks(flow)] == [("a", ""), ("amas/undo/a", "a"), ("b", "")]


SCOPE = {"input": {"size": 3, "name": ""}, "needs": {"all-in": [1, 2], "none": None}}


@pytest.mark.parametrize(
    ("condition", "true"),
    [
        ("input.size > `2`", True),
        ("input.size > `3`", False),
        ('needs."all-in"', True),
        ('needs."all-in"[?@ > `5`]', False),
        ("needs.none != `null`", False),
        ("needs.missing == `null`", True),
        ("input.name", False),
        ("`0`", True),
    ],
)
def test_conditions_are_true_as_jmespath_says(condition: str, true: bool) -> None:
    assert holds(condition, SCOPE) is true


def test_references_are_filled_in_wherever_they_stand() -> None:
    template = {"a": [{"$": "input.size"}, {"b": {"$": "needs"}}], "c": {"$": "input", "d": 1}, "e": "$"}
    assert resolved(template, SCOPE) == {"a": [3, {"b": SCOPE["needs"]}], "c": {"$": "input", "d": 1}, "e": "$"}
    assert references(template) == ["input.size", "needs"]


def test_what_cannot_be_worked_out_says_so() -> None:
    with pytest.raises(ExpressionInvalid, match=r"'abs\(input\)' can't be worked out here: "):
        holds("abs(input)", SCOPE)
