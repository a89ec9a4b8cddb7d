"""Which key signs agents' tokens, which still count, and when a next one is due. Pure; times in ms since 1970.

A key signs for 90 days. Its successor is published before it signs, so that services that keep a copy of the key set know it in
time; what the old one signed counts until it has expired. A key that was ended at once neither signs nor counts.
"""

from collections.abc import Iterable

from amas.model.token import SigningKey

TOKEN_LIFE_S = 24 * 3600
KEY_LIFE_MS = 90 * 86_400_000
"""Secrets are rotated every 90 days."""
KEY_SET_AGE_S = 300
"""For how long services may keep a copy of the key set."""
AHEAD_MS = 2 * KEY_SET_AGE_S * 1000
"""How long before it signs a key is published."""


def verifies(key: SigningKey, now_ms: int) -> bool:
    """Return whether what a key has signed may still count."""
    return not key.ended_ms and now_ms < key.signs_until_ms + TOKEN_LIFE_S * 1000


def signer(keys: Iterable[SigningKey], now_ms: int) -> SigningKey | None:
    """Return the key that signs now; None where a new one must be made first."""
    able = [key for key in keys if not key.ended_ms and key.signs_from_ms <= now_ms < key.signs_until_ms]
    return max(able, key=lambda key: key.signs_from_ms, default=None)


def next_begins_ms(keys: Iterable[SigningKey], now_ms: int) -> int | None:
    """Return from when on a next key is to sign, which is to be made now; None while none is due."""
    last_ms = max((key.signs_until_ms for key in keys if not key.ended_ms), default=0)
    return None if last_ms - now_ms > AHEAD_MS else max(last_ms, now_ms)
