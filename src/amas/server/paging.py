"""Pages of lists that the engine gives whole: by a place that each item has for good, so that what comes or goes in between
neither repeats nor hides another. The history's lists are paged by their queries (`records/history.py`). Pure.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, NamedTuple, TypeVar

from fastapi import Query

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Cursor = Annotated[str, Query(max_length=500, description="The `next` of the page before.")]


class Page(NamedTuple):
    """Which page somebody asks for."""

    limit: int
    cursor: str

    def of(self, items: Iterable[T], place: Callable[[T], str]) -> tuple[list[T], str | None]:
        """Return the items of the page in the order of their places, and the cursor of the next page; None on the last."""
        after = sorted((each for each in items if not self.cursor or place(each) > self.cursor), key=place)
        return after[: self.limit], place(after[self.limit - 1]) if len(after) > self.limit else None
