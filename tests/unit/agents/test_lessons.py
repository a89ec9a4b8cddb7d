"""What hosts tell of the times that tasks took."""

from amas.agents.lessons import EVERY_S, Lessons
from amas.engine.queue import Spent


def test_times_are_added_up_by_capability_and_told_once() -> None:
    lessons = Lessons()
    assert lessons.take(5.0) == []
    for seconds in (0.25, 0.5):
        lessons.add("text.write", seconds)
    lessons.add("text.read", 2.0)
    assert lessons.take(5.0) == [Spent("text.write", 2, 750_000), Spent("text.read", 1, 2_000_000)]
    assert lessons.take(5.0 + 2 * EVERY_S) == []


def test_a_busy_host_tells_once_a_second() -> None:
    lessons = Lessons()
    lessons.add("text.write", 1.0)
    assert len(lessons.take(5.0)) == 1
    lessons.add("text.write", 1.0)
    assert lessons.take(5.0 + EVERY_S / 2) == []
    assert lessons.take(5.0 + EVERY_S) == [Spent("text.write", 1, 1_000_000)]
