"""The local platform follows what is wanted of its hosts while it runs: how many, and which to start anew."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.integration.test_local_platform import fleet, life, part, until

from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.model.desired import Order
from amas.model.fleet import FleetSpec, PoolSpec
from amas.platforms.local import control

ONE = FleetSpec(name="one", pools=(PoolSpec(name="coder", agent="a:b", capabilities=("development.code",)),))


def hosts(count: int) -> FleetSpec:
    return FleetSpec(name="one", pools=ONE.pools, hosts=count)


@asynccontextmanager
async def wishes(home: Path) -> AsyncIterator[DesiredState]:
    state = control.fleet_state(home)
    async with Engine(state.engine_url, cell=state.cell) as engine:
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
        orders = (await state.read()).orders
        assert {name for name, order in orders.items() if order.drained} == {"host-2", "host-3"}
        await state.apply(hosts(2), by="ann", why="more again")
        await until(lambda: running(tmp_path) == ["host-1", "host-2"])
        assert not (await state.read()).orders["host-2"].drained


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
