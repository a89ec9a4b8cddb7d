"""Decisions about agents that crash: back-off, quarantine, poison and release."""

from hypothesis import given
from hypothesis import strategies as st

from amas.core.healing import BackOff, Isolate, Past, decide, held_back, recent, stuck_limit_s, suspects, why_released
from amas.model.desired import Kill
from amas.model.fleet import PoolSpec
from amas.model.healing import HealingSpec, Quarantine
from amas.model.numbers import pool_named

SPEC = HealingSpec(crashes=3, window_s=100.0, backoff_s=1.0, backoff_max_s=3.0)


def crashes(*at_s: float) -> list[Past]:
    return [Past(at, "process_crashed", f"t{index}") for index, at in enumerate(at_s)]


def most() -> float:
    return 1.0


def test_each_crash_costs_twice_the_last_one_up_to_a_bound_and_a_share_by_chance() -> None:
    patient = HealingSpec(crashes=9, backoff_s=1.0, backoff_max_s=3.0)
    delays = [decide(crashes(*range(n)), patient, now_s=10, draw=most) for n in (1, 2, 3)]
    assert delays == [BackOff(1.0), BackOff(2.0), BackOff(3.0)]
    assert decide(crashes(0), patient, now_s=1, draw=lambda: 0.0) == BackOff(0.5)


def test_the_third_crash_within_the_window_ends_in_quarantine() -> None:
    found = decide(crashes(1, 50, 100), SPEC, now_s=100, draw=most)
    assert isinstance(found, Isolate) and "3 times within 100 s (process_crashed)" in found.why
    assert isinstance(decide(crashes(1, 50, 102), SPEC, now_s=102, draw=most), BackOff)  # the first is too long ago


def test_what_a_poisoned_task_did_is_not_the_agents_fault() -> None:
    assert isinstance(decide(crashes(1, 2, 3), SPEC, now_s=3, poisons={"t1"}, draw=most), BackOff)
    assert decide(crashes(1), SPEC, now_s=1, poisons={"t0"}, draw=most) == BackOff(1.0)


@given(st.lists(st.floats(0, 1000)), st.integers(1, 10), st.sets(st.integers(0, 30)))
def test_an_agent_is_quarantined_exactly_when_enough_crashes_of_its_own_are_recent(
    at_s: list[float], allowed: int, poisoned: set[int]
) -> None:
    past, now_s = crashes(*sorted(at_s)), 1000.0
    poisons = {f"t{index}" for index in poisoned}
    spec = HealingSpec(crashes=allowed, window_s=500.0)
    own = [crash for crash in recent(past, now_s=now_s, window_s=500.0) if crash.task_id not in poisons]
    assert isinstance(decide(past, spec, now_s=now_s, poisons=poisons, draw=most), Isolate) == (len(own) >= allowed)


def test_an_agent_is_sound_until_another_task_crashes_it_and_again_after_it_did_well() -> None:
    past = [Past(1, "stuck", "a")]
    assert suspects([], "a", good_at_s=float("-inf")) == ()
    assert suspects(past, "a", good_at_s=float("-inf")) == ()  # the same task again tells nothing of the agent
    assert suspects(past, "b", good_at_s=float("-inf")) == ("a",)
    assert suspects(past, "b", good_at_s=2) == ()


def test_an_attempt_is_stuck_after_half_its_time_or_five_minutes_unless_its_pool_says_otherwise() -> None:
    assert stuck_limit_s(HealingSpec(), limit_s=600) == 300
    assert stuck_limit_s(HealingSpec(), limit_s=3600) == 1800
    assert stuck_limit_s(HealingSpec(), limit_s=60) == 0  # its time is up first
    assert stuck_limit_s(HealingSpec(stuck_after_s=20), limit_s=600) == 20
    assert stuck_limit_s(HealingSpec(stuck_after_s=0), limit_s=600) == 0
    assert stuck_limit_s(HealingSpec(stuck_after_s=900), limit_s=600) == 0  # its time is up first
    assert stuck_limit_s(HealingSpec(stuck_after_s=900), limit_s=0) == 900


def test_a_quarantine_ends_by_time_by_another_version_or_with_its_pool() -> None:
    held = Quarantine(by="host h1", why="it crashed", at_ms=0, until_ms=1000, version="1")
    assert why_released(held, now_ms=999, version="1") == ""
    assert why_released(held, now_ms=1000, version="1") == "its time is over"
    assert why_released(held, now_ms=1, version="2") == "its pool is version 2 now"
    assert why_released(held, now_ms=1, version=None) == "its pool is gone"
    by_hand = Quarantine(by="ops", why="", at_ms=0)
    assert why_released(by_hand, now_ms=10**15, version="7") == ""


def test_an_agents_pool_is_its_name_without_the_number() -> None:
    assert pool_named("code-reviewer-12") == "code-reviewer"


def test_a_pool_that_gets_nothing_says_why() -> None:
    pools = [PoolSpec(name="coder", agent="a:b", capabilities=("code.write",), replicas=2)]
    killed = Kill(by="ann", why="it loops", at_ms=1)

    def why(kills: dict[str, Kill], *quarantined: str) -> str:
        return held_back("coder", killed=kills, quarantined=quarantined, pools=pools)

    assert why({"coder-1": killed, "writer": killed}, "coder-2") == ""
    assert why({"coder": killed}).startswith("coder is killed, by ann: it loops")
    assert why({"*": killed, "coder": killed}).startswith("the whole fleet is killed")
    assert why({}, "coder-1", "coder-2").startswith("every agent of coder is quarantined")
