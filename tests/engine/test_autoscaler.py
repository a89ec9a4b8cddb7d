"""The autoscaler on a real engine, a sweep at a time, with a clock that only the tests move on."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from tests.engine.cell import Cell, task

from amas.controllers import autoscaler
from amas.controllers.autoscaler import Autoscaler
from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostAbout, HostFigures
from amas.engine.inbox import Inboxes, Letter
from amas.engine.queue import Slots
from amas.engine.scaling import ScalingState
from amas.errors import EngineUnreachable
from amas.model.blob import to_blob
from amas.model.desired import Scale, Seats
from amas.model.fleet import FleetLimits, FleetSpec, PoolSpec
from amas.model.limits import Usage
from amas.model.scaling import AUTOSCALER, PoolScaling, ScalingPace, ScalingSpec, ScalingTargets
from amas.model.task import Claimed, Completion
from amas.records.store import Records
from amas.settings import MessageSettings

STEP_MS = 15_000
SPEC = ScalingSpec(
    min=0,
    max=12,
    targets=ScalingTargets(queue_depth=2),
    up=ScalingPace(count=3, percent=50, every_s=60, after_s=60),
    down=ScalingPace(count=1, percent=50, every_s=60, after_s=120),
    idle_s=120,
)
POOL = PoolSpec(name="worker", agent="a:b", capabilities=("work",), scaling=SPEC)


class Scaled:
    """A cell, its autoscaler, and agents that there are as many of as are wanted."""

    def __init__(self, cell: Cell, records: Records) -> None:
        self.cell, self.records = cell, records
        self.desired, self.state = DesiredState(cell.engine), ScalingState(cell.engine)
        self.running: list[Claimed] = []
        self.sent, self.cell_has_host = 0, False
        self.scaler = self.anew()

    def anew(self) -> Autoscaler:
        """Return an autoscaler that knows nothing, as a new leader's does."""
        self.scaler = Autoscaler(self.state, self.desired, Inboxes(self.cell.engine, MessageSettings()), self.records)
        return self.scaler

    async def want(self, *pools: PoolSpec, limit: int = 500) -> None:
        fleet = FleetSpec(name="f", pools=pools, limits=FleetLimits(max_total_agents=limit))
        await self.desired.change([Wish("fleet", fleet)], by="ann", why="a start", now_ms=self.cell.now)

    async def flood(self, count: int, *, queue: str = "work") -> None:
        await self.cell.submit(*(task(f"t{self.sent + index}", queue=queue) for index in range(count)))
        self.sent += count

    async def size(self, pool: str = "worker") -> int:
        return next(each.replicas for each in (await self.desired.read()).pools if each.name == pool)

    async def sweep(self, *, times: int = 1) -> list[int]:
        """Let time pass, have the autoscaler look, and return the sizes after each look."""
        sizes = []
        for _ in range(times):
            self.cell.now += STEP_MS
            await self.scaler.run_once(now_ms=self.cell.now)
            sizes.append(await self.size())
        return sizes

    async def work(self, *, pool: str = "worker", queues: tuple[str, ...] = ("work", "@worker")) -> int:
        """Have every agent that is wanted begin a task, those from before having done theirs; return how many there are."""
        if not self.cell_has_host:
            about = HostAbout(1, "machine", "1", ())
            await self.cell.hosts.register("h1", about, lease_s=100_000, now_ms=self.cell.now)
            self.cell_has_host = True
        await self.cell.complete(*self.running)
        agents = [f"{pool}-{number + 1}" for number in range(await self.size(pool))]
        got = await self.cell.queue.claim("h1", [Slots(queues, agents)], now_ms=self.cell.now) if agents else []
        assert got is not None
        self.running = got
        return len(got)

    async def view(self, pool: str = "worker") -> PoolScaling:
        return (await self.state.views())[pool]


@pytest.fixture
async def scaled(cell: Cell, sqlite_url: str) -> AsyncIterator[Scaled]:
    async with await Records.open(sqlite_url) as records:
        yield Scaled(cell, records)


async def test_a_flood_makes_a_pool_grow_in_its_steps_and_it_comes_back_to_nothing(scaled: Scaled) -> None:
    await scaled.want(POOL)
    idle = await scaled.sweep(times=12)
    assert idle[-1] == 0, "nothing ever came"
    await scaled.flood(160)
    sizes = []
    for _ in range(16):
        sizes += await scaled.sweep()
        await scaled.work()
    grown = [size for index, size in enumerate(sizes) if size != [0, *sizes][index]]
    assert grown == [3, 6, 9, 12], "awake at once, then by three a minute up to the most"
    while await scaled.work():
        sizes += await scaled.sweep()
    assert (await scaled.cell.queue.totals())["succeeded"] == 160
    falling = await scaled.sweep(times=40)
    assert falling[0] == 12
    assert falling[-1] == 0
    assert sorted(falling, reverse=True) == falling
    history = [change for change in await scaled.desired.history() if change.by == AUTOSCALER]
    assert all(change.fields == ("scale:worker",) and "worker " in change.why for change in history)
    assert history[-2].why == (
        "worker grows from 0 to 3: 160 tasks wait, 2 for an agent, and nothing runs, which takes 80 agents; "
        "it had none, and it may change by 3 or 50 % in 60 s"
    )
    view = await scaled.view()
    assert (view.replicas, view.grown) == (0, 4)
    assert view.steps[0].replicas == 0


