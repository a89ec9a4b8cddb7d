"""What tasks took of agents' time, on its way to the engine, which learns from it what a queue's tasks cost.

Sent with outcomes, once a second at most. One that gets lost teaches nothing; the next one does.
"""

from amas.engine.queue import Spent

EVERY_S = 1.0


class Lessons:
    """Adds up times by capability."""

    def __init__(self) -> None:
        self._spent: dict[str, tuple[int, float]] = {}
        self._not_before_s = 0.0

    def add(self, capability: str, seconds: float) -> None:
        """Count one task that succeeded."""
        tasks, total_s = self._spent.get(capability, (0, 0.0))
        self._spent[capability] = tasks + 1, total_s + seconds

    def take(self, now_s: float) -> list[Spent]:
        """Take out what there is to say, at `now_s` of a clock that never goes back; nothing within a second of the last time."""
        if not self._spent or now_s < self._not_before_s:
            return []
        self._not_before_s = now_s + EVERY_S
        lessons = [Spent(capability, tasks, round(total_s * 1e6)) for capability, (tasks, total_s) in self._spent.items()]
        self._spent.clear()
        return lessons
