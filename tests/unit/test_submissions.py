"""What a submission tells the engine of a task: nothing of a plain one, and each thing that was asked for."""

import inspect
from typing import Any

import pytest

from amas.engine.queue import make_submission
from amas.model.limits import Reserve
from amas.model.task import RetryPolicy, TaskSpec

ASKED: dict[str, Any] = {
    "delay_s": 2.0,
    "on_failure": "skip",
    "cost_s": 1.5,
    "quorum": 2,
    "kind": "timer",
    "expires_s": 9.0,
    "compensates": "another",
    "reserves": [Reserve("slots:customer", 1, 3)],
}
NO_OPTION = {"task_id", "spec", "priority", "pool"}
"""They have fields of their own, or choose the queue."""


def test_a_plain_task_has_nothing_to_say() -> None:
    assert make_submission("t", TaskSpec(capability="work", input={"n": 1}, title="t"), priority=3, pool="p").options is None


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_for_is_told(name: str) -> None:
    assert make_submission("t", TaskSpec(capability="work"), **{name: ASKED[name]}).options is not None


def test_every_word_of_a_submission_is_tried_here() -> None:
    assert set(inspect.signature(make_submission).parameters) - NO_OPTION == set(ASKED)


@pytest.mark.parametrize(
    "spec",
    [
        TaskSpec(capability="work", needs=("before",)),
        TaskSpec(capability="work", workflow_id="w"),
        TaskSpec(capability="work", parent_id="p"),
        TaskSpec(capability="work", tenant="t"),
        TaskSpec(capability="work", retry=RetryPolicy(retries=0)),
    ],
)
def test_what_the_engine_must_know_of_a_spec_is_told(spec: TaskSpec) -> None:
    assert make_submission("t", spec).options is not None
