"""Memory limits: when they go up, when back, and that nothing makes them flap."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amas.core.scaling_limits import LimitSeen, LimitTurn, decide_limit
from amas.model.scaling import VerticalSpec

NOW = 1_800_000_000_000
RULE = VerticalSpec(memory=0.8, step_mb=8192, max_mb=32_768, cooldown_s=1800, back_s=7200)


def turn(limit: int, used: int, *, changed_s: float = 0, roomy_s: float = 0) -> LimitTurn:
    """Return what is decided; `changed_s` and `roomy_s` are seconds ago, 0 for never."""
    times = (round(NOW - ago * 1000) if ago else 0 for ago in (changed_s, roomy_s))
    changed_ms, roomy_ms = times
    return decide_limit(RULE, LimitSeen(NOW, 8192, limit, used, changed_ms, roomy_ms))


@pytest.mark.parametrize(
    ("limit", "used", "times", "becomes", "why"),
    [
        (8192, 6553, {}, 8192, "stays at 8192 MiB: attempts take up to 6553 MiB of 8192, 80% are meant"),
        (8192, 6554, {}, 16_384, "goes from 8192 to 16384 MiB: attempts take up to 6554 MiB of 8192, 80% are meant"),
        (16_384, 16_000, {"changed_s": 600}, 16_384, "it was changed 600 s ago, and rests for 1800 s"),
        (16_384, 16_000, {"changed_s": 1800}, 24_576, "goes from 16384 to 24576 MiB"),
        (30_000, 29_000, {}, 32_768, "goes from 30000 to 32768 MiB"),
        (32_768, 32_000, {}, 32_768, "no more than 32768 are allowed"),
        (16_384, 0, {"changed_s": 9000, "roomy_s": 7199}, 16_384, "stays at 16384 MiB: nothing runs"),
        (16_384, 6000, {"changed_s": 9000, "roomy_s": 7200}, 8192, "that would have done for 7200 s"),
        (16_384, 7000, {"changed_s": 9000, "roomy_s": 8000}, 16_384, "stays"),  # 7000 MiB are too many for 8192
        (24_576, 100, {"changed_s": 9000, "roomy_s": 8000}, 16_384, "goes back from 24576 to 16384 MiB"),
        (12_000, 100, {"changed_s": 9000, "roomy_s": 8000}, 8192, "goes back from 12000 to 8192 MiB"),  # not below
        (8192, 0, {"roomy_s": 90_000}, 8192, "stays"),
    ],
)
def test_a_limit_follows_what_is_taken(limit: int, used: int, times: dict[str, float], becomes: int, why: str) -> None:
    found = turn(limit, used, **times)
    assert found.memory_mb == becomes
    assert why in found.reason


@given(st.lists(st.integers(0, 40_000), min_size=2, max_size=80), st.integers(0, 90), st.integers(10, 90))
@settings(deadline=None, max_examples=50)
def test_it_never_turns_round_within_its_times(used: list[int], cooldown_s: int, back_s: int) -> None:
    rule = VerticalSpec(step_mb=8192, max_mb=32_768, cooldown_s=cooldown_s, back_s=back_s)
    limit, changed, roomy, grew = 8192, 0, 0, True
    for index, takes in enumerate(used):
        at_ms = NOW + index * 10_000
        found = decide_limit(rule, LimitSeen(at_ms, 8192, limit, takes, changed, roomy))
        roomy = found.roomy_ms
        assert 8192 <= found.memory_mb <= 32_768
        if found.memory_mb != limit:
            up = found.memory_mb > limit
            assert not changed or at_ms - changed >= cooldown_s * 1000
            assert up or at_ms - changed >= back_s * 1000
            assert not up or takes > 0.8 * limit
            limit, changed, grew = found.memory_mb, at_ms, up
    assert grew or limit < 32_768
