"""Agents' numbers as ranges, so that thousands of agents are named in a few bytes: what is in them, how many, and back to ranges.

An agent is called by its pool and its number, `code-review-17`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice

Numbers = tuple[tuple[int, int], ...]
"""Ranges of agents' numbers, both ends included, in order and apart: ((1, 3), (7, 7)) is name-1, name-2, name-3 and name-7."""

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


def shared(first: int, last: int, numbers: Numbers) -> Iterator[tuple[int, int]]:
    """Yield, as ranges, the numbers from `first` to `last` that are among these."""
    for low, high in islice(numbers, max(bisect_right(numbers, (first, _LAST)) - 1, 0), None):
        if low > last:
            return
        if high >= first:
            yield max(first, low), min(last, high)


def lowest(many: int, without: Numbers) -> Numbers:
    """Return the lowest `many` numbers from 1 on that are not among `without`."""
    found: list[tuple[int, int]] = []
    first = 1
    for low, high in without:
        if many <= 0:
            break
        if low > first:
            found.append((first, min(low - 1, first + many - 1)))
            many -= low - first
        first = high + 1
    if many > 0:
        found.append((first, first + many - 1))
    return tuple(found)


def ranges(numbers: Iterable[int]) -> Numbers:
    """Return the ranges of some numbers, in whatever order they come."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)


def pool_named(agent_id: str) -> str:
    """Return the pool that an agent's id names; of a variant's agent that is the variant (`model.fleet.pool_of`: its base)."""
    return agent_id.rpartition("-")[0]


def named(agent_id: str) -> tuple[str, int]:
    """Return the pool and the number in an agent's id; ("", 0) for what is no agent's."""
    pool, _, number = agent_id.rpartition("-")
    return (pool, int(number)) if pool and number.isascii() and number.isdigit() and number[0] != "0" else ("", 0)
