"""Whom a fleet that grows may have at a time."""

import pytest

from amas.core.placement import admitted, growth_s
from amas.model.desired import Desired, Seats
from amas.model.fleet import FleetLimits, FleetSpec, PoolSpec
from amas.model.numbers import Numbers


def pool(name: str, replicas: int, gone: Numbers = ()) -> PoolSpec:
    return PoolSpec(name=name, agent="a:b", capabilities=(name,), replicas=replicas, gone=gone)


def test_what_may_come_is_shared_by_what_the_pools_lack() -> None:
    now = admitted([pool("many", 90), pool("few", 9), pool("one", 1)], {}, many=10)
    assert ({each.name: each.replicas for each in now.pools}, now.came, now.lacking) == ({"many": 9, "few": 1, "one": 0}, 10, 90)
    rest = admitted([pool("many", 90), pool("one", 1)], {"h": (Seats("many", ((1, 90),)),)}, many=10)
    assert ([each.replicas for each in rest.pools], rest.came, rest.lacking) == ([90, 1], 1, 0)


@pytest.mark.parametrize("many", range(31))
def test_all_that_may_come_do(many: int) -> None:
    wanted = [pool("a", 7), pool("b", 11), pool("c", 12)]
    now = admitted(wanted, {}, many=many)
    assert sum(each.replicas for each in now.pools) == now.came == many
    assert all(each.replicas <= whole.replicas for each, whole in zip(now.pools, wanted, strict=True))


def test_who_is_there_stays_whatever_its_number_and_the_lowest_come_first() -> None:
    present = {"h1": (Seats("a", ((2, 3),)),), "h2": (Seats("a", ((7, 7), (12, 14))),)}
    (now,) = admitted([pool("a", 9, gone=((5, 5),))], present, many=2).pools
    assert now.numbers == ((1, 4), (7, 7)), "11 and more are no longer its; 5 is gone"
    (same,) = admitted([pool("a", 9, gone=((5, 5),))], present, many=0).pools
    assert same.numbers == ((2, 3), (7, 7))


def test_whoever_takes_the_place_of_a_lost_one_is_not_counted() -> None:
    now = admitted([pool("a", 9), pool("b", 5)], {}, many=1, had={"a": 6, "b": 20})
    assert ([each.replicas for each in now.pools], now.came, now.lacking) == ([7, 5], 1, 2)


def test_how_long_a_fleet_takes_to_be_whole() -> None:
    fleet = FleetSpec(name="f", pools=(pool("a", 40), pool("b", 10)), limits=FleetLimits(max_agent_spawn_rate=4.0))
    assert growth_s(Desired()) == 0.0
    assert growth_s(Desired(fleet=fleet)) == 12.5
    assert growth_s(Desired(fleet=fleet, seats={"h": (Seats("a", ((1, 40),)), Seats("b", ((1, 10),)))})) == 0.0
