"""What arrivals make expect: better than the last figure on a day's curve, and sober about spikes and silence."""

from math import pi, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amas.core.forecast import GROWTH_MAX, RECENT, SEEN_MIN, forecast

DAY = [100 + 90 * sin(2 * pi * minute / 48) for minute in range(96)]
"""Two days in 48 intervals each."""
AHEAD = 3


def test_it_follows_a_day_better_than_the_last_figure_does() -> None:
    errors, naive = 0.0, 0.0
    for now in range(40, len(DAY) - AHEAD):
        expected = forecast(DAY[now - 40 : now + 1], AHEAD)
        assert expected is not None
        errors += abs(expected - DAY[now + AHEAD])
        naive += abs(DAY[now] - DAY[now + AHEAD])
    assert errors < 0.7 * naive


def test_it_sees_a_morning_coming() -> None:
    rise = [10.0 * index for index in range(20)]
    expected = forecast(rise, AHEAD)
    assert expected is not None
    assert 200 < expected < 230


def test_what_never_changes_is_expected_to_stay() -> None:
    assert forecast([40.0] * 20, 5) == pytest.approx(40)


def test_a_spike_is_forgotten() -> None:
    spiked = [10.0] * 15 + [500.0]
    at_once = forecast(spiked, AHEAD)
    assert at_once is not None
    assert at_once < 500
    later = forecast(spiked + [10.0] * 10, AHEAD)
    assert later is not None
    assert later <= 20


def test_silence_is_expected_to_last() -> None:
    assert forecast([50.0] * 10 + [0.0] * 10, AHEAD) == 0
    assert forecast([0.0] * 10, AHEAD) == 0


def test_little_was_seen_and_nothing_is_said() -> None:
    assert forecast([5.0] * (SEEN_MIN - 1), 1) is None


@given(st.lists(st.floats(0, 1e6), min_size=SEEN_MIN, max_size=60), st.integers(1, 50))
def test_it_is_never_negative_and_never_wild(seen: list[float], steps: int) -> None:
    expected = forecast(seen, steps)
    assert expected is not None
    assert 0 <= expected <= GROWTH_MAX * max(seen[-RECENT:])
