"""Keys and signatures: bound to the sender, the recipient and the time."""

import pytest

from amas.errors import SettingInvalid
from amas.model.message import Message, MessageType
from amas.policy.signatures import Keyring
from amas.settings import MessageSettings

KEYS = Keyring(b"0123456789abcdef")
MESSAGE = Message(id="m1", sender="a-1", recipient="b-1", type=MessageType.STATUS, sent_ms=1000, expires_ms=9000)


def reason(signed: bytes, *, recipient: str = "b-1", now_ms: int = 1500, window_ms: int | None = 1000) -> str:
    return KEYS.verify(signed, recipient=recipient, now_ms=now_ms, window_ms=window_ms).reason


def test_what_was_signed_is_what_is_read() -> None:
    assert KEYS.verify(KEYS.signer("a-1").sign(MESSAGE), recipient="b-1", now_ms=1500) == (MESSAGE, "")


def test_every_changed_byte_is_found_out() -> None:
    signed = KEYS.signer("a-1").sign(MESSAGE)
    found = {reason(signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]) for at in range(len(signed))}
    assert found <= {"forged", "damaged"}


def test_the_recipient_and_the_time_count() -> None:
    signed = KEYS.signer("a-1").sign(MESSAGE)
    assert reason(signed, recipient="c-1") == "misdirected"
    assert reason(signed, now_ms=2001) == "stale"
    assert reason(signed, now_ms=-1) == "stale"
    assert reason(signed, now_ms=9000, window_ms=None) == "expired"
    assert reason(b"") == "damaged"


def test_agents_and_fleets_have_keys_of_their_own() -> None:
    def signature(keys: Keyring, sender: str) -> bytes:
        message = Message(id="m", sender=sender, recipient="b-1", type=MessageType.STATUS, sent_ms=1, expires_ms=2)
        return keys.signer(sender).sign(message)[:32]

    other = Keyring(b"fedcba9876543210")
    assert len({signature(KEYS, "a-1"), signature(KEYS, "a-2"), signature(other, "a-1")}) == 3


def test_a_fleet_without_a_secret_is_told_so() -> None:
    with pytest.raises(SettingInvalid, match="AMAS_MESSAGE_SECRET isn't set"):
        Keyring.of(MessageSettings())
    with pytest.raises(SettingInvalid, match="at least 16 visible"):
        MessageSettings(secret="short")
    with pytest.raises(SettingInvalid, match="ORCHESTRATION_MESSAGE_BACKLOG_WARNING is 6000"):
        MessageSettings(backlog_warning=6000)
