"""The tree at the top of the errors is the tree that is there."""

import re

from amas import errors


def _tree(kind: type[errors.AmasError]) -> list[str]:
    return [
        kind.__name__,
        *(name for child in kind.__subclasses__() if child.__module__.startswith(errors.__name__) for name in _tree(child)),
    ]


def test_the_drawing_shows_every_error() -> None:
    drawn = re.findall(r"(?:^|[├└│─ ])([A-Z]\w+)", (errors.__doc__ or "").partition("\n\n")[2])
    assert sorted(set(drawn)) == sorted(set(_tree(errors.AmasError)))


def test_codes_are_unique_and_say_who_acts() -> None:
    names = _tree(errors.AmasError)
    kinds = [getattr(errors, name) for name in names]
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert {kind.act for kind in kinds} <= {"author", "operator", "nobody"}