async def test_a_new_leader_goes_on_where_the_last_one_was(scaled: Scaled) -> None:
    await scaled.want(replace(POOL, replicas=2))
    await scaled.flood(100)
    await scaled.sweep(times=3)
    scaled.anew()
    assert await scaled.sweep(times=3) == [2, 2, 5], "a minute after the first look, not after its own"


async def test_a_leader_that_died_before_it_noted_a_change_left_it_for_all_to_see(
    scaled: Scaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scaled.want(replace(POOL, replicas=2))
    await scaled.flood(100)
    await scaled.sweep(times=5)

    async def dies(*_: object, **__: object) -> None:
        raise EngineUnreachable("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(scaled.state, "keep", dies)
        with pytest.raises(EngineUnreachable):
            await scaled.sweep()
    assert await scaled.size() == 5
    scaled.anew()
    assert await scaled.sweep(times=3) == [5, 5, 5], "the change is found, and its pace and windows count from it"


async def test_what_a_person_set_stays_until_it_is_given_back(scaled: Scaled) -> None:
    await scaled.want(POOL)
    await scaled.flood(100)
    await scaled.desired.change([Wish("scale:worker", Scale(replicas=20, by="ann", why="the sale"))], by="ann", why="the sale")
    assert set(await scaled.sweep(times=8)) == {20}
    view = await scaled.view()
    assert (view.pinned_by, view.replicas, view.recommended) == ("ann", 20, 12)
    assert (view.steps, view.shrunk) == ((), 0), "nothing was done"
    await scaled.desired.change([Wish("scale:worker", None)], by="ann", why="over")
    assert await scaled.sweep() == [1]
    assert (await scaled.view()).pinned_by == ""


async def test_advice_changes_nothing(scaled: Scaled) -> None:
    await scaled.want(replace(POOL, scaling=replace(SPEC, recommend_only=True)))
    await scaled.flood(100)
    assert set(await scaled.sweep(times=8)) == {1}
    view = await scaled.view()
    assert (view.replicas, view.recommended, view.recommend_only) == (1, 4, True)
    assert [step.replicas for step in view.steps] == [4], "advice that stays the same is noted once"
    assert view.grown == 0
    assert not (await scaled.desired.read()).scales


async def test_a_pool_that_gets_only_advice_from_now_on_has_its_declared_size(scaled: Scaled) -> None:
    await scaled.want(POOL)
    await scaled.flood(100)
    assert (await scaled.sweep(times=6))[-1] == 4
    await scaled.want(replace(POOL, scaling=replace(SPEC, recommend_only=True)))
    assert set(await scaled.sweep(times=6)) == {1}


async def test_who_decided_from_an_older_document_looks_again(scaled: Scaled, monkeypatch: pytest.MonkeyPatch) -> None:
    await scaled.want(POOL)
    await scaled.flood(100)
    await scaled.sweep(times=5)
    read = scaled.desired.read

    async def overtaken() -> object:
        found = await read()
        await scaled.desired.change([Wish("scale:worker", Scale(replicas=7, by="ann"))], by="ann", why="now")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(scaled.desired, "read", overtaken)
        scaled.cell.now += STEP_MS
        assert await scaled.scaler.run_once(now_ms=scaled.cell.now) == autoscaler.AGAIN_S
    assert await scaled.size() == 7
    assert set(await scaled.sweep(times=8)) == {7}


async def test_what_comes_for_a_pool_without_agents_is_seen_between_two_sweeps(scaled: Scaled) -> None:
    await scaled.want(POOL)
    assert (await scaled.sweep(times=12))[-1] == 0
    scaled.cell.now += 300
    assert await scaled.scaler.run_once(now_ms=scaled.cell.now) == autoscaler.WAKE_S
    assert await scaled.size() == 0
    await scaled.flood(1)
    scaled.cell.now += 300
    await scaled.scaler.run_once(now_ms=scaled.cell.now)
    assert await scaled.size() == 1


async def test_pools_that_can_do_the_same_share_what_waits(scaled: Scaled) -> None:
    spec = replace(SPEC, min=1, up=ScalingPace(count=100, every_s=0), max=100)
    one, two = replace(POOL, scaling=spec), replace(POOL, name="other", replicas=3, scaling=spec)
    await scaled.want(one, two)
    await scaled.sweep()
    await scaled.flood(80)
    await scaled.sweep()
    assert (await scaled.size("worker"), await scaled.size("other")) == (10, 30), "by the places that they have"


async def test_the_fleet_s_limit_is_shared_out(scaled: Scaled) -> None:
    spec = replace(SPEC, min=1, up=ScalingPace(count=100, every_s=0), max=100)
    one, two = replace(POOL, scaling=spec), replace(POOL, name="other", capabilities=("other",), scaling=spec)
    await scaled.want(one, two, limit=10)
    await scaled.sweep()
    await scaled.flood(80)
    await scaled.flood(80, queue="other")
    await scaled.sweep()
    assert (await scaled.size("worker"), await scaled.size("other")) == (9, 1)
    assert "max_total_agents" in (await scaled.view("other")).reason


async def test_the_wait_is_measured_from_when_somebody_asked(scaled: Scaled) -> None:
    spec = replace(SPEC, min=1, targets=ScalingTargets(oldest_s=60))
    await scaled.want(replace(POOL, replicas=4, scaling=spec))
    await scaled.sweep()
    await scaled.flood(40)
    await scaled.sweep(times=5)
    (oldest,) = [signal for signal in (await scaled.view()).signals if signal.name == "oldest"]
    assert oldest.value == pytest.approx(75, abs=STEP_MS / 1000)
    assert (await scaled.state.queues(["work", "@worker", "nobody's"])) == {
        "work": (40, 40),
        "@worker": (0, 0),
        "nobody's": (0, None),
    }


async def test_hosts_figures_count_where_the_pool_has_seats(scaled: Scaled) -> None:
    spec = replace(SPEC, min=1, targets=ScalingTargets(cpu=0.5, memory_mb=1000), up=ScalingPace(count=100, every_s=0), max=100)
    await scaled.want(replace(POOL, replicas=10, scaling=spec))
    seats = [Wish("seats:h1", (Seats("worker", ((1, 10),)),)), Wish("seats:h2", (Seats("other", ((1, 10),)),))]
    await scaled.desired.change(seats, by="placer")
    for second in range(3):
        for host, used in (("h1", 0.8), ("h2", 0.1)):
            await scaled.cell.host(host)
            figures = HostFigures(cpu_s=used * second * STEP_MS / 1000, rss_bytes=500 << 20)
            await scaled.cell.hosts.renew(host, figures, lease_s=100, now_ms=scaled.cell.now)
        await scaled.sweep()
    assert {signal.name: round(signal.value, 3) for signal in (await scaled.view()).signals} == {
        "cpu": 0.8,
        "memory": 500.0,
        "busy": 0,
    }
    assert await scaled.size() == 16


async def test_what_an_agent_costs_is_learned_from_what_its_work_cost(scaled: Scaled) -> None:
    """A tenth of a dollar in ten seconds is 36 dollars an hour."""
    spec = replace(SPEC, min=1, usd_per_hour=80.0, up=ScalingPace(count=100, every_s=0))
    await scaled.want(replace(POOL, scaling=spec))
    await scaled.flood(1)
    await scaled.work()
    scaled.cell.now += 10_000
    (done,) = scaled.running
    await scaled.cell.queue.complete(
        "h1", [Completion(done.id, done.attempt, to_blob("done"), Usage(100_000))], now_ms=scaled.cell.now
    )
    await scaled.records.apply(await scaled.cell.entries())
    await scaled.flood(50)
    await scaled.sweep(times=2)
    assert await scaled.size() == 2
    assert (await scaled.view()).reason.endswith("; 80 USD an hour pay for 2 at 36 USD each")


async def test_messages_and_workflows_ask_for_agents(scaled: Scaled) -> None:
    spec = replace(SPEC, min=1, up=ScalingPace(count=100, every_s=0), targets=ScalingTargets(messages=2, workflows=1))
    await scaled.want(replace(POOL, scaling=spec))
    await scaled.sweep()
    now, inboxes = scaled.cell.now, Inboxes(scaled.cell.engine, MessageSettings())
    letters = [
        Letter.of(inbox, b"x", message_id=f"{inbox}/{n}", sender="s", priority=1, times_ms=(now, now + 300_000))
        for inbox in ("worker-1", "worker-7", "other-1")
        for n in range(5)
    ]
    await inboxes.send(letters, now_ms=now)
    for name in ("w1", "w2", "w3"):
        await scaled.cell.submit(task(name), workflow=name)
    await scaled.sweep()
    assert {signal.name: signal.agents for signal in (await scaled.view()).signals} == {
        "messages": 5,
        "workflows": 3,
        "waiting": 1,
        "busy": 0,
    }
    assert await scaled.size() == 5


async def test_a_pool_that_is_scaled_no_more_is_forgotten(scaled: Scaled) -> None:
    await scaled.want(POOL)
    await scaled.flood(100)
    assert (await scaled.sweep(times=6))[-1] == 4
    assert (await scaled.state.kept()).memories.keys() == {"worker"}
    await scaled.want(replace(POOL, scaling=None))
    assert await scaled.sweep() == [1], "as declared, and not as it was scaled last"
    kept = await scaled.state.kept()
    assert not kept.memories
    assert not kept.views
