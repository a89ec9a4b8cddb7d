"""What the server decides without asking anybody."""

import pytest

from amas.errors import SettingInvalid
from amas.model.journal import position_of
from amas.server.rate import WINDOW_S, Rate
from amas.settings import ServerSettings

TOKEN = "a-secret-of-many-letters"


@pytest.mark.requirement("A15")
def test_a_door_to_other_machines_needs_a_token() -> None:
    with pytest.raises(SettingInvalid) as refused:
        ServerSettings.read({"AMAS_HOST": "0.0.0.0"})
    assert str(refused.value) == (
        "AMAS_HOST is 0.0.0.0, which other machines may reach: set AMAS_TOKEN to a secret, or AMAS_HOST to 127.0.0.1"
    )
    assert not ServerSettings.read({"AMAS_HOST": "0.0.0.0", "AMAS_TOKEN": TOKEN}).loopback
    for host in ("localhost", "127.0.0.1", "127.0.0.2", "::1"):
        assert ServerSettings.read({"AMAS_HOST": host}).loopback


@pytest.mark.parametrize("token", ["short", "with a space in between", "with\nlines-in-between"])
def test_a_weak_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        ServerSettings(token=token)
    assert token not in str(refused.value)


def test_a_rate_needs_two_looks_a_second_apart_and_forgets() -> None:
    rate = Rate()
    assert rate.take(100, at_s=0.0) is None
    assert rate.take(150, at_s=0.5) is None
    assert rate.take(300, at_s=2.0) == 100
    assert rate.take(300, at_s=2.0 + WINDOW_S) == 0
    assert rate.take(5, at_s=3.0 + WINDOW_S) is None  # the engine has begun anew


def test_entries_sort_by_number_and_not_by_letter() -> None:
    assert sorted(["10-0", "9-10", "9-9"], key=position_of) == ["9-9", "9-10", "10-0"]
