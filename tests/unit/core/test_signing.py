"""Which key signs, which counts, and when the next one is due."""

from typing import Any

import pytest

from amas.core.signing import AHEAD_MS, KEY_LIFE_MS, TOKEN_LIFE_S, next_begins_ms, signer, verifies
from amas.model.token import SigningKey, names_of

NOW = 1_800_000_000_000


def key(kid: str, from_ms: int = NOW, **more: Any) -> SigningKey:
    return SigningKey(**{"kid": kid, "x": "", "signs_from_ms": from_ms, "signs_until_ms": from_ms + KEY_LIFE_MS, **more})


def test_the_first_key_signs_at_once() -> None:
    assert next_begins_ms([], NOW) == NOW
    assert signer([], NOW) is None
    assert signer([key("a")], NOW) == key("a")


def test_a_successor_is_published_before_it_signs() -> None:
    first = key("a")
    ends = first.signs_until_ms
    assert next_begins_ms([first], ends - AHEAD_MS - 1) is None
    begins = next_begins_ms([first], ends - AHEAD_MS)
    assert begins == ends
    both = [first, key("b", begins)]
    assert next_begins_ms(both, ends - AHEAD_MS) is None, "one successor is enough"
    assert [signer(both, at).kid for at in (ends - 1, ends)] == ["a", "b"]  # type: ignore[union-attr]


def test_what_a_key_has_signed_outlives_it_by_a_token_s_life() -> None:
    first = key("a")
    last = first.signs_until_ms + TOKEN_LIFE_S * 1000
    assert verifies(first, last - 1)
    assert not verifies(first, last)


def test_a_key_that_was_ended_neither_signs_nor_counts() -> None:
    ended = key("a", ended_ms=NOW)
    assert signer([ended], NOW) is None
    assert not verifies(ended, NOW)
    assert next_begins_ms([ended], NOW) == NOW


@pytest.mark.parametrize(
    ("agent_id", "names"),
    [
        ("coder-3", ("*", "coder-3", "coder")),
        ("coder~2-1", ("*", "coder~2-1", "coder~2", "coder")),
        ("code-review-17", ("*", "code-review-17", "code-review")),
        ("remote.ocr-1", ("*", "remote.ocr-1", "remote.ocr")),
    ],
)
def test_an_agent_s_tokens_are_revoked_by_these_names(agent_id: str, names: tuple[str, ...]) -> None:
    assert names_of(agent_id) == names
