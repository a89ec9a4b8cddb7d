"""Agents' progress on its way into the journal: the last word of each attempt, a few times a second for a whole host.

Nothing here is precious: what the engine doesn't take is dropped, and the next word is as good.
"""

import asyncio

from amas.engine.queue import TaskQueue
from amas.errors import EngineError
from amas.model.journal import ProgressNote

NOTE_CHARS_MAX = 500
EVERY_S = 0.3
"""Three times a second is as much as a person can follow."""
NOTES_MAX = 1000
"""In one call."""


class ProgressPost:
    """Gathers notes and sends them."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._notes: dict[str, ProgressNote] = {}
        self._some = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def note(self, note: ProgressNote) -> None:
        """Take one attempt's last word; from any thread."""
        first = not self._notes
        self._notes[note.task_id] = note
        if first:
            self._loop.call_soon_threadsafe(self._some.set)

    async def run(self) -> None:
        """Send what there is, at most every `EVERY_S`, until cancelled."""
        while True:
            await self._some.wait()
            await self.run_once()
            await asyncio.sleep(EVERY_S)

    async def run_once(self) -> None:
        """Send what there is."""
        self._some.clear()
        notes, self._notes = self._notes, {}
        said = list(notes.values())
        for first in range(0, len(said), NOTES_MAX):
            try:
                await self._queue.note_progress(said[first : first + NOTES_MAX])
            except EngineError:
                return
