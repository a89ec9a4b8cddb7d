"""The reaper: tasks of hosts that went silent are given back, so that others take them.

How long it took until they run again is `recovering.py`'s to see.

While the engine can't be reached, or can't write, no host can renew its lease, so that silence proves nothing: when the engine is
back, the hosts get one lease's time before any counts as lost.
"""

from amas.controllers.figures import Figures
from amas.engine.desired import is_session
from amas.engine.hosts import HostRegistry
from amas.errors import EngineDiskFull, EngineUnreachable
from amas.observe import events
from amas.observe.logging import process_log

PAUSE_S = 0.25
"""What a dead host's tasks wait at most beyond its lease; a sweep that finds nothing costs one call."""
HOSTS_PER_SWEEP_MAX = 100


class Reaper:
    """Gives back what dead hosts ran."""

    name = "reaper"

    def __init__(self, hosts: HostRegistry, figures: Figures, *, lease_s: float) -> None:
        """`lease_s`: what the hosts' leases last."""
        self._hosts, self._figures, self._lease_s = hosts, figures, lease_s
        self._blind = False

    async def run_once(self) -> float:
        """Give back the tasks of every host whose lease has run out and return the seconds until the next sweep."""
        try:
            if self._blind:
                await self._hosts.all()
                self._blind = False
                return self._lease_s
            return await self._reap()
        except (EngineUnreachable, EngineDiskFull):
            self._blind = True
            raise

    async def _reap(self) -> float:
        for _ in range(HOSTS_PER_SWEEP_MAX):
            lost = await self._hosts.reap()
            if lost is None:
                return PAUSE_S
            late_s = lost.late_ms / 1000
            self._figures.hosts_lost += not is_session(lost.id)
            self._figures.tasks_given_back += lost.tasks
            process_log().warning(
                "gave back a silent host's tasks", event=events.HOST_LOST, host_id=lost.id, tasks=lost.tasks, late_s=late_s
            )
        return 0.0
