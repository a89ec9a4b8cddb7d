"""Stages of agents open one after the other and close in reverse, whoever dies or is slow in between."""

import asyncio

import pytest
from tests.engine.cell import Cell, task

from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostAbout, HostFigures, PoolCard
from amas.engine.queue import Slots
from amas.errors import StageIncomplete, StartFailed
from amas.model.fleet import FleetLimits, FleetSpec, PoolSpec
from amas.platforms.local.opening import CLOSED, Opening, last_stage
from amas.platforms.local.request import Event


def pool(name: str, stage: int, replicas: int = 1) -> PoolSpec:
    return PoolSpec(name=name, agent="a:b", capabilities=(f"work.{name}",), stage=stage, replicas=replicas)


AT_ONCE = FleetLimits(max_agent_spawn_rate=1_000_000.0)
FLEET = FleetSpec(
    name="staged", pools=(pool("last", 7), pool("first", 1, 2), pool("middle", 3), pool("also-first", 1)), limits=AT_ONCE
)
NAMES = ["stage 1: first, also-first", "stage 3: middle", "stage 7: last"]


class Host:
    """A host that does what is wanted of it as soon as it looks, but for the agents that it can't make."""

    def __init__(self, cell: Cell, *, lacks: str = "") -> None:
        self.cell, self.lacks, self.state = cell, lacks, DesiredState(cell.engine)
        self.seen: list[dict[str, int]] = []

    async def follow(self) -> None:
        while True:
            desired = await self.state.read()
            counts = {one.name: one.replicas for one in desired.pools if one.replicas and one.name != self.lacks}
            if not self.seen or counts != self.seen[-1]:
                self.seen.append(counts)
                cards = tuple(PoolCard(name, "execution", "", "", "1", 1, ((1, n),)) for name, n in counts.items())
                await self.cell.hosts.announce("h1", HostAbout(1, "m", "1", cards, desired.revision))
            await asyncio.sleep(0.01)


@pytest.fixture
async def state(cell: Cell) -> DesiredState:
    state = DesiredState(cell.engine)
    await state.change([Wish("fleet", FLEET), Wish("stage", 0)], by="test", why="a start")
    await cell.hosts.register("h1", HostAbout(1, "m", "1"), lease_s=600)
    return state


def opening(cell: Cell, told: list[Event]) -> Opening:
    return Opening(cell.engine, by="test", report=told.append)


async def test_each_stage_waits_for_the_one_before_and_a_stop_goes_the_way_back(cell: Cell, state: DesiredState) -> None:
    host, told = Host(cell), list[Event]()
    following = asyncio.create_task(host.follow())
    await opening(cell, told).open(7, patience_s=60)
    assert [event.part for event in told if event.what == "ready"] == NAMES
    firsts = {"first": 2, "also-first": 1}
    up = [firsts, {**firsts, "middle": 1}, {**firsts, "middle": 1, "last": 1}]
    assert [seen for seen in host.seen if seen] == up
    assert (await state.read()).stage is None
    assert await opening(cell, told).close(patience_s=60) == []
    assert [seen for seen in host.seen if seen] == [*up, up[1], up[0]]
    assert [event.part for event in told if event.what == "stopped"] == NAMES[::-1]
    assert (await state.read()).closed == CLOSED
    following.cancel()


async def test_a_stage_that_doesn_t_come_up_is_named_and_the_start_goes_on_from_there(cell: Cell, state: DesiredState) -> None:
    host, told = Host(cell, lacks="middle"), list[Event]()
    following = asyncio.create_task(host.follow())
    await opening(cell, told).open(1, patience_s=60)
    with pytest.raises(StageIncomplete, match=r"stage 3 isn't there after 0\.5 s: 1 of middle's agents have no host"):
        await opening(cell, told).open(7, patience_s=0.5)
    assert (await state.read()).stage == 3, "what runs stays"
    host.lacks = ""
    told.clear()
    await opening(cell, told).open(7, patience_s=60)
    assert [event.part for event in told if event.what == "ready"] == NAMES
    following.cancel()


async def test_an_agent_that_isn_t_well_holds_its_stage_up(cell: Cell, state: DesiredState) -> None:
    following = asyncio.create_task(Host(cell).follow())
    await opening(cell, []).open(1, patience_s=60)
    await cell.hosts.renew("h1", HostFigures(troubled=("first-2",)), lease_s=600)
    with pytest.raises(StageIncomplete, match=r"stage 1 isn't there after 0\.5 s: first-2 isn't well"):
        await opening(cell, []).open(3, patience_s=0.5)
    await cell.hosts.renew("h1", HostFigures(), lease_s=600)
    await opening(cell, []).open(3, patience_s=60)
    assert (await state.read()).stage == 3, "no further than it was told to"
    following.cancel()


async def test_a_stage_isn_t_gone_before_its_agents_have_done_what_they_run(cell: Cell, state: DesiredState) -> None:
    following, told = asyncio.create_task(Host(cell).follow()), list[Event]()
    await opening(cell, told).open(7, patience_s=60)
    await cell.submit(task("t"))
    claimed = await cell.queue.claim("h1", [_slots("last-1")], now_ms=cell.now)
    closing = asyncio.create_task(opening(cell, told).close(patience_s=60))
    while not any(event.what == "stopping" for event in told):
        await asyncio.sleep(0.01)
    assert not [event for event in told if event.what == "stopped"]
    assert claimed
    await cell.complete(claimed[0])
    assert await closing == []
    following.cancel()


async def test_who_isn_t_done_in_time_is_named(cell: Cell, state: DesiredState) -> None:
    following = asyncio.create_task(Host(cell).follow())
    await opening(cell, []).open(7, patience_s=60)
    await cell.submit(task("t"))
    await cell.queue.claim("h1", [_slots("middle-1")], now_ms=cell.now)
    assert "middle" in await opening(cell, []).close(patience_s=0.5)
    following.cancel()


def _slots(agent_id: str) -> Slots:
    return Slots(("work",), [agent_id])


@pytest.mark.parametrize(("phase", "stage"), [("", 7), ("3", 3), ("also-first", 1), ("last", 7)])
def test_a_phase_is_a_number_or_a_pool(phase: str, stage: int) -> None:
    assert last_stage(FLEET, phase) == stage


@pytest.mark.parametrize("phase", ["2", "nobody", "-1"])
def test_a_phase_that_isn_t_there_is_refused_with_those_that_are(phase: str) -> None:
    with pytest.raises(StartFailed, match=f"no stage '{phase}': it starts in 1: first, also-first; 3: middle; 7: last"):
        last_stage(FLEET, phase)
