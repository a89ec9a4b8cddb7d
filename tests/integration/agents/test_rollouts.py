"""A new version beside the old one, on real hosts: promoted or taken back by itself, and no task pays for it."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from host_bench import LIMIT_S, QUICK, SAMPLES, Bench
from rollout_agents import gate

from amas.clock import new_id
from amas.controllers.rollouts import Rollouts
from amas.controllers.router import Router
from amas.core.flow import gated
from amas.engine.desired import DesiredState
from amas.engine.graph import Owner, submission_of
from amas.engine.queue import make_submission
from amas.engine.routes import Routes
from amas.errors import RolloutRefused
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.gate import GateSpec
from amas.model.goal import SubTask
from amas.model.rollout import Phase
from amas.model.rollout_spec import RolloutSpec
from amas.model.states import TaskState
from amas.model.task import TaskSpec, TaskView
from amas.orchestration.rollouts import RolloutDesk, RolloutView

WORK = "roll.work"
QUICKLY = RolloutSpec(steps=(0.25, 0.5), min_tasks=20, min_time_s=0.0, success_drop=0.1, latency_ratio=2.0)
ROUNDS_MAX = 40
KILLS = 2


def coder(agent: str = "stable", **changes: Any) -> PoolSpec:
    said = {"name": "coder", "agent": f"rollout_agents:{agent}", "capabilities": (WORK,), "replicas": 2, "tasks_per_agent": 10}
    return PoolSpec(**{**said, **changes})


class Canary:
    """A fleet of one pool, with hosts that the test makes equal to what is wanted, and duties that sweep when it says."""

    def __init__(self, bench: Bench, hosts: AsyncExitStack, base: PoolSpec) -> None:
        self.bench, self.hosts, self.base = bench, hosts, base
        self.fleet = FleetSpec(name="one", pools=(base,))
        self.desired, self.routes = DesiredState(bench.engine), Routes(bench.engine)
        self.desk = RolloutDesk(self.desired, self.routes, self.fleet)
        self.lead_anew()
        self.ids: list[str] = []

    def lead_anew(self) -> None:
        """Have other duties go on, as another leader's would."""
        self.router = Router(self.routes, self.fleet, self.desired)
        self.duty = Rollouts(self.desired, self.routes, self.fleet)

    async def begin(self, agent: str, spec: RolloutSpec = QUICKLY) -> None:
        await self.hosts.enter_async_context(self.bench.host([self.base], "h-base"))
        await self.desk.begin("coder", "2", changes={"agent": f"rollout_agents:{agent}"}, spec=spec, by="ann")
        variant = next(pool for pool in (await self.desired.read()).pools if pool.variant_of)
        await self.hosts.enter_async_context(self.bench.host([variant], "h-variant"))
        await self.sweep()

    async def sweep(self) -> None:
        await self.duty.run_once()
        await self.router.run_once()

    async def submit(self, count: int, *, pool: str = "") -> list[str]:
        """Submit tasks in one call and return their ids."""
        batch = [make_submission(new_id(), TaskSpec(capability=WORK, input=n, retry=QUICK), pool=pool) for n in range(count)]
        await self.bench.queue.submit(batch)
        return [each.id for each in batch]

    async def ended(self, ids: Sequence[str]) -> list[TaskView]:
        """Return the tasks when all have ended."""

        async def all_of_them() -> list[TaskView] | None:
            views = await asyncio.gather(*map(self.bench.queue.task, ids))
            found = [view for view in views if view and view.state.terminal]
            return found if len(found) == len(ids) else None

        return list(await self.bench.until(all_of_them))

    async def round(self, count: int = 60) -> Counter[str]:
        """Have tasks done, sweep, and return how many each pool's agents ended."""
        ids = await self.submit(count)
        self.ids += ids
        views = await self.ended(ids)
        assert {view.state for view in views} == {TaskState.SUCCEEDED}
        await self.sweep()
        return Counter(view.agent_id.rpartition("-")[0] for view in views)

    async def view(self) -> RolloutView:
        return await self.desk.one("coder")

    async def until(self, *phases: Phase) -> RolloutView:
        for _ in range(ROUNDS_MAX):
            if (view := await self.view()).phase in phases:
                return view
            await self.round()
        raise AssertionError(f"still {view}")

    async def swap(self) -> None:
        """Do as hosts that follow the desired state: the pool's agents are of the new version."""
        wanted = await self.desired.read()
        await self.hosts.aclose()
        await self.hosts.enter_async_context(self.bench.host(wanted.pools, "h-new"))


