"""What the API says of callers: keys, sign-ins, the audit."""

from typing import Annotated

import msgspec
from msgspec import Meta

from amas.model.access import Role
from amas.policy.audit import Line as AuditLine
from amas.server.page_shapes import Paged
from amas.server.patterns import KEY_OWNER
from amas.server.shapes import Given, Line, Name

DAYS_MAX = 3650


class NewKey(Given, frozen=True):
    """An API key to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=KEY_OWNER)]
    """Whose it is: what the audit will call its owner."""
    role: Role = Role.OPERATOR
    tenant: Line = ""
    """Whose work alone it sees and changes; empty for all."""
    scopes: Annotated[tuple[Name, ...], Meta(max_length=50)] = ()
    """The parts of the API that it opens, such as `tasks` or `workflows:read`; empty for all that its role may."""
    expires_days: Annotated[float, Meta(gt=0, le=DAYS_MAX)] = 90.0


class KeyShape(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, but for its secret."""

    prefix: str
    """What finds it: the part after `amas_`."""
    name: str
    role: Role
    tenant: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int
    revoked_ms: int
    """0: it isn't revoked."""
    by: str
    """Who made it."""


class MadeKey(KeyShape, frozen=True, kw_only=True):
    """A new API key; its secret is shown this once."""

    key: str


class KeyPage(Paged, frozen=True, kw_only=True):
    """All API keys that were ever made, by name."""

    items: list[KeyShape]


class NewSignIn(Given, frozen=True):
    """What a browser signs in with."""

    key: Annotated[str, Meta(max_length=4096)]
    """An API key or the fleet's token."""


class NewTokens(Given, frozen=True):
    """What the provider gave to a command that a person signs in with."""

    id_token: Annotated[str, Meta(max_length=65_536)]
    access_token: Annotated[str, Meta(max_length=65_536)]


class CommandSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """With which provider commands sign people in, and as whom they ask it."""

    issuer: str
    client_id: str
    scopes: str


class PersonShape(msgspec.Struct, frozen=True, kw_only=True):
    """A person whose commands may use this fleet for a while."""

    token: str
    """What they show."""
    lasts_s: float
    name: str
    role: str
    tenant: str


class SessionShape(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls."""

    name: str
    """Empty: nobody whom this fleet knows."""
    role: str
    tenant: str
    sign_in: list[str]
    """How one can sign in: `key`, and `oidc` at `/auth/login`."""


class AuditRecord(AuditLine, frozen=True, kw_only=True):
    """An act as it stands in the log, and in words."""

    did: str
    """What was done, such as `scaled a pool`."""
    about: str
    """To whom or what, such as `coder`; empty where `did` says it all."""


class AuditRecordPage(msgspec.Struct, frozen=True, kw_only=True):
    """Administrative acts, newest first."""

    items: list[AuditRecord]
    next: int | None
    """As `before`, for those that came earlier."""


class PublicKeyShape(msgspec.Struct, frozen=True, kw_only=True):
    """A public key as JWKs have it (RFC 7517, RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    alg: str
    use: str


class KeySetShape(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that agents' tokens are checked with; several at a time, since they are replaced now and then."""

    keys: list[PublicKeyShape]


class NewRotation(Given, frozen=True):
    """How the keys that sign agents' tokens are to be replaced."""

    at_once: bool = False
    """Whether nothing that they have signed counts any more: for a key that somebody else may have."""


class RevokedTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tokens were revoked."""

    name: str
    epoch: int
    """How often that was done by this name; kills and quarantines count."""
