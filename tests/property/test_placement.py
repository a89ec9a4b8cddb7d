"""What placement keeps true, whatever the fleet and whatever happened to it before."""

from collections.abc import Mapping, Sequence
from time import perf_counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from amas.core.placement import agent_weight, fits, place, taken_out, unseated
from amas.model.desired import Desired, Order, Seats
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.numbers import Numbers, expand, ranges

HOSTS = [f"host-{number}" for number in range(1, 7)]

Placed = Mapping[str, tuple[Seats, ...]]


def _pool(index: int, replicas: int, tasks: int = 1, isolation: str = "shared", gone: Numbers = ()) -> PoolSpec:
    return PoolSpec(
        name=f"pool-{index}",
        agent="tests:agent",
        capabilities=("a.b",),
        replicas=replicas,
        tasks_per_agent=tasks,
        isolation=isolation,  # type: ignore[arg-type]
        gone=gone,
    )


@st.composite
def _pools(draw: st.DrawFn) -> tuple[PoolSpec, ...]:
    sizes = draw(st.lists(st.integers(1, 40) | st.integers(0, 3), min_size=1, max_size=8))
    holes = st.sets(st.integers(1, 45), max_size=4).map(ranges)
    return tuple(
        _pool(index, size, draw(st.integers(1, 3)), draw(st.sampled_from(["shared", "process"])), draw(holes))
        for index, size in enumerate(sizes)
    )


pools = _pools()
hosts = st.sets(st.sampled_from(HOSTS), min_size=1).map(sorted)
changes = st.lists(st.tuples(pools, hosts), max_size=4)
"""What a fleet lived through before."""


def _history(lived: Sequence[tuple[tuple[PoolSpec, ...], list[str]]]) -> Placed:
    placed: Placed = {}
    for before, live in lived:
        placed = place(before, live, placed)
    return placed


def _agents(placed: Placed) -> dict[tuple[str, int], str]:
    where: dict[tuple[str, int], str] = {}
    for host, of in placed.items():
        for seats in of:
            for first, last in seats.numbers:
                for number in range(first, last + 1):
                    assert (seats.pool, number) not in where, "an agent sits twice"
                    where[seats.pool, number] = host
    return where


def _moved(before: Placed, after: Placed) -> set[tuple[str, int]]:
    """Agents that sat somewhere and sit elsewhere now."""
    old, new = _agents(before), _agents(after)
    return {agent for agent in old.keys() & new.keys() if old[agent] != new[agent]}


def _counts(placed: Placed, pool: PoolSpec, live: Sequence[str]) -> list[int]:
    return [sum(seats.count for seats in placed.get(host, ()) if seats.pool == pool.name) for host in live]


def _loads(placed: Placed, fleet: Sequence[PoolSpec], live: Sequence[str]) -> list[int]:
    weights = {pool.name: agent_weight(pool) for pool in fleet}
    return [sum(seats.count * weights[seats.pool] for seats in placed.get(host, ())) for host in live]


@settings(deadline=None)
@given(pools, hosts, changes)
def test_every_agent_sits_once_and_each_pool_is_spread_evenly(
    fleet: tuple[PoolSpec, ...], live: list[str], lived: list[tuple[tuple[PoolSpec, ...], list[str]]]
) -> None:
    """Whatever was before: no agent is missing, none sits twice or on a host that is gone, ranges are in order and apart."""
    placed = place(fleet, live, _history(lived))
    where = _agents(placed)
    assert where.keys() == {(pool.name, number) for pool in fleet for number in expand(pool.numbers)}
    assert all(pool.replicas == len(set(expand(pool.numbers)) - set(expand(pool.gone))) for pool in fleet)
    assert set(where.values()) <= set(live)
    for pool in fleet:
        counts = _counts(placed, pool, live)
        assert max(counts) - min(counts) <= 1
    for of in placed.values():
        for seats in of:
            assert all(last + 1 < first for (_, last), (first, _) in zip(seats.numbers, seats.numbers[1:], strict=False))


@settings(deadline=None)
@given(pools, hosts)
def test_loads_differ_by_one_agent_at_most_when_dealt_anew(fleet: tuple[PoolSpec, ...], live: list[str]) -> None:
    """The heaviest agent's weight is all that two hosts' loads differ by."""
    loads = _loads(place(fleet, live, {}), fleet, live)
    assert max(loads) - min(loads) <= max(agent_weight(pool) for pool in fleet)