@pytest.fixture
async def hosts() -> Any:
    async with AsyncExitStack() as stack:
        yield stack


async def test_a_good_version_is_promoted_step_by_step(bench: Bench, hosts: AsyncExitStack) -> None:
    canary = Canary(bench, hosts, coder())
    await canary.begin("brisk", msgspec.structs.replace(QUICKLY, success_drop=0.25, latency_ratio=50.0))
    first = await canary.round(200)
    assert 10 < first["coder~2"] < 90  # a quarter of them
    view = await canary.until(Phase.REPLACING)
    assert "is as good after" in view.why
    wanted = await canary.desired.read()
    assert wanted.fleet is not None
    assert (wanted.fleet.pool("coder").version, wanted.fleet.pool("coder").agent) == ("2", "rollout_agents:brisk")
    assert [pool.name for pool in wanted.pools] == ["coder", "coder~2"]  # which does the work until the pool is ready
    await canary.swap()
    assert (await canary.until(Phase.PROMOTED)).figures
    assert [pool.name for pool in (await canary.desired.read()).pools] == ["coder"]
    assert await canary.round(20) == {"coder": 20}
    told = [change.why for change in reversed(await canary.desired.history())]
    assert "begins beside 1: it gets 25%" in told[0]
    assert "gets 50%" in told[1]


@pytest.mark.parametrize(("agent", "base", "why"), [
    ("giving_up", "stable", "success 0"),
    ("slow", "brisk", "time "),
])  # fmt: skip
async def test_a_bad_version_is_taken_back_and_no_task_pays_for_it(
    bench: Bench, hosts: AsyncExitStack, agent: str, base: str, why: str
) -> None:
    canary = Canary(bench, hosts, coder(base))
    await canary.begin(agent)
    view = await canary.until(Phase.ROLLED_BACK)
    assert "version 2 is worse" in view.why
    assert why in view.why
    assert [pool.version for pool in (await canary.desired.read()).pools] == ["1"]
    assert await canary.round(20) == {"coder": 20}
    assert len(set(canary.ids)) == len(canary.ids)  # each of which succeeded, without a retry of its own being spent
    assert {view.failures for view in await canary.ended(canary.ids)} == {0}


async def test_a_version_whose_work_gates_think_less_of_is_taken_back(bench: Bench, hosts: AsyncExitStack) -> None:
    canary = Canary(bench, hosts, coder())
    await canary.begin("stable", msgspec.structs.replace(QUICKLY, steps=(0.5,)))
    judged = GateSpec(judges=("scorer",), scorer="rollout_agents:sober", threshold=0.5)
    for _ in range(ROUNDS_MAX):
        owners = [Owner(id=new_id(), workflow_id="") for _ in range(30)]
        task = gated(SubTask(key="text", capability=WORK, title="A text", gate=judged))
        batch = [submission_of(task, owner) for owner in owners]
        await bench.queue.submit(batch)
        assert {view.state for view in await canary.ended([each.id for each in batch])} == {TaskState.SUCCEEDED}
        await canary.sweep()
        if (view := await canary.view()).phase is not Phase.CANARY:
            break
    assert "quality 0.6 against 0.95 (at most 0.05 lower)" in view.why


