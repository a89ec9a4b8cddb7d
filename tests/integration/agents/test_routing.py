"""Routing among two pools of real hosts: the better one gets most, the other is tried on, and nobody's death strands a task."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from host_bench import LIMIT_S, SAMPLES, Bench
from host_process import Arguments
from routing_agents import mood

from amas.controllers.figures import Figures
from amas.controllers.reaper import Reaper
from amas.controllers.router import REST_S, Memory, Router
from amas.engine.hosts import HostRegistry
from amas.engine.routes import Routes, branch
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.routing import Choice, RoutingSpec
from amas.model.states import TaskState

WORK = "route.work"
A_ROUND = 60
NEVER = RoutingSpec(half_life_s=3600.0)


def pool(name: str, **changes: object) -> PoolSpec:
    said = {"name": name, "agent": f"routing_agents:{name}", "capabilities": (WORK,), "replicas": 2, "tasks_per_agent": 5}
    return PoolSpec(**{**said, **changes})


STEADY, MOODY = pool("steady"), pool("moody")


class Fleet:
    """Two pools, and a router that sweeps when the test says."""

    def __init__(self, bench: Bench, routing: RoutingSpec = NEVER) -> None:
        self.bench, self.routes = bench, Routes(bench.engine)
        self.spec = FleetSpec(name="two", pools=(STEADY, MOODY), routing=routing)
        self.router = Router(self.routes, self.spec)

    async def round(self, count: int = A_ROUND) -> Counter[str]:
        """Have tasks done, sweep, and return how many each pool got first."""
        ids = [await self.bench.submit(WORK, n) for n in range(count)]
        first = Counter([(await self.routes.of_task(task_id))[0] for task_id in ids])
        for task_id in ids:
            assert (await self.bench.ended(task_id)).state is TaskState.SUCCEEDED
        await self.router.run_once()
        return first

    async def hours_pass(self, hours: float) -> None:
        """Let what is known be so much older."""
        memory = msgspec.msgpack.decode(await self.routes.memory(), type=Memory)
        memory.at_ms -= round(hours * 3_600_000)
        await self.routes.keep((await self.routes.table()).routes, memory=msgspec.msgpack.encode(memory))

    async def choice(self, name: str) -> Choice:
        (route,) = (await self.routes.table()).routes
        return next(choice for choice in route.choices if choice.pool == name)


@pytest.fixture
async def fleet(bench: Bench) -> AsyncIterator[Fleet]:
    mood.fails_one_in, mood.tried = 2, 0
    async with bench.host([STEADY], "h-steady"), bench.host([MOODY], "h-moody"):
        made = Fleet(bench)
        await made.router.run_once()
        yield made


async def test_most_tasks_go_to_the_pool_that_succeeds_and_the_other_is_still_tried(fleet: Fleet) -> None:
    assert (await fleet.choice("steady")).share == pytest.approx(0.5, abs=0.15)  # nothing is known
    for _ in range(3):
        await fleet.round()
    steady, moody = await fleet.choice("steady"), await fleet.choice("moody")
    assert steady.success > 0.9 > 0.75 > moody.success
    assert steady.share > 0.9
    assert moody.share >= NEVER.explore / 2
    assert moody.explored
    assert not moody.pulls  # else it would drain the common queue by failing fast
    first = await fleet.round(200)
    assert first[branch(WORK, "moody")] < 30
    assert first[branch(WORK, "moody")] > 0
    assert (await fleet.choice("moody")).trials > moody.trials


async def test_shares_return_when_a_pool_is_good_again(bench: Bench) -> None:
    mood.fails_one_in, mood.tried = 2, 0
    fleet = Fleet(bench, RoutingSpec(explore=0.2, half_life_s=3600.0))
    async with bench.host([STEADY], "h-steady"), bench.host([MOODY], "h-moody"):
        await fleet.router.run_once()
        for _ in range(3):
            await fleet.round()
        assert (bad := (await fleet.choice("moody")).share) < 0.2
        mood.fails_one_in = 0
        for _ in range(3):
            await fleet.hours_pass(3)
            await fleet.round()
        assert (await fleet.choice("moody")).success > 0.85
        assert (await fleet.choice("moody")).share > 1.5 * bad


async def test_a_new_router_knows_what_the_last_one_knew(fleet: Fleet) -> None:
    for _ in range(2):
        await fleet.round()
    known = await fleet.choice("moody")
    fleet.router = Router(fleet.routes, fleet.spec)
    await fleet.router.run_once()
    await fleet.router.run_once()
    assert (await fleet.choice("moody")).trials == pytest.approx(known.trials, rel=0.02)  # neither forgotten nor counted twice
    assert (await fleet.choice("moody")).success == pytest.approx(known.success, rel=0.02)


async def test_a_new_version_begins_with_what_the_old_one_was_known_for(fleet: Fleet, bench: Bench) -> None:
    for _ in range(3):
        await fleet.round()
    old = await fleet.choice("steady")
    assert old.trials > 20
    async with bench.host([pool("steady", version="2", replicas=1)], "h-new"):
        await fleet.router.run_once()
        both = await fleet.choice("steady")
        assert both.versions == ("1", "2")
        assert both.slots == old.slots + 5
        assert old.trials < both.trials <= old.trials + 10.01


async def test_a_fleet_without_alternatives_is_not_touched(bench: Bench) -> None:
    routes = Routes(bench.engine)
    router = Router(routes, FleetSpec(name="one", pools=(STEADY,)))
    async with bench.host([STEADY], "h-steady"):
        assert await router.run_once() >= REST_S
        task_id = await bench.submit(WORK)
        await bench.ended(task_id)
        assert await routes.of_task(task_id) == (WORK, None)
        assert await routes.outcomes() == []
        assert (await routes.table()).version == 0


async def test_switching_routing_off_sends_everything_back(fleet: Fleet) -> None:
    await fleet.round()
    off = Router(fleet.routes, msgspec.structs.replace(fleet.spec, routing=RoutingSpec(enabled=False)))
    assert await off.run_once() >= REST_S
    assert (await fleet.routes.table()).version == 0
    task_id = await fleet.bench.submit(WORK)
    assert await fleet.routes.of_task(task_id) == (WORK, None)
    await fleet.bench.ended(task_id)


async def test_a_pool_that_is_killed_strands_nothing(bench: Bench) -> None:
    mood.fails_one_in = 0
    fleet = Fleet(bench)
    process = await _moody_process(bench)
    try:
        async with bench.host([STEADY], "h-steady"):
            await fleet.router.run_once()
            assert {one.pool for one in (await fleet.routes.table()).routes[0].choices} == {"steady", "moody"}
            process.kill()
            await process.wait()
            ids = [await bench.submit(WORK, n) for n in range(40)]  # its share is put into a dead pool's queue
            placed = Counter([(await fleet.routes.of_task(task_id))[0] for task_id in ids])
            assert placed[branch(WORK, "moody")] > 0
            await _reaped(bench)
            await fleet.router.run_once()
            assert await fleet.routes.waiting([branch(WORK, "moody")]) == {branch(WORK, "moody"): 0}
            for task_id in ids:
                assert (await bench.ended(task_id)).state is TaskState.SUCCEEDED
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _moody_process(bench: Bench) -> asyncio.subprocess.Process:
    arguments = Arguments(
        host_id="h-moody",
        url=bench.url,
        cell=bench.cell,
        folder=str(bench.folder),
        function="moody",
        pool={"agent": "routing_agents:moody", "capabilities": [WORK], "replicas": 2, "tasks_per_agent": 5},
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(SAMPLES) / "host_process.py"),
        msgspec.json.encode(arguments).decode(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        assert b"working" in await process.stdout.readline()
    return process


async def _reaped(bench: Bench) -> None:
    """Wait until the reaper has found the dead host."""
    reaper = Reaper(HostRegistry(bench.engine), Figures(), lease_s=1.0)

    async def gone() -> bool:
        await reaper.run_once()
        return "h-moody" not in await Routes(bench.engine).hosts({})

    await bench.until(gone)
