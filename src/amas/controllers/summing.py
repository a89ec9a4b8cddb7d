"""Summing: adds up what is older than the sums of the records reach back to, a bounded piece of it at a time, the newest first.

There is something to do only after the records were brought up from an earlier version's tables, or restored from a back-up.
What costs come to is right meanwhile, but is read from the rows (`records/costs.py`). Killed anywhere, the next one goes on.
"""

from datetime import UTC, datetime

from amas.clock import monotonic_s
from amas.observe import events
from amas.observe.logging import process_log
from amas.records.store import Records

PAUSE_S = 0.2
"""Between two pieces, which take as long each: the recorder and readers have the database meanwhile."""
IDLE_S = 10.0
TELL_EVERY_S = 30.0


class Summing:
    """Lets the sums of one cell's records reach back to their beginning."""

    name = "summing"

    def __init__(self, records: Records) -> None:
        self._records = records
        self._began_s: float | None = None
        self._told_s = 0.0

    async def run_once(self) -> float:
        """Add up one piece; return the seconds to pause."""
        if await self._records.summed_from_ms() == 0:
            return IDLE_S
        now_s = monotonic_s()
        if self._began_s is None:
            self._began_s = now_s
            process_log().info("adds up the history, figures of it are slower until then", event=events.SUMMING_BEGAN)
        from_ms = await self._records.sum_older()
        if from_ms == 0:
            process_log().info("added up the history", event=events.SUMMING_ENDED, took_s=round(monotonic_s() - self._began_s, 1))
            self._began_s = None
        elif now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            since = datetime.fromtimestamp(from_ms / 1000, UTC).isoformat()
            process_log().info("adds up the history", event=events.SUMMING_GOES_ON, summed_since=since)
        return PAUSE_S
