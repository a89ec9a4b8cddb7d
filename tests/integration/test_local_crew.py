"""The local platform follows what is wanted of its hosts while it runs: how many, and which to start anew."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.engine.cell import done, task
from tests.integration.test_local_platform import fleet, life, part, until

from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostAbout, HostRegistry
from amas.engine.queue import Slots, TaskQueue
from amas.model.desired import Order
from amas.model.fleet import FleetSpec, PoolSpec
from amas.platforms.local import control

ONE = FleetSpec(name="one", pools=(PoolSpec(name="coder", agent="a:b", capabilities=("development.code",)),))


def hosts(count: int) -> FleetSpec:
    return FleetSpec(name="one", pools=ONE.pools, hosts=count)


@asynccontextmanager
async def engine_of(home: Path) -> AsyncIterator[Engine]:
    state = control.fleet_state(home)
    async with Engine(state.engine_url, cell=state.cell) as engine:
        yield engine


@asynccontextmanager
async def wishes(home: Path) -> AsyncIterator[DesiredState]:
    async with engine_of(home) as engine:
        yield DesiredState(engine)


def running(home: Path) -> list[str]:
    return [part.name for part in control.fleet_state(home).parts if part.status == "running" and part.name.startswith("host-")]


async def test_hosts_come_and_go_as_many_as_are_wanted(tmp_path: Path) -> None:
    async with fleet(tmp_path, hosts=1, fleet=ONE), wishes(tmp_path) as state:
        assert (await state.read()).fleet == ONE  # the engine knew before the control plane started
        await state.apply(hosts(3), by="ann", why="more")
        await until(lambda: running(tmp_path) == ["host-1", "host-2", "host-3"])
        assert control.fleet_state(tmp_path).hosts == 3
        await state.apply(hosts(1), by="ann", why="less")
        await until(lambda: {(name, what) for name, what, _ in life(tmp_path)} >= {("host-2", "stopped"), ("host-3", "stopped")})
        assert running(tmp_path) == ["host-1"]
        while (await state.read()).orders:  # they were drained until they had ended
            await asyncio.sleep(0.02)
        drained = [change.fields for change in await state.history() if change.why.endswith("too many")]
        assert drained == [("order:host-3",), ("order:host-2",)]
        await state.apply(hosts(2), by="ann", why="more again")
        await until(lambda: running(tmp_path) == ["host-1", "host-2"])


async def test_a_host_is_started_anew_when_its_order_says_so(tmp_path: Path) -> None:
    async with fleet(tmp_path, hosts=2, fleet=hosts(2)), wishes(tmp_path) as state:
        before = {name: part(control.fleet_state(tmp_path), name).pid for name in ("host-1", "host-2")}
        await state.change([Wish("order:host-2", Order(restarts=1))], by="ann", why="it leaks")
        await until(lambda: part(control.fleet_state(tmp_path), "host-2").pid not in {0, before["host-2"]})
        assert ["host-2", "stopped", str(before["host-2"])] in life(tmp_path)
        assert part(control.fleet_state(tmp_path), "host-2").reason == ""
        assert part(control.fleet_state(tmp_path), "host-1").pid == before["host-1"]
        await state.change([Wish("order:host-2", Order(restarts=1, cordoned=True))], by="ann", why="nothing to restart for")
        await until(lambda: running(tmp_path) == ["host-1", "host-2"])
        assert len([each for each in life(tmp_path) if each[:2] == ["host-2", "began"]]) == 2


async def test_what_was_wanted_before_a_start_stays_but_for_the_fleet(tmp_path: Path) -> None:
    async with fleet(tmp_path, hosts=1, fleet=ONE), wishes(tmp_path) as state:
        await state.change([Wish("order:host-1", Order(cordoned=True))], by="ann", why="careful")
    async with fleet(tmp_path, hosts=2, fleet=hosts(2)), wishes(tmp_path) as state:
        found = await state.read()
        assert found.fleet == hosts(2)
        assert found.orders == {"host-1": Order(cordoned=True)}
        assert [(change.by, change.fields) for change in await state.history(limit=1)] == [("amas up", ("fleet",))]


async def test_a_host_that_is_too_many_does_what_it_runs_before_it_ends(tmp_path: Path) -> None:
    async with fleet(tmp_path, hosts=3, fleet=hosts(3)), wishes(tmp_path) as state, engine_of(tmp_path) as engine:
        queue, registry = TaskQueue(engine), HostRegistry(engine)
        held = {}
        for host in ("host-2", "host-3"):
            await registry.register(host, HostAbout(1, "here", "1"), lease_s=300)
            await queue.submit([task(f"of-{host}", queue="development.code")])
            (held[host],) = await queue.claim(host, [Slots(("development.code",), ["coder-1"])]) or []
        await state.apply(hosts(1), by="ann", why="less")
        await until(lambda: running(tmp_path) == ["host-1"])
        assert not {"host-2", "host-3"} & {name for name, what, _ in life(tmp_path) if what == "stopped"}
        await queue.complete("host-3", [done(held["host-3"])])
        await until(lambda: ("host-3", "stopped") in {(name, what) for name, what, _ in life(tmp_path)})
        assert ("host-2", "stopped") not in {(name, what) for name, what, _ in life(tmp_path)}, "it still works"
        await state.apply(hosts(2), by="ann", why="its name is wanted again")
        await until(lambda: [each[:2] for each in life(tmp_path)].count(["host-2", "began"]) == 2)
        await state.apply(hosts(1), by="ann", why="less, and the fleet stops meanwhile")
        await until(lambda: running(tmp_path) == ["host-1"])
