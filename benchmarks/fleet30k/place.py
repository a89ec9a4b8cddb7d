"""Where the parts measure: a fleet of its own in a folder of its own, all of its agents seated."""

import asyncio
import json
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from amas.client import Fleet
from amas.engine.hosts import HostRegistry, HostView
from amas.fleet.load import find_fleet, load_fleet
from amas.model.fleet import FleetSpec
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for
from benchmarks.fleet import NOOP

SEATED_S = 300.0
"""Seconds after which a start, or a change of sizes, is stuck."""
LOOK_EVERY_S = 0.02
POOL_MAX, FLEET_MAX = 100_000, 1_000_000
"""The most agents that a pool, and a fleet, may have."""


class Place(NamedTuple):
    """A running fleet."""

    fleet: RunningFleet
    client: Fleet
    spec: FleetSpec

    @property
    def agents(self) -> int:
        """How many its file declares."""
        return sum(pool.replicas for pool in self.spec.pools)

    async def hosts(self) -> list[HostView]:
        """Return its live hosts."""
        return await HostRegistry(self.client.engine).all()

    async def until(self, agents: int) -> None:
        """Return once so many agents are registered, in all."""
        async with asyncio.timeout(SEATED_S):
            while sum(host.about.agents for host in await self.hosts()) != agents:  # noqa: ASYNC110  other processes' doing
                await asyncio.sleep(LOOK_EVERY_S)

    async def scale(self, pool: str, replicas: int) -> None:
        """Ask for another size, as `amas scale` does."""
        body = json.dumps({"replicas": replicas, "by": "benchmark"}).encode()
        url = f"{self.fleet.state.api_url}/api/pools/{pool}/scale"

        def post() -> None:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()

        await asyncio.to_thread(post)


@asynccontextmanager
async def up(fleet_file: str, *, more: str = "", most: int = 0) -> AsyncIterator[Place]:
    """Start a fleet as `amas up` does, wait until every agent is seated, and give it with a connected client.

    `more`: pools in YAML that it has besides, of up to `most` agents in all.
    """
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        if more:
            fleet_file = str(_extended(Path(find_fleet(fleet_file)), Path(folder), more, most))
        spec = load_fleet(fleet_file, agents=True)
        fleet = await start_fleet(request_for(fleet_file, Home(Path(folder, "home")), ports=(0, 0), bound=True))
        try:
            async with Fleet.connect(home=fleet.home.folder) as client:
                place = Place(fleet, client, spec)
                await place.until(place.agents)
                yield place
        finally:
            await fleet.stop()


def _extended(path: Path, folder: Path, pools: str, most: int) -> Path:
    """Write the fleet with more pools, and room for them, into `folder`, where benchmarks/agents.py is found, too."""
    head, _, rest = path.read_text().partition("\nlimits:")
    limits = {
        "max_agents_per_pool": min(max(most, 2000), POOL_MAX),
        "max_total_agents": min(most + 30_000, FLEET_MAX),
        "max_tasks_per_agent": 64,
        "max_agent_spawn_rate": 1_000_000,
    }
    written = folder / "fleet.yaml"
    written.write_text(f"{head}\nlimits: {json.dumps(limits)}\n{rest[rest.index('pools:') :].rstrip()}\n{pools}")
    (folder / "agents.py").symlink_to(NOOP.with_name("agents.py"))
    return written


def memory_mb(pid: int) -> dict[str, float]:
    """Return a process's resident memory, and its share of it where pages are shared, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("Rss:", "Pss:"))}
    return {"rss": round(kib["Rss"] / 1024, 1), "pss": round(kib["Pss"] / 1024, 1)}


def differences(after: Mapping[str, float], before: Mapping[str, float], each: float = 1.0) -> dict[str, float]:
    """Return what was added by name, times `each`, rounded."""
    return {name: round((value - before.get(name, 0.0)) * each, 1) for name, value in after.items()}


Row = tuple[str, str, str]
"""Measured, asked for, what."""
Found = dict[str, Any]
"""What a part found, as JSON has it."""
