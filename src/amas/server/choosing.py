"""How requests choose agents by labels."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from amas.model.labels import FORMS, Selector
from amas.server.problems import Fault, Refusal

Labels = Annotated[
    list[str],
    Query(
        max_length=32, description=f"What labels must be, as kubectl has it: {FORMS.removeprefix('write ')}; all of what is said."
    ),
]


def selector_of(label: Sequence[str]) -> Selector:
    """Return what a request's `label` chooses; Refusal says what can't be read."""
    try:
        return Selector.parse(label)
    except ValueError as error:
        raise Refusal(Fault(detail=str(error), parameter="label")) from error
