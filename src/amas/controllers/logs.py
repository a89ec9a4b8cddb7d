"""Old logs go: files that processes on this machine have closed, by age and by what they take together."""

import asyncio
from pathlib import Path

from amas.clock import now_ms
from amas.observe.logfiles import prune
from amas.settings import LogSettings

EVERY_S = 3600.0


class LogKeeper:
    """Looks at the fleet's own folder; logs of other machines are their collectors' care."""

    name = "logs"

    def __init__(self, folder: Path, settings: LogSettings) -> None:
        self._folder, self._settings = folder, settings

    async def run_once(self) -> float:
        """Remove what has expired and return the seconds to pause."""
        await asyncio.to_thread(prune, self._folder, self._settings, now_ms=now_ms())
        return EVERY_S
