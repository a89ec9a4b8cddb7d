"""Agents' tokens: JWTs by which an agent shows any service who it is, and the public halves of the keys that sign them.

    header   {"alg": "Ed25519", "typ": "JWT", "kid": ..}
    claims   {"iss": .., "aud": .., "sub": "coder-3", "iat": .., "exp": .., "jti": .., "amas.pool": "coder",
              "amas.layer": "execution", "amas.epoch": 0, "tenant": "acme"}

`tenant` is there for an agent that asks while it works on a tenant's task, and is that tenant. `amas.epoch` counts how often the
agent, its pool or the fleet had its tokens revoked: a token of an earlier epoch is worth nothing.
Sources: RFC 7519 (JWT), RFC 7517 (JWK), RFC 9864 (the algorithm's name), RFC 7638 (what a key is called).
"""

import msgspec

from amas.model.desired import FLEET_KILLED
from amas.model.numbers import pool_named

AUDIENCE = r"[!-~]{1,200}"
"""What a service that a token is meant for is called: visible ASCII without spaces, mostly its address."""


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public half of a key; the private one stays in the home of the control plane that made it."""

    kid: str
    x: str
    """The 32 bytes of the key, base64url without padding, as a JWK has them."""
    signs_from_ms: int
    signs_until_ms: int
    ended_ms: int = 0
    """When it was ended at once; what it has signed is worth nothing since then. 0: it wasn't."""


class TokenAsk(msgspec.Struct, frozen=True, kw_only=True):
    """A host's wish for a token of an agent that it seats."""

    id: str
    host_id: str
    agent_id: str
    audience: str
    task_id: str
    """What the agent works on, whose tenant the token names."""
    box: bytes
    """The public key of whoever asks: the answer is sealed with it, so that no token lies in the engine in the open."""


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the control plane answers."""

    sealed: bytes = b""
    refusal: str = ""
    """Why there is none, in a sentence."""


class AgentToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token with what its holder must know to renew it in time."""

    text: str
    epoch: int
    expires_ms: int


class AgentClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says of its agent."""

    sub: str
    iss: str
    aud: str
    iat: int
    exp: int
    """Seconds since 1970."""
    jti: str
    pool: str = msgspec.field(default="", name="amas.pool")
    """Empty for one that runs elsewhere, which has none."""
    layer: str = msgspec.field(name="amas.layer")
    epoch: int = msgspec.field(name="amas.epoch")
    tenant: str = ""


def names_of(agent_id: str) -> tuple[str, ...]:
    """Return the names by which an agent's tokens are revoked: all agents', its own, its pool's and the pool's that it varies."""
    pool = pool_named(agent_id)
    return tuple(dict.fromkeys(name for name in (FLEET_KILLED, agent_id, pool, pool.partition("~")[0]) if name))
