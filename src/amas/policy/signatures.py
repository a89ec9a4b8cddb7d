"""Signed messages: HMAC-SHA256 with a key for each agent, all derived from one secret of the fleet.

A key is HMAC-SHA256(secret, label and agent id): HKDF's expansion of a secret that is random already (RFC 5869, section 3.3). Who
has an agent's key can sign as that agent and as nobody else; who has the secret can check, and sign, as all of them. What is
signed are the bytes that travel, with id, sender, recipient and both times in them, so none of it can be changed on the way.

Whether an id was seen before is the engine's to know (`engine/functions/80_messages.lua`); here is only how old a message may be.
Called by `messages/bus.py`. It never reads a clock.
"""

import hmac
from functools import lru_cache
from typing import NamedTuple, Self

import msgspec

from amas.errors import SettingInvalid
from amas.model.message import Message
from amas.settings import MessageSettings

SIGNATURE_BYTES = 32
SECRET_BYTES_MIN = 16
KEYS_KNOWN_MAX = 50_000
"""Agents whose keys are kept: more than the largest fleet has, and names that somebody made up don't fill the memory."""
_LABEL = b"amas message key 1\0"
_encode = msgspec.msgpack.Encoder().encode
_message = msgspec.msgpack.Decoder(Message)


class Checked(NamedTuple):
    """What `Keyring.verify` found out."""

    message: Message | None
    """As far as it can be read; believe it only where `reason` is empty."""
    reason: str
    """Empty, or `damaged`, `forged`, `misdirected`, `stale` or `expired`."""


class Signer:
    """Signs as one agent."""

    def __init__(self, agent_id: str, key: bytes) -> None:
        self._agent_id, self._key = agent_id, key

    def sign(self, message: Message) -> bytes:
        """Return the signed bytes; ValueError for a message of another sender."""
        if message.sender != self._agent_id:
            raise ValueError(f"{self._agent_id!r} can't sign as {message.sender!r}")
        body = _encode(message)
        return hmac.digest(self._key, body, "sha256") + body


class Keyring:
    """The keys of every agent."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise SettingInvalid(f"AMAS_MESSAGE_SECRET must have at least {SECRET_BYTES_MIN} bytes")
        self._secret = secret
        self._key = lru_cache(maxsize=KEYS_KNOWN_MAX)(self._derived)
        self.signer = lru_cache(maxsize=KEYS_KNOWN_MAX)(self._signer)
        """agent id -> its `Signer`, the only thing that an agent's own process needs."""

    @classmethod
    def of(cls, settings: MessageSettings) -> Self:
        """Return the keys of the fleet; SettingInvalid when no secret is set."""
        if not settings.secret:
            raise SettingInvalid("AMAS_MESSAGE_SECRET isn't set, and messages are signed with it: set the same on every host")
        return cls(settings.secret.encode())

    def _derived(self, agent_id: str) -> bytes:
        return hmac.digest(self._secret, _LABEL + agent_id.encode(), "sha256")

    def _signer(self, agent_id: str) -> Signer:
        return Signer(agent_id, self._key(agent_id))

    def verify(self, signed: bytes, *, recipient: str, now_ms: int, window_ms: int | None = None) -> Checked:
        """Return the message that `signed` carries, and why it isn't to be believed, if so.

        `recipient`: whose it must be. `window_ms`: how far from now it may have been signed; None where it was stored meanwhile.
        """
        signature, body = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        try:
            message = _message.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Checked(None, "damaged")
        if not hmac.compare_digest(signature, hmac.digest(self._key(message.sender), body, "sha256")):
            return Checked(message, "forged")
        if message.recipient != recipient:
            return Checked(message, "misdirected")
        if window_ms is not None and abs(now_ms - message.sent_ms) > window_ms:
            return Checked(message, "stale")
        return Checked(message, "expired" if message.expires_ms <= now_ms else "")
