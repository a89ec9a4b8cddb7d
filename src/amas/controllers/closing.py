"""The last thing that a control plane does: make the records hold all that the engine said, and say whether they do.

Hosts, duties and the API have ended by then, so nothing comes after what is looked at here. What is missing when the time is up
isn't lost: it stands in the engine's journal, and the next start records it.
"""

import asyncio

from amas.clock import monotonic_s
from amas.controllers.figures import Figures
from amas.controllers.recorder import Recorder
from amas.engine.connection import Engine
from amas.engine.journal import Journal
from amas.errors import EngineError, RecordsError
from amas.model.closing import Closing
from amas.model.journal import position_of
from amas.observe import events
from amas.observe.logging import process_log
from amas.records.store import Records

AGAIN_S = 0.2
"""Before it is tried again where the engine or the database doesn't answer."""


async def close(engine: Engine, records: Records, *, limit_s: float) -> Closing:
    """Record what the journal holds now, in `limit_s` seconds at most, and return what came of it."""
    began, progress = monotonic_s(), _Progress()
    try:
        async with asyncio.timeout(limit_s):
            await _record(engine, records, progress)
    except TimeoutError:
        pass
    closing = Closing(
        caught_up=progress.caught_up,
        lacks_s=max(0.0, progress.wanted[0] - progress.held[0]) / 1000,
        took_s=round(monotonic_s() - began, 3),
        limit_s=limit_s,
        why="" if progress.caught_up else progress.why(),
    )
    log = process_log().info if closing.caught_up else process_log().error
    log(
        "the records were closed",
        event=events.RECORDS_CLOSED,
        caught_up=closing.caught_up,
        lacks_s=closing.lacks_s,
        why=closing.why,
    )
    return closing


class _Progress:
    """How far it is, for when the time is up."""

    def __init__(self) -> None:
        self.caught_up, self.fault = False, ""
        self.wanted = self.held = (0, 0)

    def why(self) -> str:
        """Return what kept it from catching up: what failed last and went well no more, wherever the end of the time fell."""
        if self.fault:
            return self.fault
        return "the time was too short" if any(self.wanted) else "the engine hasn't said what its journal holds"


async def _record(engine: Engine, records: Records, progress: _Progress) -> None:
    journal = Journal(engine)
    recorder = Recorder(journal, records, Figures())
    while not progress.caught_up:
        try:
            progress.wanted = position_of(await journal.last_id())
            await recorder.run_once(wait_ms=0)  # in any case: it finds the records' place where the engine is another one
            progress.held = position_of(await records.position())
            progress.caught_up, progress.fault = progress.held >= progress.wanted, ""
        except (EngineError, RecordsError) as error:
            progress.fault = str(error)
            await asyncio.sleep(AGAIN_S)
