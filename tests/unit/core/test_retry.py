"""Back-off: doubled, bounded, jittered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amas.core.retry import pause_s, retry_delay_s
from amas.model.task import RetryPolicy


@pytest.mark.parametrize(("failures", "whole_s"), [(0, 1.0), (1, 2.0), (2, 4.0), (5, 32.0), (6, 60.0), (10_000, 60.0)])
def test_each_wait_is_twice_the_last_up_to_the_policys_bound(failures: int, whole_s: float) -> None:
    assert retry_delay_s(RetryPolicy(jitter=0.5), failures=failures, draw=lambda: 0.0) == whole_s
    assert retry_delay_s(RetryPolicy(jitter=0.0), failures=failures, draw=lambda: 0.9) == whole_s
    assert retry_delay_s(RetryPolicy(jitter=0.5), failures=failures, draw=lambda: 1.0) == whole_s / 2


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_a_wait_stays_within_its_jitter(failures: int, drawn: float, jitter: float) -> None:
    policy = RetryPolicy(backoff_s=0.1, backoff_max_s=5.0, jitter=jitter)
    whole_s = retry_delay_s(policy, failures=failures, draw=lambda: 0.0)
    assert whole_s * (1 - jitter) <= retry_delay_s(policy, failures=failures, draw=lambda: drawn) <= whole_s <= 5.0


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_between_half_of_the_least_and_the_most(tries: int, drawn: float) -> None:
    assert 0.025 <= pause_s(tries, least_s=0.05, most_s=2.0, draw=lambda: drawn) <= 2.0
