"""The placer on a real engine: agents sit on live hosts, as what is wanted and who lives changes."""

import asyncio

import pytest
from msgspec.structs import replace

from amas.controllers import placer
from amas.controllers.declarer import Declarer
from amas.controllers.figures import Figures
from amas.controllers.placer import GATHER_S, Placer
from amas.controllers.run import Controllers
from amas.engine.bounds import QueueBounds
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostAbout, HostRegistry
from amas.engine.limits import Limits
from amas.engine.queue import TaskQueue
from amas.model.desired import Order, Scale, Seats
from amas.model.fleet import FleetLimits, FleetSpec, PoolSpec

LIMIT_S = 60.0


def fleet(replicas: int = 6, *, hosts: int = 1, rate: float = 1000.0) -> FleetSpec:
    pools = (
        PoolSpec(name="coder", agent="a:b", capabilities=("development.code",), replicas=replicas),
        PoolSpec(name="chief", agent="a:c", capabilities=("executive.coordinate",)),
    )
    return FleetSpec(name="two", pools=pools, hosts=hosts, limits=FleetLimits(max_queued=7, max_agent_spawn_rate=rate))


class Cell:
    """A fleet without hosts' processes: leases and wishes alone."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.state, self.hosts = engine, DesiredState(engine), HostRegistry(engine)
        self.figures = Figures()
        self.placer = Placer(self.state, self.figures)

    async def join(self, *names: str, lease_s: float = 600.0, labels: dict[str, str] | None = None) -> None:
        for name in names:
            await self.hosts.register(name, HostAbout(1, "m", "1", (), labels=labels or {}), lease_s=lease_s)

    async def want(self, *wishes: Wish) -> None:
        await self.state.change(wishes, by="ann", why="a test")

    async def seated(self) -> dict[str, int]:
        """Deal, and return how many agents each host has then."""
        await self.placer.run_once()
        return await self.now()

    async def of(self, pool: str) -> dict[str, int]:
        """Deal, and return how many agents of a pool each host has then."""
        await self.placer.run_once()
        seats = [(host, each) for host, of in (await self.state.read()).seats.items() for each in of]
        return {host: each.count for host, each in seats if each.pool == pool}

    async def now(self) -> dict[str, int]:
        return {host: sum(of.count for of in seats) for host, seats in (await self.state.read()).seats.items()}


@pytest.fixture
def cell(engine: Engine) -> Cell:
    return Cell(engine)


async def test_agents_follow_hosts_scales_and_orders(cell: Cell) -> None:
    await cell.want(Wish("fleet", fleet()))
    assert await cell.seated() == {}
    await cell.join("h1")
    assert await cell.seated() == {"h1": 7}
    await cell.join("h2")
    assert sorted((await cell.seated()).values()) == [3, 4]
    await cell.want(Wish("scale:coder", Scale(replicas=20, by="ann")))
    assert sum((await cell.seated()).values()) == 21
    await cell.want(Wish("order:h1", Order(drained=True)))
    assert await cell.seated() == {"h2": 21}
    await cell.hosts.leave("h2")
    assert await cell.seated() == {}


async def test_what_is_dealt_already_makes_no_new_revision(cell: Cell) -> None:
    await cell.want(Wish("fleet", fleet()))
    await cell.join("h1")
    await cell.placer.run_once()
    revision = await cell.state.revision()
    await cell.placer.run_once()
    await Placer(cell.state, cell.figures).run_once()  # the next leader's
    assert await cell.state.revision() == revision
    assert cell.figures.placements == 1


async def test_seats_are_never_dealt_from_a_wish_that_has_changed(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    await cell.want(Wish("fleet", fleet()))
    await cell.join("h1")
    read = cell.state.read_with_hosts

    async def read_and_lose_the_race() -> object:
        found = await read()
        monkeypatch.undo()
        await cell.want(Wish("scale:coder", Scale(replicas=2, by="bob")))
        return found

    monkeypatch.setattr(cell.state, "read_with_hosts", read_and_lose_the_race)
    assert await cell.placer.run_once() == 0.0
    assert await cell.now() == {}
    assert await cell.seated() == {"h1": 3}


async def test_the_first_host_waits_a_moment_for_the_others(cell: Cell) -> None:
    await cell.want(Wish("fleet", fleet(hosts=2)), Wish("seats:h2", (Seats("coder", ((1, 6),)),)))  # left by an earlier life
    await cell.join("h1")
    assert 0 < await cell.placer.run_once() <= GATHER_S
    assert await cell.now() == {"h2": 6}
    await cell.join("h2")
    assert sorted((await cell.seated()).values()) == [3, 4]
    await cell.hosts.leave("h2")
    assert await cell.seated() == {"h1": 7}  # nobody waits for a host that has gone


async def test_a_dead_hosts_agents_sit_elsewhere_once_the_reaper_gave_it_up(cell: Cell) -> None:
    await cell.want(Wish("fleet", fleet()))
    await cell.join("h1", "h2")
    await cell.placer.run_once()
    later = cell.hosts.now_ms() + 601_000
    assert await cell.seated() != {"h1": 7}  # its lease is not looked at: an engine that was away would move everybody
    lost = {host.id for host in [await cell.hosts.reap(now_ms=later)] if host}
    (left,) = {"h1", "h2"} - lost
    assert await cell.seated() == {left: 7}


@pytest.mark.requirement("A2", "A11")
async def test_a_fleet_grows_as_fast_as_it_allows_and_lost_agents_are_replaced_at_once(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(placer, "monotonic_s", lambda: now_s)
    await cell.want(Wish("fleet", fleet(24, rate=10.0)))
    await cell.join("h1")
    assert await cell.placer.run_once() == placer.STEP_S
    assert await cell.now() == {"h1": 10}, "a second's worth"
    assert await cell.placer.run_once() == placer.STEP_S
    assert await cell.now() == {"h1": 10}, "no time has passed"
    now_s += 0.5
    assert await cell.seated() == {"h1": 15}
    await cell.hosts.leave("h1")
    assert await cell.seated() == {}
    await cell.join("h2")
    assert await cell.seated() == {"h2": 15}, "those that were lost come back at once"
    now_s += 10
    assert await cell.seated() == {"h2": 25}
    assert await cell.placer.run_once() == placer.PAUSE_S
    await cell.want(Wish("scale:coder", Scale(replicas=2, by="ann")))
    assert await cell.seated() == {"h2": 3}
    await cell.want(Wish("scale:coder", Scale(replicas=24, by="ann")))
    assert await cell.seated() == {"h2": 3}, "it was allowed ten that second, and has had them"
    now_s += 1
    assert await cell.seated() == {"h2": 13}


async def test_the_leader_is_rung_for_hosts_and_wishes(cell: Cell) -> None:
    """None of the steps waits for the duty's own pause, which is longer than the whole test's limit."""
    cell.placer.run_once = _patiently(cell.placer)  # type: ignore[method-assign]
    controllers = Controllers(cell.engine, [cell.placer], cell.figures, holder="p0")
    await cell.want(Wish("fleet", fleet()))

    async def until(expected: dict[str, int]) -> None:
        while await cell.now() != expected:
            await asyncio.sleep(0.01)

    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        leading = group.create_task(controllers.run())
        await cell.join("h1")
        await until({"h1": 7})
        await cell.want(Wish("scale:coder", Scale(replicas=0, by="ann")))
        await until({"h1": 1})
        await cell.join("h2")
        await cell.hosts.leave("h1")
        await until({"h2": 1})
        leading.cancel()


def _patiently(placer: Placer) -> object:
    sweep = placer.run_once

    async def run_once() -> float:
        return 3600.0 if await sweep() else 0.0

    return run_once


async def test_another_fleets_settings_are_set_and_told(engine: Engine, cell: Cell) -> None:
    told: list[FleetSpec] = []

    class Follower:
        def follow(self, fleet: FleetSpec) -> None:
            told.append(fleet)

    bounds = QueueBounds(engine)
    declarer = Declarer(cell.state, TaskQueue(engine), Limits(engine), bounds, [Follower()])
    await declarer.run_once()
    assert told == []
    await cell.want(Wish("fleet", fleet()))
    await declarer.run_once()
    await declarer.run_once()
    assert told == [fleet()]
    assert (await bounds.read())["development.code"] == 7


async def test_agents_sit_only_where_their_pool_s_labels_are_whoever_gives_them(cell: Cell) -> None:
    plain = fleet(hosts=2)
    coder, chief = plain.pools
    choosy = replace(plain, pools=(replace(coder, node_selector={"gpu": "true"}), chief))
    await cell.want(Wish("fleet", choosy))
    await cell.join("h1", "h2")
    assert await cell.of("coder") == {}
    await cell.join("h3", labels={"gpu": "true"})
    assert await cell.of("coder") == {"h3": 6}
    await cell.want(Wish("fleet", replace(choosy, host_labels={"h1": {"gpu": "true"}, "h3": {"gpu": "no"}})))
    assert await cell.of("coder") == {"h1": 6}, "what the fleet says goes before a host's own word, without a restart"
    await cell.join("h2", labels={"gpu": "true"})  # started anew, with a label, and never missed
    assert await cell.of("coder") == {"h1": 3, "h2": 3}
