"""How long tasks took is kept by buckets, each of which stands for all that fall into it."""

from hypothesis import given
from hypothesis import strategies as st

from amas.records.outcomes import bucket_of, middle_ms

TIMES = st.integers(0, 10**12)


@given(TIMES)
def test_a_bucket_is_told_as_near_as_is_said(took_ms: int) -> None:
    shown_ms = middle_ms(bucket_of(took_ms))
    assert abs(shown_ms - took_ms) <= took_ms / 64
    assert took_ms >= 64 or shown_ms == took_ms
    assert bucket_of(shown_ms) == bucket_of(took_ms)


@given(TIMES, TIMES)
def test_buckets_are_in_the_order_of_what_they_hold(one_ms: int, other_ms: int) -> None:
    assert (one_ms <= other_ms) <= (bucket_of(one_ms) <= bucket_of(other_ms))
