"""A host follows the desired state: seats that are written come to life there, wherever the message about them got lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from host_bench import Bench, pool

from amas.agents import seating as module
from amas.agents.host import Host
from amas.agents.seating import Seating
from amas.engine.desired import FLEET, DesiredState, Wish
from amas.engine.hosts import HostRegistry
from amas.model.desired import Scale, Seats
from amas.model.fleet import FleetLimits, FleetSpec
from amas.model.states import TaskState

FLEET_OF_TWO = FleetSpec(name="two", pools=(pool("echo"), pool("wait")), limits=FleetLimits(quality_threshold=0.6))


def as_it_is(fleet: FleetSpec) -> FleetSpec:
    return fleet


@asynccontextmanager
async def following(bench: Bench, host: Host, prepare: Callable[[FleetSpec], FleetSpec] = as_it_is) -> AsyncIterator[Seating]:
    seating = Seating(bench.engine, host, prepare=prepare, draw=lambda: 0.0)
    task = asyncio.create_task(seating.run())
    try:
        yield seating
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def has(bench: Bench, agents: int, revision: int) -> None:
    """Wait until the engine knows that the host has so many agents, as that revision wants it."""

    async def known() -> bool:
        (view,) = await HostRegistry(bench.engine).all()
        return (view.about.agents, view.about.revision) == (agents, revision)

    await bench.until(known)


async def test_a_host_runs_what_is_written_for_it_and_drops_everything_when_nothing_is(bench: Bench) -> None:
    state = DesiredState(bench.engine)
    task_id = await bench.submit("test.echo", "hello")
    async with bench.host([]) as host, following(bench, host):
        fleet = Wish(FLEET, FLEET_OF_TWO)
        revision = await state.change([fleet], by="test")
        await has(bench, 0, revision)  # a live host without seats is legal, and says that it has looked
        revision = await state.change([Wish("seats:h1", (Seats("echo", ((1, 20_000),)),)), Wish("seats:h2", ())], by="placer")
        await has(bench, 20_000, revision)
        assert (await bench.ended(task_id)).result["echo"] == "hello"
        assert host._flow is not None and host._flow.pool.options["gate"]["threshold"] == 0.6
        revision = await state.change([Wish("seats:h1", None)], by="placer")
        await has(bench, 0, revision)
        later = await bench.submit("test.echo", "nobody")
        assert (await bench.state(later, TaskState.QUEUED)).attempt == 0


async def test_what_was_wanted_before_the_host_came_is_found(bench: Bench) -> None:
    state = DesiredState(bench.engine)
    wishes = [
        Wish(FLEET, FLEET_OF_TWO),
        Wish("scale:echo", Scale(replicas=3, by="test")),
        Wish("seats:h1", (Seats("echo", ((1, 3),)), Seats("gone", ((1, 1),)))),
    ]
    revision = await state.change(wishes, by="test")
    prepared: list[FleetSpec] = []

    def prepare(fleet: FleetSpec) -> FleetSpec:
        prepared.append(fleet)
        pools = tuple(msgspec.structs.replace(one, options={"told": fleet.name}) for one in fleet.pools)
        return msgspec.structs.replace(fleet, pools=pools)

    async with bench.host([]) as host, following(bench, host, prepare):
        await has(bench, 3, revision)
        assert [one.replicas for one in prepared[0].pools] == [3, 1]
        assert (await bench.ended(await bench.submit("test.echo"))).state is TaskState.SUCCEEDED
        assert host.seats["echo-1"].agent.options == {"told": "two"}


async def test_a_change_of_which_no_message_came_is_found_soon(bench: Bench, monkeypatch) -> None:
    monkeypatch.setattr(module, "CHANNEL", "elsewhere")  # so that its bell hears nothing
    monkeypatch.setattr(module, "POLL_S", 0.01)
    state = DesiredState(bench.engine)
    async with bench.host([]) as host, following(bench, host) as seating:
        revision = await state.change([Wish(FLEET, FLEET_OF_TWO), Wish("seats:h1", (Seats("wait", ((4, 4),)),))], by="test")
        await has(bench, 1, revision)
        assert not await seating.run_once()
