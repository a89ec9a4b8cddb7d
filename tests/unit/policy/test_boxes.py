"""What is sealed for one box, no other opens."""

import pytest

from amas.policy.boxes import Box, BoxDamaged, seal_for


def test_the_box_it_was_sealed_for_opens_it_and_no_other() -> None:
    mine, other = Box(), Box()
    sealed = seal_for(mine.public, b"a token")
    assert b"a token" not in sealed
    assert mine.open(sealed) == b"a token"
    with pytest.raises(BoxDamaged):
        other.open(sealed)


@pytest.mark.parametrize("at", [0, 31, 32, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    box = Box()
    sealed = bytearray(seal_for(box.public, b"a token"))
    sealed[at] ^= 1
    with pytest.raises(BoxDamaged):
        box.open(bytes(sealed))


@pytest.mark.parametrize("sealed", [b"", b"x", bytes(32), bytes(64)])
def test_what_was_never_sealed_isn_t_opened(sealed: bytes) -> None:
    with pytest.raises(BoxDamaged):
        Box().open(sealed)


@pytest.mark.parametrize("odd", [b"", b"short", bytes(33), bytes(32)])
def test_what_is_no_public_key_is_refused(odd: bytes) -> None:
    with pytest.raises(ValueError):
        seal_for(odd, b"a token")
