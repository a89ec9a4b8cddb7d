"""What a duty began that may take longer than one of its sweeps: one at a time under a name, so that none holds up the others.

Who begins errands gives them a moment at the end of each sweep; those that need longer go on between sweeps, and what became of
them is seen by a later one. They end with the term of the leader that began them (`run.keep_at`).
"""

import asyncio
from collections.abc import Coroutine


class Errands:
    """The errands of one duty, by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def under_way(self, name: str) -> bool:
        """Return whether an errand of this name hasn't been seen to its end: then no other may begin."""
        return name in self._tasks

    def begin(self, name: str, errand: Coroutine[None, None, None]) -> None:
        """Begin an errand."""
        assert name not in self._tasks, f"{name} is under way"
        self._tasks[name] = asyncio.create_task(errand, name=name)

    async def settle(self, *, patience_s: float) -> None:
        """Give all of them so many seconds, forget those that have ended, and raise what the first of these has failed with."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=patience_s)
        ended = [name for name, task in self._tasks.items() if task.done()]
        troubles = [task.exception() for task in (self._tasks.pop(name) for name in ended) if not task.cancelled()]
        for trouble in troubles:
            if trouble is not None:
                raise trouble

    def drop(self) -> None:
        """End all of them now; each is something that may be done again."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
