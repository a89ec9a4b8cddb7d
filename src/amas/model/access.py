"""Who may do what: roles, and the keys that callers show.

A key is `amas_<prefix>_<secret>`. The prefix finds it and may be shown; of the whole, the engine keeps a digest only. 32 random
bytes can't be guessed, so a plain SHA-256 is enough where a password would need a slow hash.
"""

import hmac
import re
import secrets
from enum import StrEnum
from hashlib import sha256

import msgspec

KEY_MARK = "amas_"
PERSON_MARK = "amas_person_"
"""Begins what commands show for a person who has signed in."""
KEY_CHARS_MAX = 128
_KEY = re.compile(r"amas_(?P<prefix>[0-9a-f]{12})_[\w-]{43}")


class Role(StrEnum):
    """What a caller is; `server/access.py` says what each may."""

    SYSTEM_ADMIN = "system-admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    AGENT = "agent"


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept."""

    prefix: str
    name: str
    """Whose it is: what the audit calls the caller."""
    role: Role
    tenant: str = ""
    """Empty: it isn't bound to one."""
    scopes: tuple[str, ...] = ()
    """`tasks`, `workflows:read`, ...: the parts of the API that it opens; empty for all that its role may."""
    digest: bytes
    created_ms: int
    expires_ms: int
    by: str
    """Who made it."""
    revoked_ms: int = 0

    def live(self, now_ms: int) -> bool:
        """Return whether it still opens anything."""
        return not self.revoked_ms and now_ms < self.expires_ms

    def opened_by(self, text: str) -> bool:
        """Return whether `text` is this key."""
        return hmac.compare_digest(digest_of(text), self.digest)


class WebSession(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that has signed in; ends with the credential that opened it."""

    name: str
    role: Role
    tenant: str
    kind: str
    credential: str
    """A key's prefix, or what stands for another secret: when it is no longer valid, neither is the session."""
    scopes: tuple[str, ...] = ()


def new_key() -> tuple[str, str]:
    """Return a fresh key's prefix and the key."""
    prefix = secrets.token_hex(6)
    return prefix, f"{KEY_MARK}{prefix}_{secrets.token_urlsafe(32)}"


def digest_of(text: str) -> bytes:
    """Return what is kept of a secret."""
    return sha256(text.encode()).digest()


def prefix_of(text: str) -> str:
    """Return the prefix of what looks like a key, "" for anything else."""
    found = _KEY.fullmatch(text) if len(text) <= KEY_CHARS_MAX else None
    return found["prefix"] if found else ""