@settings(deadline=None)
@given(pools, hosts, changes)
def test_placing_again_changes_nothing(
    fleet: tuple[PoolSpec, ...], live: list[str], lived: list[tuple[tuple[PoolSpec, ...], list[str]]]
) -> None:
    """What was dealt stays."""
    placed = place(fleet, live, _history(lived))
    assert place(fleet, live, placed) == placed


@settings(deadline=None)
@given(pools, st.sets(st.sampled_from(HOSTS), min_size=2).map(sorted), st.data())
def test_a_lost_host_moves_only_its_own_agents(fleet: tuple[PoolSpec, ...], live: list[str], data: st.DataObject) -> None:
    """Nobody else's agents move when a host dies or is drained, and it has none afterwards."""
    before = place(fleet, live, {})
    lost = data.draw(st.sampled_from(live))
    after = place(fleet, [host for host in live if host != lost], before)
    assert lost not in after
    assert _moved(before, after) == {agent for agent, host in _agents(before).items() if host == lost}


@settings(deadline=None)
@given(pools, hosts, st.data())
def test_a_new_host_gets_its_share_and_nothing_else_moves(
    fleet: tuple[PoolSpec, ...], live: list[str], data: st.DataObject
) -> None:
    """Whatever moves, moves to the new host; and it isn't left with less than the others, but for one agent."""
    before = place(fleet, live, {})
    after = place(fleet, [*live, "host-9"], before)
    assert {_agents(after)[agent] for agent in _moved(before, after)} <= {"host-9"}
    loads = _loads(after, fleet, [*live, "host-9"])
    assert loads[-1] >= max(loads) - max(agent_weight(pool) for pool in fleet)


@settings(deadline=None)
@given(pools, hosts, st.integers(0, 60), st.data())
def test_a_pool_that_changes_size_touches_only_itself(
    fleet: tuple[PoolSpec, ...], live: list[str], replicas: int, data: st.DataObject
) -> None:
    """Growing and shrinking moves agents of no other pool, as long as no host is empty."""
    before = place((*fleet, _pool(99, len(live))), live, {})
    changed = data.draw(st.sampled_from(fleet)).name
    sized = [_pool(99, len(live)), *fleet]
    after_pools = [
        _pool(int(pool.name[5:]), replicas, pool.tasks_per_agent, pool.isolation) if pool.name == changed else pool
        for pool in sized
    ]
    after = place(after_pools, live, before)
    assert {pool for pool, _ in _moved(before, after)} <= {changed}
    assert {number for pool, number in _agents(after) if pool == changed} == set(range(1, replicas + 1))


@settings(deadline=None)
@given(pools, hosts, st.lists(st.integers(0), min_size=1, max_size=5))
def test_exactly_the_agent_that_is_taken_out_goes(fleet: tuple[PoolSpec, ...], live: list[str], picks: list[int]) -> None:
    """One after the other, whatever numbers are gone already: the rest stays, and at most one other moves, to even it out.

    Unless its host has nobody left then: that gets its share, as a new host does.
    """
    pool = _pool(99, len(live) + 5, gone=((2, 2), (4, 5)))
    placed = place((*fleet, pool), live, {})
    for pick in picks:
        numbers = list(expand(pool.numbers))
        number = numbers[pick % len(numbers)]
        pool = msgspec.structs.replace(pool, replicas=pool.replicas - 1, gone=taken_out(pool, number))
        after = place((*fleet, pool), live, placed)
        assert _agents(placed).keys() - _agents(after).keys() == {(pool.name, number)}
        assert not _agents(after).keys() - _agents(placed).keys()
        moved, before = _moved(placed, after), _agents(placed)
        alone = list(before.values()).count(before[pool.name, number]) == 1
        assert alone or ({name for name, _ in moved} <= {pool.name} and len(moved) <= 1)
        placed = after


@settings(deadline=None)
@given(pools, st.sets(st.sampled_from(HOSTS), min_size=2).map(sorted), st.data())
def test_a_cordoned_host_keeps_what_it_has_and_gets_no_more(
    fleet: tuple[PoolSpec, ...], live: list[str], data: st.DataObject
) -> None:
    """Also when a pool grows; with nothing but cordoned hosts left, they still keep theirs."""
    before = place(fleet, live, {})
    cordoned = data.draw(st.sampled_from(live))
    grown = [msgspec.structs.replace(pool, replicas=pool.replicas + 3) for pool in fleet]
    after = place(grown, [host for host in live if host != cordoned], before, cordoned=[cordoned])
    assert after.get(cordoned, ()) == before.get(cordoned, ())
    assert place(fleet, [], before, cordoned=[cordoned]) == ({cordoned: before[cordoned]} if cordoned in before else {})


