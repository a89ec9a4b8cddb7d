"""What is proven of a new version: soon when it is bad, seldom by chance however often one looks, and what follows from it."""

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amas.core.rollout import MEANS_MIN, Move, Scores, Side, Standing, compared, decide, log_against, rates
from amas.core.routing import Belief
from amas.model.fleet import PoolSpec
from amas.model.rollout import Phase, Rollout
from amas.model.rollout_spec import RolloutSpec

BASE = PoolSpec(name="coder", agent="a:b", capabilities=("development.code",), replicas=10)
SPEC = RolloutSpec(steps=(0.1, 0.5), min_tasks=50, min_time_s=10.0)
TRIES, LOOKS_EVERY, TASKS = 200, 10, 400


def rollout(**changes: object) -> Rollout:
    said = {"pool": "coder", "to": msgspec.structs.replace(BASE, version="2"), "was": "1", "spec": SPEC, "phase": Phase.CANARY}
    return Rollout(**{**said, **changes})  # type: ignore[arg-type]


def side(
    won: int, lost: int = 0, *, seconds: float = 1.0, usd: float = 0.0, score: float | None = None, scores: int = 100
) -> Side:
    """Return outcomes that scatter a little, by the same pattern for all."""
    logs = [math.log(seconds) + (0.3 if n % 2 else -0.3) for n in range(won)]
    costs = [usd * (1.2 if n % 2 else 0.8) for n in range(won + lost)]
    outcomes = Belief(
        float(won),
        float(lost),
        float(won),
        sum(logs),
        sum(x * x for x in logs),
        won * seconds,
        sum(costs),
        sum(x * x for x in costs),
    )
    values = [score + (0.05 if n % 2 else -0.05) for n in range(scores)] if score is not None else []
    return Side(outcomes=outcomes, scores=Scores(float(len(values)), sum(values), sum(x * x for x in values)))


def standings(stable: Side, canary: Side, spec: RolloutSpec = SPEC) -> dict[str, Standing]:
    return {figure.name: figure.standing for figure in compared(spec, stable, canary)}


def watched(rng: random.Random, stable: float, canary: float, spec: RolloutSpec) -> Standing:
    """Return the first thing that is proven of two rates, looked at again and again."""
    won, lost = [0.0, 0.0], [0.0, 0.0]
    for n in range(TASKS):
        new = n % 2
        ended = won if rng.random() < (canary if new else stable) else lost
        ended[new] += 1
        if n % LOOKS_EVERY == 0:
            ours, theirs = Belief(won[0], lost[0]), Belief(won[1], lost[1])
            found = rates(ours, theirs, drop=spec.success_drop, alpha=spec.alpha, beta=spec.beta)
            if found is not Standing.OPEN:
                return found
    return Standing.OPEN


def test_looking_all_the_time_raises_no_more_false_alarms_than_promised() -> None:
    """At the very bound, the hardest case, both errors stay below what was asked for, though every tenth task is looked at."""
    rng, spec = random.Random(11), RolloutSpec(success_drop=0.1, alpha=0.05, beta=0.05)
    found = [watched(rng, 0.9, 0.8, spec) for _ in range(TRIES)]
    assert found.count(Standing.WORSE) / TRIES <= spec.alpha
    assert found.count(Standing.FINE) / TRIES <= spec.beta


def test_a_version_that_fails_three_of_ten_is_found_out() -> None:
    rng, spec = random.Random(12), RolloutSpec(success_drop=0.05)
    assert [watched(rng, 0.98, 0.7, spec) for _ in range(40)] == [Standing.WORSE] * 40


def test_a_version_that_is_as_good_is_let_through() -> None:
    rng, spec = random.Random(13), RolloutSpec(success_drop=0.1)
    found = [watched(rng, 0.98, 0.98, spec) for _ in range(40)]
    assert Standing.WORSE not in found
    assert found.count(Standing.FINE) >= 30  # the others need more tasks


