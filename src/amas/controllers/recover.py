"""The engine's total loss, noticed and repaired: what was open is put from the records into the engine that stands there now.

`find_place` is the recorder's: it tells whether the engine is the one whose journal the records follow. `recover` is called by
`amas recover`. Finished work never runs again; what the recorder hadn't recorded when the engine was lost (a moment's worth,
see `recorder.py`) is lost with it: submissions of that moment are gone, work that ended in it is done once more.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from amas.clock import now_ms
from amas.core.recovery import JournalView, by_turn, counts, in_order, lost_since, options_now
from amas.engine.connection import Engine
from amas.engine.journal import Journal
from amas.engine.recovery import Recovery, Restored
from amas.errors import EngineError
from amas.model.journal import position_of
from amas.model.recovery import LostTask, Outline
from amas.observe import events
from amas.observe.logging import process_log
from amas.records.lost import LostCount, LostWork, Place
from amas.records.store import Records

CHUNK_TASKS = 200
CHUNK_BYTES = 4 << 20
"""What one call stores at most, beyond its first task: the engine serves nobody else meanwhile."""
CAUGHT_UP_S = 30.0
LOOK_EVERY_S = 0.1

Progress = Callable[[int, int], None]
"""Called with how many tasks are done, of how many."""


class Recovered(NamedTuple):
    """What came of it."""

    workflows: int
    tasks: int
    """Open ones that the engine has again."""
    results: int
    """Ended ones that open work may ask for."""
    known: int
    """Open ones that the engine knew already."""


async def find_place(journal: Journal, lost_work: LostWork) -> Place:
    """Return the engine's mark and the position from which to record, after noting what was lost with another engine."""
    while True:
        place = await lost_work.place()  # before the look at the journal, which only grows
        mark = await journal.mark()
        found = JournalView(mark, position_of(await journal.first_id()), position_of(await journal.last_id()))
        anew = lost_since(place.engine, position_of(place.position), found)
        if anew is None and place.engine == mark:
            return place
        anew_at = None if anew is None else f"{anew[0]}-{anew[1]}"
        if await lost_work.follow(mark, instead_of=place, anew_at=anew_at) and anew_at is not None:
            await _tell(lost_work)


async def _tell(lost_work: LostWork) -> None:
    lost = await lost_work.count()
    if any(lost):
        process_log().warning(
            "the engine lost work that the records hold: `amas recover` puts it back",
            event=events.ENGINE_LOST,
            workflows=lost.workflows,
            tasks=lost.tasks,
        )


async def lost_work(engine: Engine, records: Records) -> LostCount:
    """Return how much open work the records hold that the engine has lost."""
    await find_place(Journal(engine), records.lost_work)
    return await records.lost_work.count()


async def recover(
    engine: Engine, records: Records, *, retention_s: float, progress: Progress, goals_at_a_time: int = 0
) -> Recovered:
    """Put what was lost into the engine; EngineError when the recorder doesn't catch up first. Safe to repeat, at any point.

    At most `goals_at_a_time` goals go on at once, those that did so before first, the others in their order; 0: all of them.
    Hosts may be at work and others may submit meanwhile. A fleet's control plane must be running: its recorder is waited for.
    """
    if not any(await lost_work(engine, records)):
        return Recovered(0, 0, 0, 0)
    await _until_caught_up(Journal(engine), records)
    work = _Work(records.lost_work, Recovery(engine, retention_s=retention_s), progress)
    await work.read()
    done = await work.put(goals_at_a_time=goals_at_a_time)
    await records.lost_work.settle()
    return done


async def _until_caught_up(journal: Journal, records: Records) -> None:
    """Wait until all that the new engine has said so far is recorded: else a task that ended there would look lost."""
    last = position_of(await journal.last_id())
    try:
        async with asyncio.timeout(CAUGHT_UP_S):
            while position_of(await records.position()) < last:  # noqa: ASYNC110  another process writes it
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise EngineError("the history doesn't catch up with the engine: look at `amas status`, then recover again") from None


class _Work:
    """What is to be put back, and how far it is."""

    def __init__(self, lost: LostWork, recovery: Recovery, progress: Progress) -> None:
        self._lost, self._recovery, self._progress = lost, recovery, progress
        self._open: dict[str, Outline] = {}
        self._ended: dict[str, Outline] = {}
        self._children: dict[str, list[str]] = {}
        self._done = 0

    async def read(self) -> None:
        """Find all tasks that matter."""
        async for task in self._lost.outlines():
            (self._ended if task.state.terminal else self._open)[task.id] = task
        needs = {need for task in self._open.values() for need in task.needs}
        for part in _parts(sorted(needs - self._open.keys() - self._ended.keys())):
            self._ended |= {task.id: task for task in await self._lost.outlines_of(part) if task.state.terminal}
        for task in (*self._open.values(), *self._ended.values()):
            if task.parent_id in self._open:
                self._children.setdefault(task.parent_id, []).append(task.id)

    async def put(self, *, goals_at_a_time: int) -> Recovered:
        """Store workflows, then results, then open tasks, each after what it looks for."""
        by_workflow: dict[str, list[Outline]] = {}
        for task in (*self._ended.values(), *self._open.values()):
            by_workflow.setdefault(task.workflow_id, []).append(task)
        workflows = [(one, counts(by_workflow.get(one.id, []))) for one in by_turn(await self._lost.workflows())]
        put = [await self._recovery.put(workflows=part, goals_at_a_time=goals_at_a_time) for part in _parts(workflows)]
        async for chunk in self._chunks(self._ended):
            put.append(await self._recovery.put(ended=chunk))
            self._advance(chunk)
        known = self._open.keys() | self._ended.keys()
        async for chunk in self._chunks(in_order(self._open)):
            now = now_ms()
            batch = [(task, options_now(task, known=known, now_ms=now)) for task in chunk]
            put.append(await self._recovery.put(open_tasks=batch))
            self._advance(chunk)
        found = Restored(*(sum(column) for column in zip(*put, strict=True))) if put else Restored(0, 0, 0)
        return Recovered(found.workflows, found.open, found.ended, len(self._open) - found.open)

    async def _chunks(self, task_ids: Any) -> Any:
        for part in _parts(task_ids):
            chunk: list[LostTask] = []
            size = 0
            for task in await self._lost.tasks(part, self._children):
                if chunk and size > CHUNK_BYTES:
                    yield chunk
                    chunk, size = [], 0
                chunk.append(task)
                size += len(task.spec) + len(task.result) + sum(len(result) for _, result in task.steps)
            if chunk:
                yield chunk

    def _advance(self, chunk: Sequence[LostTask]) -> None:
        self._done += len(chunk)
        self._progress(self._done, len(self._open) + len(self._ended))


def _parts(items: Any) -> Iterator[list[Any]]:
    """Yield lists of at most `CHUNK_TASKS`."""
    part: list[Any] = []
    for item in items:
        part.append(item)
        if len(part) == CHUNK_TASKS:
            yield part
            part = []
    if part:
        yield part
