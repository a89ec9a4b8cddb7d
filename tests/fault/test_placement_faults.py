"""A host killed with its agents on it, and a control plane while a fleet is applied: what is wanted runs in the end."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from host_bench import SAMPLES
from tests.waiting import until_async

from amas.client import Fleet, NewTask
from amas.engine.desired import DesiredState
from amas.engine.hosts import HostRegistry
from amas.fleet.load import load_fleet
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.request import StartRequest

TASKS, STEPS = 40, 3
LIMIT_S = 90.0


@asynccontextmanager
async def ledger_fleet(folder: Path) -> AsyncIterator[tuple[RunningFleet, Fleet]]:
    declared = (SAMPLES / "ledger.yaml").read_text()
    file = folder / "fleet.yaml"
    file.write_text(f"{declared}    options: {{ledger: {folder / 'ledger'}, steps: {STEPS}}}\n")
    (folder / "sample_agents.py").write_text((SAMPLES / "sample_agents.py").read_text())
    spec = msgspec.structs.replace(load_fleet(file), hosts=2)
    home = folder / "home"
    request = StartRequest(home=str(home), fleet_file=str(file), fleet=spec, hosts=2, port=0, metrics_port=0, bound=True)
    running = await start_fleet(request)
    try:
        async with Fleet.connect(home=home) as client:
            yield running, client
    finally:
        await running.stop()


def pid(fleet: RunningFleet, part: str) -> int:
    return next(each.pid for each in fleet.state.parts if each.name == part)


async def agents(client: Fleet) -> dict[str, int]:
    """Return how many agents each host says that it has."""
    return {host.id: host.about.agents for host in await HostRegistry(client.engine).all() if host.about.agents}


@pytest.mark.requirement("A5", "B8", "T6")
async def test_a_killed_hosts_agents_sit_elsewhere_and_its_tasks_are_done(tmp_path: Path) -> None:
    async with ledger_fleet(tmp_path) as (fleet, client):
        spec = (await DesiredState(client.engine).read()).spec
        assert spec is not None
        total = sum(pool.replicas for pool in spec.pools)

        async def spread() -> bool:
            return len(found := await agents(client)) == 2 and sum(found.values()) == total

        async def alone() -> bool:
            return await agents(client) == {"host-2": total}

        await until_async(spread)
        supervisor = fleet.state.supervisor_pid
        handles = await client.submit_batch(NewTask(capability="test.ledger") for _ in range(TASKS))
        os.kill(supervisor, signal.SIGSTOP)  # so that the dead host isn't back before its lease ends
        try:
            os.kill(pid(fleet, "host-1"), signal.SIGKILL)
            await until_async(alone)
            results = await client.results(handles, timeout_s=LIMIT_S)
        finally:
            os.kill(supervisor, signal.SIGCONT)
        assert len(results) == TASKS
        await until_async(spread)  # the new host-1 gets its share back


@pytest.mark.requirement("A4", "B8")
async def test_an_apply_is_finished_by_the_next_leader(tmp_path: Path) -> None:
    async with ledger_fleet(tmp_path) as (fleet, client):
        state = DesiredState(client.engine)
        spec = (await state.read()).fleet
        assert spec is not None
        pool = msgspec.structs.replace(spec.pools[0], replicas=spec.pools[0].replicas + 1)
        bigger = msgspec.structs.replace(spec, pools=(pool, *spec.pools[1:]))
        killed = pid(fleet, "control-plane")
        os.kill(killed, signal.SIGSTOP)  # the wish is kept, and nobody has dealt the agents out yet
        revision = await state.apply(bigger, by="ann", why="one more")
        os.kill(killed, signal.SIGKILL)

        async def runs() -> bool:
            hosts = await HostRegistry(client.engine).all()
            return sum(host.about.agents for host in hosts) == sum(each.replicas for each in bigger.pools) and all(
                host.about.revision >= revision for host in hosts
            )

        await until_async(runs)
        assert (await state.read()).fleet == bigger