def test_means_that_are_looked_at_all_the_time_raise_no_more_false_alarms_than_promised() -> None:
    rng, spec, alarms = random.Random(14), RolloutSpec(latency_ratio=1.5, alpha=0.2), 0
    for _ in range(TRIES):
        sums = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
        for n in range(TASKS):
            log_s = rng.gauss(math.log(1.5) if n % 2 else 0.0, 0.8)
            held = sums[n % 2]
            held[0], held[1], held[2] = held[0] + 1, held[1] + log_s, held[2] + log_s * log_s
            if n % LOOKS_EVERY == 0 and n > 2 * MEANS_MIN:
                ours, theirs = (Side(outcomes=Belief(1.0, 0.0, *each)) for each in sums)
                if standings(ours, theirs, spec)["time"] is Standing.WORSE:
                    alarms += 1
                    break
    assert alarms / TRIES <= spec.alpha / 4


@pytest.mark.parametrize(("worse", "name"), [
    (side(100, seconds=3.0), "time"),
    (side(100, usd=0.02), "cost"),
    (side(100, score=0.6), "quality"),
    (side(70, 30), "success"),
])  # fmt: skip
def test_each_figure_can_take_a_version_back(worse: Side, name: str) -> None:
    stable = side(400, usd=0.01, score=0.9)
    assert standings(stable, worse)[name] is Standing.WORSE
    decision = decide(rollout(), stable, worse, now_ms=0)
    assert decision.move is Move.ROLL_BACK
    assert decision.reason.startswith("version 2 is worse after 100 tasks: ")
    assert name in decision.reason


def test_what_is_better_is_never_proven_worse() -> None:
    better = side(300, seconds=0.2, usd=0.001, score=0.99)
    assert set(standings(side(300, 30, seconds=1.0, usd=0.01, score=0.8), better).values()) == {Standing.FINE}


def test_a_step_waits_for_its_tasks_and_its_time() -> None:
    stable = side(500)
    assert decide(rollout(), stable, side(49), now_ms=60_000).move is Move.CONTINUE
    assert decide(rollout(), stable, side(50), now_ms=9_000).move is Move.CONTINUE
    decision = decide(rollout(), stable, side(50), now_ms=10_000)
    assert decision.move is Move.STEP_UP
    assert decision.reason.startswith("version 2 gets 50%: nothing is worse after 50 tasks: success 100.0% against 100.0%")
    later = rollout(step=1, step_trials=50.0, phase_ms=10_000)
    assert decide(later, stable, side(90), now_ms=60_000).reason == "at 50%: 40 of 50 tasks and 50 of 10 s of this step"


def test_what_looks_worse_gets_no_more_before_it_is_sure() -> None:
    decision = decide(rollout(), side(60), side(45, 5), now_ms=60_000)
    assert decision.move is Move.CONTINUE
    assert decision.reason == "at 10%: no more before it is sure of success 90.0% against 100.0% (at most 0.05 lower)"


def test_only_what_is_proven_is_promoted() -> None:
    last = rollout(step=1)
    unsure = decide(last, side(60), side(60), now_ms=60_000)
    assert unsure.move is Move.CONTINUE
    assert "not yet sure of success 100.0% against 100.0% (at most 0.05 lower)" in unsure.reason
    sure = decide(last, side(900), side(400), now_ms=60_000)
    assert sure.move is Move.PROMOTE
    assert sure.reason.startswith("version 2 is as good after 400 tasks: success 100.0% against 100.0%, time 1 s against 1 s")


def test_what_stays_undecided_goes_back() -> None:
    decision = decide(rollout(step=1), side(60), side(60), now_ms=86_400_001)
    assert decision.move is Move.ROLL_BACK
    assert "nothing was decided of version 2 within 86400 s, with 60 tasks: success 100.0% against 100.0%" in decision.reason


