"""The number of hosts follows load on a real engine, a sweep at a time, with a clock that only the tests move on."""

from msgspec.structs import replace
from tests.engine.cell import Cell

from amas.controllers.host_scaler import REST_S, HostScaler
from amas.core.scaling_history import ScalingMemory
from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostFigures
from amas.engine.scaling import ScalingState
from amas.model.desired import Scale
from amas.model.fleet import FleetLimits, FleetSpec, PoolSpec
from amas.model.scaling import AUTOSCALER, HostScaling, ScalingPace, ScalingSpec, ScalingTargets

STEP_MS = 15_000
SPEC = ScalingSpec(
    min=1,
    max=4,
    targets=ScalingTargets(cpu=0.7),
    up=ScalingPace(count=1, every_s=30, after_s=30),
    down=ScalingPace(count=1, every_s=30, after_s=60),
)
POOL = PoolSpec(name="worker", agent="a:b", capabilities=("work",), replicas=2)
FLEET = FleetSpec(
    name="f", pools=(POOL,), limits=FleetLimits(max_agents_per_pool=100), host_scaling=HostScaling(agents=10, scaling=SPEC)
)


async def sweep(cell: Cell, scaler: HostScaler, *, times: int, cpu: dict[str, float] | None = None) -> list[int]:
    """Let time pass, have hosts beat, and return how many hosts are wanted after each look."""
    sizes = []
    for _ in range(times):
        cell.now += STEP_MS
        for host, used in (cpu or {}).items():
            await cell.host(host)
            figures = HostFigures(cpu_s=used * cell.now / 1000)
            await cell.hosts.renew(host, figures, lease_s=100, now_ms=cell.now)
        await scaler.run_once(now_ms=cell.now)
        sizes.append((await DesiredState(cell.engine).read()).hosts)
    return sizes


async def test_hosts_grow_with_the_agents_and_come_back_and_every_change_says_why(cell: Cell) -> None:
    desired, state = DesiredState(cell.engine), ScalingState(cell.engine)
    scaler = HostScaler(state, desired)
    await desired.apply(FLEET, by="ann", why="a start", now_ms=cell.now)
    assert await sweep(cell, scaler, times=3) == [1, 1, 1]
    await desired.change([Wish("scale:worker", Scale(replicas=35, by="ann"))], by="ann", why="the sale", now_ms=cell.now)
    assert (await sweep(cell, scaler, times=12))[-1] == 4
    scaler = HostScaler(state, desired)  # a new leader goes on
    await desired.change([Wish("scale:worker", None)], by="ann", why="over", now_ms=cell.now)
    falling = await sweep(cell, scaler, times=20)
    assert falling[0] == 4
    assert falling[-1] == 1
    assert sorted(falling, reverse=True) == falling
    history = [change for change in await desired.history() if change.by == AUTOSCALER]
    assert [change.fields for change in history] == [("host_scale",)] * 6
    assert history[-1].why.startswith(
        "the number of hosts grows from 1 to 2: agents that weigh 35 are to be seated, 10 on a host"
    )
    _, view = await state.hosts_kept()
    assert view is not None
    assert (view.replicas, view.grown, view.shrunk, len(view.steps)) == (1, 3, 3, 6)


async def test_hosts_at_their_limit_of_cpu_get_another(cell: Cell) -> None:
    desired, state = DesiredState(cell.engine), ScalingState(cell.engine)
    await desired.apply(FLEET, by="ann", why="a start", now_ms=cell.now)
    assert (await sweep(cell, HostScaler(state, desired), times=6, cpu={"h1": 0.98}))[-1] == 2
    _, view = await state.hosts_kept()
    assert view is not None
    assert view.steps[0].reason.startswith("grows from 1 to 2: 1 host uses 0.98 CPUs each, 0.7 are meant")


async def test_a_fleet_with_a_fixed_number_has_that_and_nothing_is_remembered(cell: Cell) -> None:
    desired, state = DesiredState(cell.engine), ScalingState(cell.engine)
    scaler = HostScaler(state, desired)
    await desired.apply(replace(FLEET, pools=(replace(POOL, replicas=40),)), by="ann", why="a start", now_ms=cell.now)
    assert (await sweep(cell, scaler, times=6))[-1] > 1
    await desired.apply(replace(FLEET, host_scaling=None, hosts=2), by="ann", why="fixed", now_ms=cell.now)
    assert await sweep(cell, scaler, times=2) == [2, 2]
    assert (await desired.read()).host_scale is None
    assert await state.hosts_kept() == (ScalingMemory(), None)
    assert await scaler.run_once(now_ms=cell.now) == REST_S
