"""A new version beside the old one, on real hosts: promoted or taken back by itself, and no task pays for it."""

from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from host_bench import Bench

from amas.controllers.rollouts import Rollouts
from amas.controllers.router import Router
from amas.engine.desired import DesiredState
from amas.engine.routes import Routes
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.rollout import Phase
from amas.model.rollout_spec import RolloutSpec
from amas.model.states import TaskState
from amas.orchestration.rollouts import RolloutDesk, RolloutView

WORK = "roll.work"
QUICKLY = RolloutSpec(steps=(0.25, 0.5), min_tasks=20, min_time_s=0.0, success_drop=0.1, latency_ratio=2.0)
ROUNDS_MAX = 40


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

    async def round(self, count: int = 60, **options: Any) -> Counter[str]:
        """Have tasks done, sweep, and return how many each pool's agents ended."""
        ids = [await self.bench.submit(WORK, n, **options) for n in range(count)]
        self.ids += ids
        views = [await self.bench.ended(task_id) for task_id in ids]
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
    ("failing", "stable", "success 6"),
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
    assert {(await bench.queue.task(task_id)).failures for task_id in canary.ids} == {0}  # type: ignore[union-attr]
