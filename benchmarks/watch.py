"""Follows the journal beside a run, whatever becomes of the engine, to say afterwards what happened to each task."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amas.engine.connection import Engine
from amas.engine.journal import Journal
from amas.errors import EngineError
from amas.model.journal import EntryKind, task_changes
from amas.model.states import TaskState

_READ_ENTRIES = 100
_WAIT_MS = 100


class Watch:
    """What the journal has told since this began."""

    def __init__(self, engine: Engine) -> None:
        self._journal = Journal(engine)
        self.successes: Counter[str] = Counter()
        """How often each task's success was recorded."""
        self.again_ms: dict[str, int] = {}
        """When a task was last claimed after its first attempt, by the engine's clock."""
        self.news = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, cell: str) -> AsyncIterator["Watch"]:
        """Follow, over a connection of its own."""
        async with Engine(url, cell=cell) as engine:
            watch = cls(engine)
            following = asyncio.create_task(watch._follow(await watch._journal.last_id()))
            try:
                yield watch
            finally:
                following.cancel()
                await asyncio.wait([following])

    async def _follow(self, after: str) -> None:
        while True:
            try:
                entries = await self._journal.read(after, limit=_READ_ENTRIES, wait_ms=_WAIT_MS)
            except EngineError:
                await asyncio.sleep(0.05)  # it was killed, and comes back with its journal
                continue
            for entry in entries:
                after = entry.id
                if entry.kind in (EntryKind.CLAIM, EntryKind.COMPLETE):
                    for change in task_changes(entry):
                        if change.state is TaskState.SUCCEEDED:
                            self.successes[change.task_id] += 1
                        elif change.attempt > 1:
                            self.again_ms[change.task_id] = entry.at_ms
            self.news.set()

    async def all_went_on(self, tasks: set[str]) -> None:
        """Return once each of these was claimed again, or had ended after all."""
        while not all(task in self.again_ms or task in self.successes for task in tasks):
            self.news.clear()
            await self.news.wait()
