"""The picture in docs/scaling.md is that of the fleet file on it, drawn by the autoscaler's own decisions."""

from itertools import pairwise

import pytest
from benchmarks.scaling_day import DOCS, Moment, drawn, simulated, spec


@pytest.fixture(scope="module")
def day() -> list[Moment]:
    return list(simulated(spec()))


def test_the_picture_is_that_of_the_page(day: list[Moment]) -> None:
    """`python -m benchmarks.scaling_day` draws it again."""
    assert drawn(day) == (DOCS / "scaling.svg").read_text()


def test_the_day_shows_what_the_page_says(day: list[Moment]) -> None:
    sizes = [each.decision.replicas for each in day]
    assert sizes[0] == sizes[-1] == 0
    assert max(sizes) == 50, "25 USD an hour at 0.50 each"
    assert all(size >= 10 for size in sizes[8 * 720 : 20 * 720])
    turns = [after > before for before, after in pairwise(sizes) if after != before]
    assert sum(one != other for one, other in pairwise(turns)) < 20, "it follows the day and not its noise"