def test_a_million_agents_cost_as_little_as_their_ranges() -> None:
    """The numbers of ranges stay small, and so does the work: each pool is at most one range more for each host and change."""
    agents = 1_000_000
    fleet = [_pool(index, agents // 100) for index in range(100)]
    live = [f"host-{number:02}" for number in range(32)]
    began = perf_counter()
    placed = place(fleet, live, {})
    for lost in live[:4]:
        live.remove(lost)
        placed = place(fleet, live, placed)
    took_s = perf_counter() - began
    print(f"a million agents, 100 pools, 32 hosts, and four of them lost: {took_s:.3f} s")
    assert sum(len(seats.numbers) for of in placed.values() for seats in of) <= 100 * 32 * 5
    assert sum(seats.count for of in placed.values() for seats in of) == agents


LABELS = {"host-1": {"gpu": "true", "zone": "a"}, "host-2": {"gpu": "true"}, "host-3": {"zone": "a"}}
selectors = st.sampled_from([{}, {}, {"gpu": "true"}, {"zone": "a"}, {"gpu": "true", "zone": "a"}, {"gpu": "no"}])


@st.composite
def _choosy(draw: st.DrawFn) -> tuple[PoolSpec, ...]:
    return tuple(msgspec.structs.replace(pool, node_selector=draw(selectors)) for pool in draw(pools))


choosy = _choosy()


@given(choosy, hosts, st.lists(st.tuples(choosy, hosts), max_size=3))
@settings(deadline=None, max_examples=60)
def test_agents_sit_evenly_on_hosts_with_their_labels_and_nowhere_else(
    fleet: tuple[PoolSpec, ...], live: list[str], lived: list[tuple[tuple[PoolSpec, ...], list[str]]]
) -> None:
    placed: Placed = {}
    for before, then in lived:
        placed = place(before, then, placed, labels=LABELS)
    placed = place(fleet, live, placed, labels=LABELS)
    for pool in fleet:
        able = [host for host in live if fits(pool.node_selector, LABELS.get(host, {}))]
        counts = _counts(placed, pool, able)
        assert sum(counts) == (pool.replicas if able else 0)
        assert not able or max(counts) - min(counts) <= 1
        assert sum(_counts(placed, pool, live)) == sum(counts)
    assert place(fleet, live, placed, labels=LABELS) == placed


def test_pools_that_sit_anywhere_make_room_for_those_that_cannot() -> None:
    gpu = msgspec.structs.replace(_pool(0, 4), node_selector={"gpu": "true"})
    singles = [_pool(number, 1) for number in range(1, 4)]
    placed = place([*singles, gpu], ["host-1", "host-9"], {}, labels=LABELS)
    assert {seats.pool for seats in placed["host-9"]} == {"pool-1", "pool-2", "pool-3"}
    assert placed["host-1"] == (Seats("pool-0", ((1, 4),)),)


def test_why_agents_have_no_host_is_said_with_the_way_out() -> None:
    gpu = msgspec.structs.replace(_pool(0, 2), node_selector={"gpu": "true", "zone": "a"})
    desired = Desired(fleet=FleetSpec(name="f", pools=(gpu, _pool(1, 1))), seats={"host-3": (Seats("pool-1", ((1, 1),)),)})
    assert unseated(desired, ["host-3"], LABELS) == {
        "pool-0": "2 of pool-0's agents have no host: none that lives has gpu=true, zone=a: start one with "
        "`amas host --label gpu=true --label zone=a`, or label one in the fleet file (hosts: {labels: ...})"
    }
    drained = msgspec.structs.replace(desired, orders={"host-1": Order(drained=True)})
    assert unseated(drained, ["host-1", "host-3"], LABELS)["pool-0"] == (
        "2 of pool-0's agents have no host: all with gpu=true, zone=a are drained or cordoned (host-1): "
        "`amas uncordon host-1` opens one"
    )
    assert unseated(desired, ["host-1", "host-3"], LABELS)["pool-0"].endswith("they are being dealt out")
    assert unseated(desired, [], {})["pool-1"] == "1 of pool-1's agents have no host: no host lives"
