"""What is wanted of a fleet is one document: changed as a whole, by revision, and never lost between two who decide."""

import asyncio

import pytest
from tests.engine.cell import Cell

from amas.engine.bell import Bell
from amas.engine.desired import CHANNEL, DesiredState, Wish
from amas.errors import DesiredChanged
from amas.model.desired import Desired, Order, Scale, Seats
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.states import Layer

FLEET = FleetSpec(
    name="two",
    pools=(
        PoolSpec(name="coder", agent="a:b", capabilities=("development.code",), replicas=3, options={"model": {"x": [1, None]}}),
        PoolSpec(name="chief", agent="a:c", capabilities=("executive.coordinate",), layer=Layer.EXECUTIVE),
    ),
)


@pytest.fixture
def state(cell: Cell) -> DesiredState:
    return DesiredState(cell.engine)


async def test_nothing_is_wanted_at_first(state: DesiredState) -> None:
    assert await state.read() == Desired()
    assert await state.revision() == 0


async def test_what_was_wanted_comes_back_as_it_was(state: DesiredState) -> None:
    scale, order = Scale(replicas=40, by="ann", why="the sale", at_ms=5), Order(cordoned=True, restarts=2)
    seats = (Seats("coder", ((1, 20), (31, 31))), Seats("chief", ((1, 1),)))
    wishes = [Wish("fleet", FLEET), Wish("scale:coder", scale), Wish("order:host-1", order), Wish("seats:host-1", seats)]
    assert await state.change(wishes, by="ann", why="a start") == 1
    held = await state.read()
    expected = Desired(revision=1, fleet=FLEET, scales={"coder": scale}, orders={"host-1": order}, seats={"host-1": seats})
    assert held == expected
    assert [pool.replicas for pool in held.pools] == [40, 1]
    assert seats[0].count == 21


async def test_what_is_taken_away_is_gone_and_the_rest_stays(state: DesiredState) -> None:
    await state.change([Wish("fleet", FLEET), Wish("order:h1", Order(cordoned=True))], by="ann", why="a start")
    await state.change([Wish("order:h1", None)], by="ann", why="it is well again")
    assert await state.read() == Desired(revision=2, fleet=FLEET)


async def test_saying_the_same_again_changes_nothing(state: DesiredState) -> None:
    wishes = [Wish("fleet", FLEET), Wish("order:none", None)]
    assert [await state.change(wishes, by="ann", why="twice") for _ in range(2)] == [1, 1]
    assert len(await state.history()) == 1


async def test_of_two_who_decided_from_the_same_look_one_looks_again(state: DesiredState) -> None:
    await state.change([Wish("fleet", FLEET)], by="ann", why="a start")
    assert await state.change([Wish("scale:coder", Scale(replicas=4, by="a"))], by="a", expect=1) == 2
    with pytest.raises(DesiredChanged, match="revision 2, not 1"):
        await state.change([Wish("scale:coder", Scale(replicas=9, by="b")), Wish("order:h1", Order())], by="b", expect=1)
    held = await state.read()
    assert held.scales["coder"].replicas == 4
    assert not held.orders, "a refused change leaves nothing behind"


async def test_the_log_tells_who_and_why_and_leaves_out_what_follows_from_it(state: DesiredState) -> None:
    await state.change([Wish("fleet", FLEET), Wish("scale:coder", Scale(replicas=4, by="ann"))], by="ann", why="the sale")
    await state.change([Wish("seats:h1", (Seats("coder", ((1, 4),)),))], by="placer")
    (only,) = await state.history()
    assert (only.revision, only.by, only.why, only.fields) == (1, "ann", "the sale", ("fleet", "scale:coder"))
    assert only.at_ms > 0


async def test_earlier_fleets_can_be_gone_back_to(state: DesiredState) -> None:
    small = FleetSpec(name="one", pools=FLEET.pools[:1])
    for fleet in (FLEET, small):
        await state.change([Wish("fleet", fleet)], by="ann", why="a file")
    assert await state.fleets() == {1: FLEET, 2: small}


async def test_who_listens_is_told_of_a_change(state: DesiredState, cell: Cell) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    bell = Bell(cell.engine, {CHANNEL: heard.put_nowait}, connected=lambda: None)
    listening = asyncio.create_task(bell.run())
    await bell.listening.wait()
    await state.change([Wish("fleet", FLEET)], by="ann", why="a start")
    assert await asyncio.wait_for(heard.get(), 60) == b"1"
    listening.cancel()
