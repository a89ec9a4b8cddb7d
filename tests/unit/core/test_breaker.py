"""What a use says of a dependency, and when those come back whom an open breaker turned away."""

import asyncio

import pytest

from amas.agents.context import Suspended
from amas.core.breaker import come_back_s, outcome_of, state_of, why_of
from amas.errors import BudgetExhausted, DependencyDown, GiveUp, RateLimited
from amas.model.breaker import BreakerState


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (GiveUp("the customer is unknown"), "ok"),
        (RateLimited(3.0), "ok"),
        (OSError("refused"), "error"),
        (TimeoutError(), "error"),
        (BudgetExhausted("no room"), "unknown"),
        (DependencyDown("another", 1.0), "unknown"),
        (asyncio.CancelledError(), "unknown"),
        (Suspended(), "unknown"),
    ],
)
def test_only_what_the_dependency_did_counts_against_it(error: BaseException | None, outcome: str) -> None:
    assert outcome_of(error) == outcome


def test_a_breaker_is_open_until_its_time_and_half_open_after() -> None:
    assert state_of(0, now_ms=5) is BreakerState.CLOSED
    assert state_of(10, now_ms=9) is BreakerState.OPEN
    assert state_of(10, now_ms=10) is BreakerState.HALF_OPEN


def test_nobody_comes_back_before_the_wait_is_over() -> None:
    assert come_back_s(30.0, draw=lambda: 0.0) == 30.0
    assert come_back_s(30.0, draw=lambda: 1.0) == 33.0


def test_an_error_is_told_in_a_few_words() -> None:
    assert why_of(OSError("x" * 1000)).startswith("OSError: xxx") and len(why_of(OSError("x" * 1000))) == 200
    assert why_of(None) == ""
