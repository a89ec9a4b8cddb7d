"""Choosing by labels: kubectl's words mean what they mean there."""

import pytest

from amas.model.labels import CHARS_MAX, Selector

AGENTS = {
    "plain": {},
    "physicist": {"family": "quantum physics", "gpu": "a100"},
    "biologist": {"family": "biology"},
    "chemist": {"family": "chemistry", "gpu": "true"},
}


@pytest.mark.requirement("T1")
@pytest.mark.parametrize(
    ("texts", "chosen"),
    [
        ([], ["plain", "physicist", "biologist", "chemist"]),
        (["family=quantum physics"], ["physicist"]),
        (["family==biology"], ["biologist"]),
        (["family!=biology"], ["plain", "physicist", "chemist"]),
        (["family in (biology, chemistry)"], ["biologist", "chemist"]),
        (["family notin (biology, chemistry)"], ["plain", "physicist"]),
        (["gpu"], ["physicist", "chemist"]),
        (["!gpu"], ["plain", "biologist"]),
        (["family,!gpu"], ["biologist"]),
        (["gpu, family in (biology,chemistry)"], ["chemist"]),
        (["gpu", "family!=chemistry"], ["physicist"]),
        (["family=biology,family=chemistry"], []),
    ],
)
def test_whom_a_selector_chooses(texts: list[str], chosen: list[str]) -> None:
    selector = Selector.parse(texts)
    assert [name for name, labels in AGENTS.items() if selector.allows(labels)] == chosen


@pytest.mark.parametrize(
    "text", ["", " ", ",", "=a", "a b", "a in b", "!a=b", "!a in (b)", "(a)", "a=b,,c", "a in (b", "a" * (CHARS_MAX + 1)]
)
def test_what_can_t_be_read_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"name!=value, name in \(a, b\)"):
        Selector.parse(["fine=yes", text])


@pytest.mark.parametrize(
    ("text", "exact", "whole"),
    [
        ("a=b,c in (d)", {"a": "b", "c": "d"}, True),
        ("a=b,c!=d", {"a": "b"}, False),
        ("a=b,a=c", {"a": "c"}, False),
        ("a", {}, False),
        ("a in (b, c)", {}, False),
    ],
)
def test_what_of_it_an_index_can_answer(text: str, exact: dict[str, str], whole: bool) -> None:
    selector = Selector.parse([text])
    assert (selector.exact, selector.is_exact) == (exact, whole)


def test_labels_by_name_are_wanted_as_they_are() -> None:
    assert Selector.of({"a": "b=c, d", "e": "f"}).allows({"a": "b=c, d", "e": "f", "g": "h"})
    assert not Selector.of({"a": "b=c, d", "e": "f"}).allows({"a": "b=c, d"})
