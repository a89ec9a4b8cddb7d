"""Run-books' steps as people read them."""

import re

import pytest

from amas.fleet.load import load_fleet
from amas.model.alerts import parsed
from amas.model.runbook import TAKES, Step
from amas.server.routes.runbooks import in_words

pytestmark = pytest.mark.requirement("M11")
STUTTER = re.compile(r"\b(\w+) \1\b")


def test_a_step_is_a_sentence_without_a_word_twice() -> None:
    steps = [step for book in load_fleet("amas").runbooks for step in book.steps]
    assert len(steps) > 20
    for step in steps:
        said = in_words(step)
        assert not STUTTER.search(said), said
        assert "{step" not in said and "None" not in said and "_host:" not in said, said


@pytest.mark.parametrize("do", TAKES)
def test_every_action_has_its_words(do: str) -> None:
    step = Step(do=do, name="one", host="$host", agent="coder-1", pool="coder", that=parsed("hosts >= 1"), wait_s=30, say="look")
    said = in_words(step).removeprefix("one: ")
    assert said and "_" not in said and not STUTTER.search(said)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step(do="restart_host", name="again", host="$host"), "again: start host $host anew"),
        (Step(do="scale", name="more", pool="coder", by=2, most=9), "more: scale pool coder by +2 agents, 9 at most"),
        (Step(do="scale", name="more", pool="coder", to=0), "more: scale pool coder to 0 agents"),
        (
            Step(do="quarantine", name="hold", host="$host", wait_s=60),
            "hold: quarantine the unwell agents of host $host for 60 s",
        ),
        (Step(do="release", name="go"), "go: let those that it quarantined have tasks again"),
        (
            Step(do="cordon", name="hold", host="h", when=parsed("hosts >= 2"), confirm="person"),
            "hold: cordon host h, if hosts >= 2 (a person confirms)",
        ),
    ],
)
def test_what_a_step_does_is_told(step: Step, words: str) -> None:
    assert in_words(step) == words
