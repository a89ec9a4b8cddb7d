"""Choosing by labels, written as kubectl writes it: what `--label` and the API's `label` take.

`family=physics`, `family!=physics`, `family in (physics, biology)`, `family notin (physics)`, `gpu` (it has such a label) and
`!gpu` (it has none), joined by commas where all must hold. Who lacks the label is unlike every value, so `!=` and `notin` let
it through.
Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Self

CHARS_MAX = 1000
_ONE = re.compile(
    r"\s*(?P<lacks>!)?\s*(?P<name>[^\s,()=!]+)\s*"
    r"(?:(?P<sign>==?|!=)\s*(?P<value>[^,]*?)|(?P<set>(?:not)?in)\s*\((?P<values>[^()]*)\))?\s*(?:,|$)"
)
FORMS = "write name=value, name!=value, name in (a, b), name notin (a, b), name or !name"


class Requirement(NamedTuple):
    """One condition on one label."""

    name: str
    values: frozenset[str] | None
    """What the label may be; None: anything, as long as it is there."""
    negated: bool

    def allows(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels fulfil it."""
        found = self.name in labels and (self.values is None or labels[self.name] in self.values)
        return found != self.negated


class Selector(NamedTuple):
    """Conditions that must all hold; with none of them everything is chosen."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Return what texts mean together; ValueError says in a sentence which can't be read."""
        return cls(tuple(one for text in texts for one in _requirements(text)))

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Self:
        """Return the choice of who has all of these labels."""
        return cls(tuple(Requirement(name, frozenset((value,)), negated=False) for name, value in labels.items()))

    def allows(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels fulfil all of it."""
        return all(one.allows(labels) for one in self.requirements)

    @property
    def exact(self) -> dict[str, str]:
        """The labels of which it asks for one value: what an index of labels can answer."""
        return {one.name: next(iter(one.values)) for one in self.requirements if _is_exact(one) and one.values}

    @property
    def is_exact(self) -> bool:
        """Whether that is all of it."""
        return len(self.exact) == len(self.requirements)


def _is_exact(one: Requirement) -> bool:
    return not one.negated and one.values is not None and len(one.values) == 1


def _requirements(text: str) -> Iterator[Requirement]:
    at = 0
    if not text.strip() or len(text) > CHARS_MAX:
        raise ValueError(f"{text[:50]!r} chooses no labels: {FORMS}")
    while at < len(text):
        found = _ONE.match(text, at)
        if found is None or (found["lacks"] and (found["sign"] or found["set"])):
            raise ValueError(f"{text!r} chooses no labels: {FORMS}")
        yield _requirement(found)
        at = found.end()


def _requirement(found: re.Match[str]) -> Requirement:
    if found["sign"]:
        return Requirement(found["name"], frozenset((found["value"],)), negated=found["sign"] == "!=")
    if found["set"]:
        values = frozenset(value.strip() for value in found["values"].split(","))
        return Requirement(found["name"], values, negated=found["set"] == "notin")
    return Requirement(found["name"], None, negated=bool(found["lacks"]))
