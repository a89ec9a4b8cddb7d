"""A report's arithmetic: what counts as answered and as down, percentiles, families."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from amas.core.report import (
    SLOTS_MAX,
    Ended,
    PoolNow,
    Slots,
    Spent,
    Stretch,
    Work,
    availability,
    covered,
    families,
    recovery_times,
    response,
    slots_of,
    task_counts,
    timeline,
    utilisation,
)
from amas.model.healing import Recovery

T0 = 1_000_000


def work(**told: Any) -> Work:
    """A window of ten seconds in which nothing was asked, but for what is told; what slots have is told as stretches."""
    nothing: dict[str, Any] = {
        "slots": Slots(T0, T0 + 10_000, 1000), "first_ms": T0 - 1, "accepted": 0, "open": {}, "ended": (), "spent": {},
    }  # fmt: skip
    given = {**nothing, **told}
    slots = {name: covered(told.get(name, ()), given["slots"].total) for name in ("succeeded", "failed", "worked", "asked")}
    return Work(**{**given, **slots})


def test_seconds_without_work_count_for_neither() -> None:
    found = availability(work(worked=[Stretch(0, 1, 5)]), [])
    assert (found.share, found.answered_s, found.down_s, found.idle_s) == (1.0, 2.0, 0.0, 8.0)
    assert availability(work(), []).share is None


def test_seconds_are_down_in_which_tasks_waited_and_nothing_ran() -> None:
    found = availability(work(worked=[Stretch(0, 3, 1), Stretch(7, 9, 1)], asked=[Stretch(2, 6, 4)]), [])
    assert (found.share, found.down_s) == (0.7, 3.0)
    (outage,) = found.outages
    assert (outage.from_ms, outage.to_ms, outage.engine_away) == (T0 + 4000, T0 + 7000, False)


def test_the_engine_away_is_down_whatever_agents_still_did() -> None:
    away = Recovery(T0 + 4500, "engine_away", "engine", 3000)
    found = availability(work(worked=[Stretch(0, 9, 1)]), [away, Recovery(T0 + 9000, "host_lost", "host-1", 5000)])
    assert (found.share, found.answered_s, found.down_s) == (0.8, 8.0, 2.0), "the two seconds that it was away for as a whole"
    assert found.outages[0].engine_away


def test_what_began_before_the_window_counts_within_it_only() -> None:
    found = availability(work(worked=[Stretch(-1, 2, 1)], asked=[Stretch(-1, 1, 1), Stretch(5, 4, 1)]), [])
    assert (found.answered_s, found.down_s) == (3.0, 0.0), "and a stretch that ends before it begins for nothing"


@given(
    worked=st.lists(st.builds(Stretch, st.integers(-1, 9), st.integers(-1, 9), st.integers(1, 3))),
    asked=st.lists(st.builds(Stretch, st.integers(-1, 9), st.integers(-1, 9), st.integers(1, 3))),
)
def test_every_second_is_answered_down_or_idle(worked: list[Stretch], asked: list[Stretch]) -> None:
    found = availability(work(worked=worked, asked=asked), [])
    busy = {slot for each in worked for slot in range(max(0, each.first), each.last + 1)}
    down = {slot for each in asked for slot in range(max(0, each.first), each.last + 1)} - busy
    assert (found.answered_s, found.down_s, found.idle_s) == (len(busy), len(down), 10 - len(busy) - len(down))
    points = timeline(work(worked=worked, asked=asked), [])
    assert sum(point.down_s for point in points) == found.down_s


def test_a_long_window_has_longer_seconds() -> None:
    assert slots_of(0, 3_600_000) == Slots(0, 3_600_000, 1000)
    month = slots_of(0, 30 * 86_400_000)
    assert (month.slot_ms, month.total) == (30_000, SLOTS_MAX)
    assert slots_of(0, 1500).total == 2, "the last one ends later"
    assert slots_of(T0 + 1, T0 + 5000) == Slots(T0, T0 + 5000, 1000), "seconds are those of the clock, whenever one asks"


def test_the_timeline_adds_up_to_all_that_ended() -> None:
    slots = Slots(T0, T0 + 200_000, 1000)
    succeeded, failed = [Stretch(0, 0, 3), Stretch(199, 199, 2)], [Stretch(3, 3, 1)]
    points = timeline(work(slots=slots, succeeded=succeeded, failed=failed, asked=[Stretch(0, 3, 2)]), [])
    assert len(points) == 50
    assert (points[0].succeeded, points[0].failed, points[0].waiting) == (3, 1, 2.0)
    assert (sum(point.succeeded for point in points), points[-1].at_ms) == (5, T0 + 196_000)


def test_percentiles_are_those_of_tasks_that_succeeded() -> None:
    ended = [Ended("a", "succeeded", ms, 1, 0) for ms in range(1, 100)] + [Ended("b", "failed", 9000, 50, 0)]
    ended += [Ended("b", "succeeded", 5000, 1, 0), Ended("", "succeeded", -1, 500, 0)]
    found = response(ended)
    assert (found.p50_s, found.p99_s, found.max_s) == (0.05, 0.099, 5.0)
    assert response([]).p50_s is None


def test_counts_by_state_and_what_is_lost() -> None:
    ended = [
        Ended("a", "succeeded", 5, 98, 0),
        Ended("b", "failed", 5, 2, 0),
        Ended("", "cancelled", -1, 4, 0),
        Ended("a", "", -1, 0, 9),
    ]
    found = task_counts(work(ended=ended, accepted=110, open={"running": 6, "waiting": 0}), checked=6, lost=["t9"])
    assert (found.accepted, found.succeeded, found.failed, found.cancelled, found.success_rate) == (110, 98, 2, 4, 0.98)
    assert (found.open, found.checked, found.lost) == ({"running": 6}, 6, ("t9",))


def test_recoveries_by_cause() -> None:
    made = [Recovery(T0, "host_lost", f"h{ms}", ms, 3) for ms in (6000, 7000, 9000)] + [Recovery(T0, "leader_lost", "c", 2000)]
    lost, led = recovery_times(made)
    assert (lost.cause, lost.count, lost.p50_s, lost.max_s, lost.tasks) == ("host_lost", 3, 7.0, 9.0, 9)
    assert (led.cause, led.p50_s) == ("leader_lost", 2.0)


def test_pools_of_a_family_are_added_up_and_others_stand_alone() -> None:
    pools = [PoolNow("code", "development", 10, 20), PoolNow("test", "development", 5, 5), PoolNow("idle", "idle", 1, 1)]
    ended = [
        Ended("code", "succeeded", 10, 3, 50_000), Ended("test", "failed", 9, 1, 0), Ended("gone", "succeeded", 7, 1, 1000),
        Ended("", "cancelled", -1, 2, 0), Ended("code", "", -1, 0, 75_000),
    ]  # fmt: skip
    told = work(ended=ended, spent={"test": Spent(0.5, 100), "code": Spent(1.0, 10)})
    developers, alone, idle = families(told, pools)
    assert (developers.family, developers.pools, developers.agents) == ("development", ("code", "test"), 15)
    assert (developers.succeeded, developers.success_rate, developers.usd, developers.tokens) == (3, 0.75, 1.5, 110)
    assert (developers.agent_s, developers.utilisation) == (125.0, 0.5), "25 slots over ten seconds"
    assert (alone.family, alone.agents, alone.succeeded, alone.utilisation) == ("gone", 0, 1, None)
    assert (idle.family, idle.succeeded, idle.success_rate) == ("idle", 0, None)


def test_utilisation_counts_from_the_first_task_on() -> None:
    pools, ended = [PoolNow("a", "a", 1, 1)], [Ended("a", "succeeded", 1, 1, 4000)]
    young = work(first_ms=T0 + 5000, ended=ended)
    (family,) = families(young, pools)
    assert family.utilisation == 0.8
    assert utilisation(ended, pools, 0.0) is None
