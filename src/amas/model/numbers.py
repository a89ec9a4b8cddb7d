"""Agents' numbers as ranges, so that thousands of agents are named in a few bytes: what is in them, how many, and back to ranges.

An agent is called by its pool and its number, `code-review-17`. Ranges are in order and apart (`model.desired.Numbers`).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from amas.model.desired import Numbers

NONE: Numbers = ()
_LAST = float("inf")


def count(numbers: Numbers) -> int:
    """Return how many numbers these are."""
    return sum(last - first + 1 for first, last in numbers)


def expand(numbers: Numbers) -> Iterator[int]:
    """Yield each number, in order."""
    for first, last in numbers:
        yield from range(first, last + 1)


def within(number: int, numbers: Numbers) -> bool:
    """Return whether a number is among these."""
    at = bisect_right(numbers, (number, _LAST))
    return at > 0 and number <= numbers[at - 1][1]


def ranges(numbers: Iterable[int]) -> Numbers:
    """Return the ranges of some numbers, in whatever order they come."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)


def named(agent_id: str) -> tuple[str, int]:
    """Return the pool and the number in an agent's id; ("", 0) for what is no agent's."""
    pool, _, number = agent_id.rpartition("-")
    return (pool, int(number)) if pool and number.isascii() and number.isdigit() and number[0] != "0" else ("", 0)
