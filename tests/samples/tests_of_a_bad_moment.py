"""Tests that fail beside others, for tests/integration/test_second_look.py: pytest finds them only where they are named."""

import os

import pytest

BESIDE_OTHERS = "PYTEST_XDIST_WORKER" in os.environ


@pytest.mark.xdist_group("a group")
@pytest.mark.parametrize("who", ["me@here::and [there]"])
def test_once(who: str) -> None:
    assert not BESIDE_OTHERS, f"a bad moment of {who}"


def test_always() -> None:
    assert BESIDE_OTHERS, "it fails alone"
    raise AssertionError("and it fails beside others")


def test_skipped() -> None:
    if not BESIDE_OTHERS:
        pytest.skip("what it needs is no more there")
    raise AssertionError("a bad moment before that")