def test_a_version_that_never_comes_up_goes_back() -> None:
    decision = decide(rollout(), side(60), side(0), now_ms=0, silent_s=301.0)
    assert decision.move is Move.ROLL_BACK
    assert decision.reason == "no agent of version 2 has been alive for 301 s, of 300 s allowed"


def test_staging_waits_for_a_person_whatever_the_figures() -> None:
    decision = decide(rollout(phase=Phase.STAGING), side(900), side(900), now_ms=90_000_000)
    assert decision.move is Move.CONTINUE
    assert "waits for approval" in decision.reason


def test_few_scores_neither_stop_nor_hold_a_version() -> None:
    decision = decide(rollout(step=1), side(900, score=0.9), side(400, score=0.1, scores=3), now_ms=60_000)
    assert decision.move is Move.PROMOTE


counts = st.integers(0, 400)


@given(won=counts, lost=counts, new_won=counts, new_lost=counts)
def test_more_failures_of_the_new_version_never_speak_for_it(won: int, lost: int, new_won: int, new_lost: int) -> None:
    order = {Standing.FINE: 0, Standing.OPEN: 1, Standing.WORSE: 2}
    stable = Belief(float(won), float(lost))
    before, after = (
        rates(stable, Belief(float(new_won), float(failures)), drop=0.05, alpha=0.05, beta=0.05)
        for failures in (new_lost, new_lost + 50)
    )
    assert not (before is Standing.WORSE and after is Standing.FINE)
    if before is Standing.WORSE and new_won + new_lost > 0:
        assert order[after] >= order[Standing.OPEN]


@given(won=counts, lost=counts, new_won=counts, new_lost=counts, drop=st.floats(0.001, 0.9))
def test_the_pair_of_rates_that_is_found_explains_the_outcomes_best(
    won: int, lost: int, new_won: int, new_lost: int, drop: float
) -> None:
    """Whatever pair of rates is that far apart, the evidence against it is no less than what is claimed against all of them."""
    stable, canary = Belief(float(won), float(lost)), Belief(float(new_won), float(new_lost))
    claimed = log_against(stable, canary, drop=drop)

    def told(outcomes: Belief, rate: float) -> float:
        mixed = math.lgamma(outcomes.successes + 0.5) + math.lgamma(outcomes.failures + 0.5) - math.lgamma(outcomes.trials + 1)
        return mixed - math.log(math.pi) - outcomes.successes * math.log(rate) - outcomes.failures * math.log1p(-rate)

    for part in (0.01, 0.2, 0.5, 0.8, 0.99):
        rate = drop + part * (1 - drop)
        assert told(stable, rate) + told(canary, rate - drop) >= claimed - 1e-6 * (1 + abs(claimed))


@pytest.mark.parametrize(("changes", "field"), [
    ({"steps": ()}, "steps"),
    ({"steps": (0.5, 0.1)}, "steps"),
    ({"steps": (0.5, 1.5)}, "steps"),
    ({"success_drop": 0.0}, "success_drop"),
    ({"latency_ratio": 1.0}, "latency_ratio"),
    ({"alpha": 0.6}, "alpha"),
    ({"min_tasks": 0}, "min_tasks"),
])  # fmt: skip
def test_a_spec_that_cannot_be_says_which_field(changes: dict[str, object], field: str) -> None:
    wrong = msgspec.structs.replace(SPEC, **changes).problem()
    assert wrong is not None
    assert wrong[0] == field


def test_a_variant_stands_in_its_bases_place_with_as_many_agents_as_its_share_asks_for() -> None:
    variant = rollout().variant_pool(BASE)
    assert (variant.name, variant.variant_of, variant.replicas, variant.version) == ("coder~2", "coder", 1, "2")
    assert variant.member == BASE.member
    assert variant.queues == ("@coder~2", "development.code@coder~2", "@coder@coder~2")
    assert rollout(step=1).variant_pool(BASE).replicas == 5
    assert rollout(phase=Phase.REPLACING).variant_pool(BASE).replicas == 10
