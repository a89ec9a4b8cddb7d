"""How many hosts load asks for, and that nothing makes their number flap."""

from hypothesis import given, settings
from hypothesis import strategies as st

from amas.core.scaling import Turn
from amas.core.scaling_history import At, ScalingMemory
from amas.core.scaling_hosts import decide_hosts, weight
from amas.model.desired import Desired, Scale
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.scaling import HostScaling, HostsSeen, ScalingPace, ScalingSpec, ScalingTargets

NOW = 1_800_000_000_000
AT_ONCE = ScalingPace(count=100, every_s=0.0)


def following(*, low: int = 1, high: int = 4, up: ScalingPace = AT_ONCE, down: ScalingPace = AT_ONCE) -> HostScaling:
    spec = ScalingSpec(min=low, max=high, targets=ScalingTargets(cpu=0.7), up=up, down=down)
    return HostScaling(agents=1000, scaling=spec)


def turn(spec: HostScaling, hosts: int, *, weight: int = 0, cpu: tuple[float, ...] = ()) -> Turn:
    memory = ScalingMemory(seen_ms=NOW - 1000, sizes=(At(NOW - 10_000_000, hosts),))
    return decide_hosts(spec, memory, HostsSeen(at_ms=NOW, weight=weight, cpu=cpu), hosts=hosts)


def test_the_agents_that_are_to_be_seated_ask_for_hosts() -> None:
    made = turn(following(), 1, weight=2001).decision
    assert made.replicas == 3
    assert made.reason == "grows from 1 to 3: agents that weigh 2001 are to be seated, 1000 on a host, which takes 3 hosts"
    assert turn(following(), 1, weight=1000).decision.replicas == 1
    assert turn(following(), 4, weight=90_000).decision.reason.endswith("no more than 4 are allowed")


def test_cpu_asks_for_hosts() -> None:
    made = turn(following(), 2, weight=10, cpu=(0.95, 0.97)).decision
    assert made.replicas == 3
    assert made.reason == "grows from 2 to 3: 2 hosts use 0.96 CPUs each, 0.7 are meant, which takes 3 hosts"
    assert turn(following(), 3, weight=10, cpu=(0.1, 0.1, 0.1)).decision.replicas == 1
    assert turn(following(), 3, weight=10, cpu=(0.72, 0.7, 0.7)).decision.replicas == 3, "a little off is left alone"


def test_isolated_agents_weigh_more_and_those_that_are_scaled_count_as_wanted() -> None:
    pools = (
        PoolSpec(name="one", agent="a:b", capabilities=("x",), replicas=3, tasks_per_agent=2),
        PoolSpec(name="two", agent="a:b", capabilities=("y",), replicas=2, isolation="process"),
    )
    desired = Desired(fleet=FleetSpec(name="f", pools=pools), scales={"one": Scale(replicas=10, by="ann")})
    assert weight(desired) == 10 * 2 + 2 * 8


def test_what_is_wanted_stays_within_what_the_file_says_now() -> None:
    fleet = FleetSpec(name="f", pools=(), hosts=2, host_scaling=following(low=2, high=3))
    assert [Desired(fleet=fleet, host_scale=Scale(replicas=size, by="x")).hosts for size in (1, 3, 9)] == [2, 3, 3]
    assert Desired(fleet=FleetSpec(name="f", pools=(), hosts=2), host_scale=Scale(replicas=9, by="x")).hosts == 2


@given(st.lists(st.tuples(st.integers(0, 6000), st.floats(0, 1.2)), min_size=2, max_size=60), st.sampled_from((20.0, 60.0)))
@settings(deadline=None, max_examples=50)
def test_the_number_of_hosts_never_turns_round_within_its_windows(loads: list[tuple[int, float]], after_s: float) -> None:
    up, down = ScalingPace(count=1, every_s=10, after_s=20), ScalingPace(count=1, every_s=10, after_s=after_s)
    spec, memory, hosts, turned = following(up=up, down=down), ScalingMemory(), 1, {True: 0, False: 0}
    for index, (weighs, cpu) in enumerate(loads):
        at_ms = NOW + index * 5000
        made, memory = decide_hosts(spec, memory, HostsSeen(at_ms=at_ms, weight=weighs, cpu=(cpu,) * hosts), hosts=hosts)
        assert 1 <= made.replicas <= 4
        if made.replicas != hosts:
            grew = made.replicas > hosts
            since = turned[not grew]
            assert not since or at_ms - since > (up if grew else down).after_s * 1000
            turned[grew] = at_ms
        hosts = made.replicas
