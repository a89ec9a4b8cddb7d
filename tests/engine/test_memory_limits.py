"""Memory limits follow what isolated attempts take, on a real engine, with a clock that only the tests move on."""

from msgspec.structs import replace
from tests.engine.test_autoscaler import STEP_MS, Scaled, scaled

from amas.engine.desired import Wish
from amas.engine.hosts import HostFigures
from amas.model.fleet import PoolSpec, ProcessLimits
from amas.model.scaling import AUTOSCALER, ScalingSpec, VerticalSpec

__all__ = ["scaled"]

RULE = VerticalSpec(memory=0.8, step_mb=8192, max_mb=32_768, cooldown_s=120, back_s=240)
LEARNER = PoolSpec(
    name="learner",
    agent="a:b",
    capabilities=("learn",),
    replicas=2,
    isolation="process",
    limits=ProcessLimits(memory_mb=8192, cpu_s=60),
    scaling=ScalingSpec(min=2, max=2, vertical=RULE),
)


async def takes(scaled: Scaled, *, minutes: float, **memory_mb: int) -> list[int]:
    """Let a host say what children take, a sweep at a time, and return the limits that new attempts get."""
    limits = []
    for _ in range(round(minutes * 60_000 / STEP_MS)):
        await scaled.cell.host()
        await scaled.cell.hosts.renew("h1", HostFigures(memory_mb=memory_mb), lease_s=100, now_ms=scaled.cell.now)
        scaled.cell.now += STEP_MS
        await scaled.scaler.run_once(now_ms=scaled.cell.now)
        limits.append((await scaled.desired.read()).pools[0].limits.memory_mb)
    return limits


async def test_a_limit_goes_up_by_a_step_rests_and_goes_back_as_declared(scaled: Scaled) -> None:
    await scaled.want(LEARNER)
    assert set(await takes(scaled, minutes=1, learner=6000)) == {8192}
    assert (await takes(scaled, minutes=0.25, learner=7000)) == [16_384]
    held = await takes(scaled, minutes=1.75, learner=16_000)
    assert set(held) == {16_384}, "it rests for two minutes"
    assert (await takes(scaled, minutes=1, learner=16_000))[-1] == 24_576
    scaled.anew()  # the next leader goes on with what is kept
    falling = await takes(scaled, minutes=9)
    assert [limit for index, limit in enumerate(falling) if limit != [24_576, *falling][index]] == [16_384, 8192]
    wanted = await scaled.desired.read()
    assert wanted.pools[0].limits == ProcessLimits(memory_mb=8192, cpu_s=60)
    history = [change for change in await scaled.desired.history() if change.by == AUTOSCALER]
    assert [change.fields for change in history] == [("limit:learner",)] * 4
    assert history[-1].why == (
        "the memory limit of learner goes from 8192 to 16384 MiB: attempts take up to 7000 MiB of 8192, 80% are meant"
    )
    limit = (await scaled.view("learner")).limit
    assert limit is not None
    assert [(step.before, step.replicas) for step in limit.steps] == [
        (16_384, 8192),
        (24_576, 16_384),
        (16_384, 24_576),
        (8192, 16_384),
    ]


async def test_a_limit_that_is_declared_anew_holds_at_once(scaled: Scaled) -> None:
    await scaled.want(LEARNER)
    await takes(scaled, minutes=0.5, learner=7000)
    await scaled.want(replace(LEARNER, limits=ProcessLimits(memory_mb=20_000)))
    assert (await scaled.desired.read()).pools[0].limits.memory_mb == 20_000, "before anybody looked"
    assert set(await takes(scaled, minutes=0.5, learner=7000)) == {20_000}
    assert not (await scaled.desired.read()).limits


async def test_advice_and_a_pool_without_a_rule_have_what_is_declared(scaled: Scaled) -> None:
    await scaled.want(LEARNER)
    await takes(scaled, minutes=0.5, learner=7000)
    assert LEARNER.scaling is not None
    await scaled.want(replace(LEARNER, scaling=replace(LEARNER.scaling, recommend_only=True)))
    assert (await takes(scaled, minutes=0.5, learner=7000))[-1] == 8192
    limit = (await scaled.view("learner")).limit
    assert limit is not None
    assert (limit.memory_mb, limit.recommended_mb) == (8192, 16_384)
    await scaled.want(replace(LEARNER, scaling=None))
    assert (await takes(scaled, minutes=0.5, learner=7000))[-1] == 8192
    await scaled.desired.change([Wish("fleet", None)], by="ann", why="gone")
    await scaled.scaler.run_once(now_ms=scaled.cell.now + STEP_MS)
