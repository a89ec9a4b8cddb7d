"""The fleet under test: a real local one, with everything switched on, in a folder of its own."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from amas.client import Fleet
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.request import StartRequest

NOOP = Path(__file__).with_name("noop.yaml")


@asynccontextmanager
async def running(*, hosts: int) -> AsyncIterator[tuple[RunningFleet, Fleet]]:
    """Run the noop fleet and give it with a connected client."""
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        fleet = await start_fleet(
            StartRequest(home=folder, fleet_file=str(NOOP), hosts=hosts, port=0, metrics_port=0, bound=True)
        )
        try:
            async with Fleet.connect(home=Path(folder)) as client:
                yield fleet, client
        finally:
            await fleet.stop()


def pids(fleet: RunningFleet) -> dict[str, int]:
    """Return the process ids of the fleet's parts, by name, and the supervisor's."""
    state = fleet.state
    return {"supervisor": state.supervisor_pid, **{part.name: part.pid for part in state.parts}}