async def test_runs_keep_their_version_to_their_end(bench: Bench, hosts: AsyncExitStack) -> None:
    gate.open = False
    base = coder("long_run", capabilities=("roll.long",))
    canary = Canary(bench, hosts, base)
    await canary.begin("long_run", msgspec.structs.replace(QUICKLY, steps=(0.5,)))
    helper = PoolSpec(name="helper", agent="rollout_agents:part", capabilities=("roll.part",), tasks_per_agent=50)
    await hosts.enter_async_context(bench.host([helper], "h-helper"))
    ids = [await bench.submit("roll.long") for _ in range(16)]
    for task_id in ids:
        await bench.state(task_id, TaskState.WAITING)
    await canary.desk.promote("coder", by="ann")
    for _ in range(3):
        await canary.sweep()
        assert (await canary.view()).phase is Phase.SETTLING
    late = await bench.submit("roll.long")
    await bench.state(late, TaskState.WAITING)
    assert (await bench.queue.agents_of([late]))[late].startswith("coder~2")  # which gets all that is new
    gate.open = True
    views = await canary.ended([*ids, late])
    results = [view.result for view in views if isinstance(view.result, list)]
    assert len(results) == len(views)
    runs = [[str(agent).rpartition("-")[0] for agent in result] for result in results]
    assert {began for began, _ in runs} == {"coder", "coder~2"}
    assert all(began == ended for began, ended in runs)
    await canary.sweep()
    assert (await canary.view()).phase is Phase.REPLACING


async def test_in_staging_only_tasks_that_name_the_version_reach_it(bench: Bench, hosts: AsyncExitStack) -> None:
    canary = Canary(bench, hosts, coder())
    await canary.begin("stable", msgspec.structs.replace(QUICKLY, environment="staging"))
    assert await canary.round(30) == {"coder": 30}
    (named,) = await canary.submit(1, pool="coder~2")
    assert (await bench.ended(named)).agent_id.startswith("coder~2-")
    assert (await canary.view()).phase is Phase.STAGING
    with pytest.raises(RolloutRefused, match="version 2 of 'coder' is being rolled out"):
        await canary.desk.begin("coder", "3", changes={}, spec=None, by="ann")
    await canary.desk.approve("coder", by="qa-lead")
    await canary.sweep()
    assert (await canary.round(100))["coder~2"] > 0
    assert (await canary.view()).approved_by == "qa-lead"


async def test_tasks_for_the_pool_itself_are_shared_too(bench: Bench, hosts: AsyncExitStack) -> None:
    canary = Canary(bench, hosts, coder())
    await canary.begin("stable", msgspec.structs.replace(QUICKLY, steps=(0.5,)))
    views = await canary.ended(await canary.submit(40, pool="coder"))
    assert {view.agent_id.rpartition("-")[0] for view in views} == {"coder", "coder~2"}


async def _duties(canary: Canary) -> asyncio.subprocess.Process:
    said = [canary.bench.url, canary.bench.cell, msgspec.json.encode(canary.fleet).decode()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SAMPLES / "duties_process.py"), *said, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        assert b"working" in await process.stdout.readline()
    return process


async def test_a_control_plane_that_is_killed_again_and_again_neither_forgets_a_roll_out_nor_loses_a_task(
    bench: Bench, hosts: AsyncExitStack
) -> None:
    canary = Canary(bench, hosts, coder())
    await canary.begin("failing", msgspec.structs.replace(QUICKLY, success_drop=0.05))
    for _ in range(KILLS):
        process = await _duties(canary)
        canary.ids += await canary.submit(20)
        process.kill()
        await process.wait()
        canary.ids += await canary.submit(10)  # while nobody leads
    process = await _duties(canary)
    try:

        async def over() -> bool:
            canary.ids += await canary.submit(5)
            return (await canary.view()).phase is Phase.ROLLED_BACK

        await bench.until(over)
        views = await canary.ended(canary.ids)
    finally:
        process.kill()
        await process.wait()
    assert Counter((view.state, view.failures) for view in views) == {(TaskState.SUCCEEDED, 0): len(canary.ids)}
    assert max(view.attempt for view in views) == 2  # though some were tried out in vain
    told = [change.why for change in await canary.desired.history()]
    assert sum("begins beside" in why for why in told) == 1
    assert sum("version 2 is worse" in why for why in told) == 2  # withdrawn, and over
