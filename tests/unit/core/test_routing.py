"""Routing decisions: what outcomes teach, how shares follow, and what is forgotten."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amas.core.routing import (
    INHERITED_TRIALS,
    Belief,
    Candidate,
    alike,
    decayed,
    decide,
    draw,
    inherited,
    of_versions,
    points,
    refreshed,
)
from amas.model.routing import Route, RoutingSpec, RoutingWeights

SPEC = RoutingSpec()


def belief(successes: float, failures: float = 0.0, *, seconds: float = 1.0, usd: float = 0.0) -> Belief:
    """Return what so many outcomes tell, each success of which took `seconds`, each attempt `usd`."""
    log = math.log(seconds)
    return Belief(
        successes, failures, successes, successes * log, successes * log * log, successes * seconds, (successes + failures) * usd
    )


def candidate(pool: str, known: Belief, *, slots: int = 4, waiting: int = 0) -> Candidate:
    return Candidate(pool=pool, belief=known, slots=slots, waiting=waiting, versions=("1",))


def shares(*pools: Candidate, spec: RoutingSpec = SPEC, waiting: int = 0) -> dict[str, float]:
    return {one.pool: one.share for one in route(*pools, spec=spec, waiting=waiting).choices}


def route(*pools: Candidate, spec: RoutingSpec = SPEC, waiting: int = 0) -> Route:
    return decide("work", pools, spec, random.Random(7), waiting=waiting)


counts = st.floats(0, 1e5)
beliefs = st.builds(belief, counts, counts, seconds=st.floats(1e-3, 1e5), usd=st.floats(0, 100))
pools = st.lists(
    st.builds(lambda known, slots, waiting: (known, slots, waiting), beliefs, st.integers(0, 50), st.integers(0, 10_000)),
    min_size=1,
    max_size=5,
)


@given(pools, st.floats(0, 0.5), st.integers(0, 10_000))
def test_shares_add_up_and_everyone_alive_has_the_floor(
    known: list[tuple[Belief, int, int]], explore: float, waiting: int
) -> None:
    candidates = [candidate(f"p{n}", one, slots=slots, waiting=queued) for n, (one, slots, queued) in enumerate(known)]
    found = route(*candidates, spec=RoutingSpec(explore=explore), waiting=waiting)
    live = [one for one in found.choices if not one.excluded]
    assert {one.pool for one in live} == {one.pool for one in candidates if one.slots}
    assert all(one.share == 0 and one.excluded == "no live agents" for one in found.choices if one not in live)
    if live:
        assert math.fsum(one.share for one in live) == pytest.approx(1.0)
        assert all(one.share >= explore / len(live) - 1e-12 for one in live)
        assert all(one.allowance >= 2 * one.slots for one in live)
        assert any(one.pulls for one in live)  # else the common queue would have nobody
    assert all(math.isfinite(one.points) for one in found.choices)


def test_the_better_pool_gets_more_the_more_is_known() -> None:
    found = [shares(candidate("good", belief(9 * n, n)), candidate("bad", belief(5 * n, 5 * n)))["good"] for n in (0.2, 1, 4, 16)]
    assert found == sorted(found)
    assert found[0] < 0.8
    assert found[-1] == pytest.approx(1 - SPEC.explore / 2)


def test_who_is_hardly_known_gets_its_chance() -> None:
    found = shares(candidate("known", belief(900, 100)), candidate("new", Belief()))
    assert found["new"] > 2 * SPEC.explore


@pytest.mark.parametrize(
    ("weights", "better"),
    [
        (RoutingWeights(failure=10, time=0, usd=0), "sure"),
        (RoutingWeights(failure=0, time=1, usd=0), "quick"),
        (RoutingWeights(failure=0, time=0, usd=100), "cheap"),
        (RoutingWeights(failure=0, time=0, usd=0, agent_time=1), "quick"),
    ],
)
def test_weights_say_what_counts(weights: RoutingWeights, better: str) -> None:
    found = shares(
        candidate("sure", belief(995, 5, seconds=20, usd=0.5)),
        candidate("quick", belief(900, 100, seconds=1, usd=0.5)),
        candidate("cheap", belief(900, 100, seconds=20, usd=0.01)),
        spec=RoutingSpec(weights=weights),
    )
    assert max(found, key=lambda pool: found[pool]) == better


def test_a_queue_ahead_makes_a_pool_worse() -> None:
    good, fair = belief(990, 10), belief(900, 100)
    assert shares(candidate("good", good), candidate("fair", fair))["good"] > 0.9
    assert shares(candidate("good", good, waiting=400), candidate("fair", fair))["good"] < 0.1


def test_a_pool_that_fails_fast_does_not_pull_until_the_backlog_is_worse_than_it() -> None:
    good, hasty = candidate("good", belief(990, 10)), candidate("hasty", belief(500, 500, seconds=0.01))
    pulls = {
        backlog: {one.pool for one in route(good, hasty, waiting=backlog).choices if one.pulls} for backlog in (0, 10, 10_000)
    }
    assert pulls == {0: {"good"}, 10: {"good"}, 10_000: {"good", "hasty"}}


def test_equal_pools_pull_beside_each_other() -> None:
    found = route(candidate("one", belief(95, 5)), candidate("two", belief(96, 4)))
    assert all(one.pulls for one in found.choices)


def test_an_allowance_is_what_its_agents_do_in_two_sweeps() -> None:
    quick, slow = route(candidate("quick", belief(1000, seconds=0.1)), candidate("slow", belief(1000, seconds=60))).choices
    assert (quick.pool, slow.pool) == ("quick", "slow")
    assert 70 <= quick.allowance <= 90
    assert slow.allowance == 8


@given(beliefs, st.floats(0, 1e6), st.floats(1, 1e5))
def test_what_is_known_fades_but_its_figures_stay(known: Belief, elapsed_s: float, half_life_s: float) -> None:
    later = decayed(known, elapsed_s, half_life_s)
    assert later.trials == pytest.approx(known.trials * 0.5 ** (elapsed_s / half_life_s))
    if later.trials > 1e-6:
        assert later.usd_each == pytest.approx(known.usd_each)
    prior = Belief().success
    assert abs(later.success - prior) <= abs(known.success - prior) + 1e-9


def test_a_pool_that_was_bad_gets_tasks_again_when_that_is_long_ago() -> None:
    good, bad = candidate("good", belief(900, 100)), belief(50, 50)
    found = [shares(good, candidate("bad", decayed(bad, hours * 3600.0, 1800.0)))["bad"] for hours in (0, 2, 5)]
    assert found[0] == pytest.approx(SPEC.explore / 2)
    assert found[0] < found[1] < found[2]


@given(beliefs)
def test_a_new_version_begins_like_the_old_one_less_surely(known: Belief) -> None:
    new = inherited(known)
    assert new.trials <= min(known.trials, INHERITED_TRIALS) + 1e-9
    if known.trials >= INHERITED_TRIALS:
        assert new.successes / new.trials == pytest.approx(known.successes / known.trials)
        assert new.usd_each == pytest.approx(known.usd_each)


def test_a_version_inherits_from_the_one_known_best_and_only_once() -> None:
    held = {"1": belief(5, 5), "2": belief(90, 10)}
    live = of_versions(held, ["2", "3"])
    assert live["2"] == held["2"]
    assert live["3"] == inherited(held["2"])
    assert of_versions(held | live, ["3"]) == {"3": live["3"]}
    assert of_versions({}, ["1"]) == {"1": Belief()}


@given(beliefs, beliefs)
def test_what_is_new_is_the_difference(before: Belief, new: Belief) -> None:
    after = before.plus(new)
    found = after.minus(before)
    assert found.successes == pytest.approx(new.successes, rel=1e-6, abs=1e-6)
    assert found.failures == pytest.approx(new.failures, rel=1e-6, abs=1e-6)


def test_sums_that_began_anew_are_all_new() -> None:
    assert belief(3).minus(belief(100)) == belief(3)


@given(st.floats(0.05, 1), st.floats(0, 1e4), st.floats(0, 1e4))
def test_points_grow_with_everything_that_is_bad(success: float, seconds: float, wait_s: float) -> None:
    def at(**changes: float) -> float:
        figures = {"success": success, "seconds": seconds, "wait_s": wait_s, "usd": 0.1}
        return points(SPEC.weights, **{**figures, **changes})

    assert at() >= 0
    assert at(success=success / 2) > at()
    assert at(seconds=seconds + 1) > at()
    assert at(wait_s=wait_s + 1) > at()
    assert at(usd=0.2) > at()


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=50))
def test_a_draw_depends_on_the_task_alone(ids: list[str]) -> None:
    found = route(candidate("a", belief(90, 10)), candidate("b", belief(90, 10)), candidate("dead", Belief(), slots=0))
    for task_id in ids:
        first, again = draw(found, task_id), draw(found, task_id)
        assert first == again
        assert first is not None
        assert first.pool != "dead"


def test_draws_follow_the_shares() -> None:
    found = route(candidate("a", belief(90, 10)), candidate("b", belief(88, 12)))
    drawn = [one.pool for n in range(4000) if (one := draw(found, f"task-{n}"))]
    share = next(one.share for one in found.choices if one.pool == "a")
    assert drawn.count("a") / 4000 == pytest.approx(share, abs=0.04)


def test_a_route_that_is_alike_keeps_its_shares_with_new_figures() -> None:
    before = route(candidate("a", belief(900, 100)), candidate("b", belief(50, 50)))
    after = route(candidate("a", belief(910, 100)), candidate("b", belief(51, 50)))
    assert alike(before, after)
    kept = refreshed(before, after)
    assert [one.share for one in kept.choices] == [one.share for one in before.choices]
    assert kept.choices[0].trials == 1010
    assert not alike(before, route(candidate("a", belief(900, 100)), candidate("b", belief(50, 50), slots=0)))
    assert not alike(before, route(candidate("a", belief(50, 50)), candidate("b", belief(900, 100))))
