"""The recorder: follows the journal into the records, and trims it behind itself.

Its place is kept by the records in the transaction that writes the rows, so it can be killed anywhere, and a second recorder that
believes to lead harms nothing. Whatever fails, the place is read anew from the records before the next try.
"""

from collections.abc import Sequence

from amas.controllers.figures import Figures
from amas.controllers.recover import find_place
from amas.controllers.traces import tell_workflows
from amas.engine.journal import Journal
from amas.model.journal import JournalEntry
from amas.observe.tracing import process_tracing
from amas.records.store import Records
from amas.records.views import Applied

KEEP = 10_000
"""Recorded entries that stay in the journal, for live readers that resume."""
ENTRIES_MAX = 500
READ_BYTES_MAX = 16 << 20
"""What one read should bring at most, going by the size of the last one's entries: one may hold thousands of tasks."""
WAIT_MS = 2000
"""How long a read waits for the first entry; less than what the connection takes for a dead server."""
LINGER_S = 0.02
"""A pause after a small batch: what a lone task writes meets in one transaction, no later than eyes can see."""
BUSY_LINGER_S = 0.5
"""A pause after a large one: on a busy fleet tasks begin and end within it, and one that does is one insert, not three writes."""
BUSY_ENTRIES = 10
"""Entries that make a batch large."""
TRIM_EVERY = 1000
"""Entries recorded between two trims."""


class Recorder:
    """Writes the history of one cell."""

    name = "recorder"

    def __init__(self, journal: Journal, records: Records, figures: Figures, *, keep: int = KEEP) -> None:
        self._journal, self._records, self._figures, self._keep = journal, records, figures, keep
        self._position: str | None = None
        self._mark = ""
        self._limit = ENTRIES_MAX
        self._untrimmed = TRIM_EVERY  # the first sweep trims what an earlier process left

    async def run_once(self, *, wait_ms: int = WAIT_MS) -> float:
        """Record what is new, up to 500 entries, waiting at most `wait_ms` for the first; return the seconds to pause."""
        position, self._position = self._position, None  # until all of this has worked
        if position is None:
            self._mark, position = await find_place(self._journal, self._records.lost_work)
        entries = await self._journal.read(position, limit=self._limit, wait_ms=wait_ms)
        if not entries and await self._journal.mark() != self._mark:
            return 0.0  # the engine was emptied under its own name: the place is another
        caught_up = len(entries) < self._limit
        if entries:
            position = await self._record(entries, caught_up=caught_up)
            self._limit = _next_limit(entries)
        await self._trim(position)
        self._position = position
        if not caught_up:
            return 0.0
        return BUSY_LINGER_S if len(entries) >= BUSY_ENTRIES else LINGER_S

    async def _record(self, entries: Sequence[JournalEntry], *, caught_up: bool) -> str:
        figures = self._figures
        figures.behind_since_ms = figures.behind_since_ms or entries[0].at_ms
        applied = await self._records.apply(entries)
        figures.behind_since_ms = 0 if caught_up else entries[-1].at_ms
        self._count(applied)
        if (tracing := process_tracing()) is not None:
            await tell_workflows(tracing, self._records, entries)
        return applied.position

    def _count(self, applied: Applied) -> None:
        self._figures.entries_recorded += applied.entries
        self._untrimmed += applied.entries
        if applied.spent.calls or applied.spent.tokens or applied.spent.usd:
            self._figures.spent = self._figures.spent.plus(applied.spent)
        for milliseconds in applied.decompositions_ms:
            self._figures.decompositions.add(milliseconds / 1000)
        for milliseconds in applied.assignments_ms:
            self._figures.assignments.add(milliseconds / 1000)

    async def _trim(self, position: str) -> None:
        if self._untrimmed < TRIM_EVERY:
            return
        await self._journal.trim(position, keep=self._keep)
        self._untrimmed = 0


def _next_limit(entries: Sequence[JournalEntry]) -> int:
    mean_bytes = sum(len(entry.batch) for entry in entries) / len(entries)
    return max(1, min(ENTRIES_MAX, int(READ_BYTES_MAX / max(mean_bytes, 1))))
