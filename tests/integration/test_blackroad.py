"""30,000 agents on two hosts, dealt out by the placer, on a real engine: a task in each of the 27 pools is done."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from host_bench import Bench

from amas.agents.seating import Seating
from amas.controllers.figures import Figures
from amas.controllers.placer import Placer
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.hosts import HostRegistry
from amas.engine.roster import Roster
from amas.fleet.load import load_fleet
from amas.model.states import AgentStatus, TaskState

AGENTS = 30_000


def project(folder: Path) -> dict[str, Any]:
    """Return the input for those whose skill looks at code."""
    (folder / "tests").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "small"\nversion = "1"\nlicense = "MIT"\n')
    (folder / "small.py").write_text('"""Small."""\n\n\ndef one() -> int:\n    """Return 1."""\n    return 1\n')
    (folder / "tests" / "test_small.py").write_text("def test_one():\n    assert True\n")
    paths = ["pyproject.toml", "small.py", "tests/test_small.py"]
    return {"root": str(folder), "paths": paths, "goal": "one", "packages": [{"name": "small", "path": "small.py"}]}


@pytest.mark.requirement("B1", "B6")
async def test_thirty_thousand_agents_take_a_task_in_every_pool(engine: Engine, engine_url: str, tmp_path: Path) -> None:
    bench, spec, state = Bench(engine, engine_url, tmp_path), load_fleet("blackroad"), DesiredState(engine)
    registry = HostRegistry(engine)
    await state.apply(spec, by="test", why="the whole of B1")
    async with bench.host([], "host-1") as one, bench.host([], "host-2") as two:
        await Placer(state, Figures()).run_once()
        seatings = [Seating(engine, host, prepare=lambda fleet: fleet, draw=lambda: 0.0) for host in (one, two)]
        await asyncio.gather(*(seating.run_once() for seating in seatings))
        roster = Roster(await registry.all(), now_ms=registry.now_ms())
        assert roster.count() == {AgentStatus.IDLE: AGENTS}
        assert {pool.name: roster.count(pools=[pool.name]).total() for pool in spec.pools} == {
            pool.name: pool.replicas for pool in spec.pools
        }
        assert {host.id: host.about.agents for host in await registry.all()} == {"host-1": AGENTS // 2, "host-2": AGENTS // 2}
        assert len(one.seats) + len(two.seats) < 10  # none was made that has nothing to do
        given = project(tmp_path / "project")
        tasks = {pool.name: await bench.submit(pool.capabilities[0], given) for pool in spec.pools}
        done = {name: await bench.ended(task_id) for name, task_id in tasks.items()}
    assert {name: view.failure for name, view in done.items() if view.state is not TaskState.SUCCEEDED} == {}
    assert {name: view.agent_id.rpartition("-")[0] for name, view in done.items()} == {name: name for name in done}
    assert done["relativity"].result == given  # a stand-in says what it was told, and knows nothing
