"""How fast a program's agents come."""

import pytest

from amas.programs.specialists import Pace

pytestmark = pytest.mark.requirement("A2")


def test_a_seconds_worth_comes_at_once_and_then_as_many_a_second_as_the_fleet_allows() -> None:
    pace = Pace()
    assert pace.take(25, rate=10, now_s=100.0) == 10
    assert pace.take(15, rate=10, now_s=100.5) == 5
    assert pace.take(10, rate=10, now_s=100.5) == 0
    assert pace.take(10, rate=10, now_s=109.0) == 10, "at most a second's worth is saved up"


def test_a_hundred_calls_come_no_faster_than_one() -> None:
    pace = Pace()
    assert sum(pace.take(1, rate=10, now_s=0.0) for _ in range(100)) == 10


def test_less_than_one_a_second_still_comes() -> None:
    pace = Pace()
    assert [pace.take(2, rate=0.5, now_s=now_s) for now_s in (0.0, 1.0, 2.0)] == [1, 0, 1]
