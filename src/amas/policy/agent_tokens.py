"""Making and checking agents' tokens (`model/token.py`), and the folder of the private keys that sign them.

The folder lies in a control plane's home and is its user's alone: `signing/<kid>.pem`, 0600. Nothing here logs; errors name a key
by its kid and never hold a token.

joserfc is imported when the first token is made or checked: a fleet that uses none doesn't wait for it.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from amas.core.signing import KEY_LIFE_MS
from amas.errors import TokenExpired, TokenForAnother, TokenForged, TokenKeyUnknown
from amas.model.token import AgentClaims, SigningKey

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

ALGORITHM: Final = "Ed25519"
SKEW_S = 5
"""By how much the clocks of control planes may differ."""
TOKEN_CHARS_MAX = 4096


class SigningFolder:
    """The private keys of one control plane."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[str, OKPKey] = {}

    def make(self, begins_ms: int) -> SigningKey:
        """Make a key that signs from then on, and return its public half once the private one is on disk."""
        from joserfc.jwk import OKPKey

        key = OKPKey.generate_key(ALGORITHM)
        kid = key.thumbprint()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(self._path(kid), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(key.as_pem(private=True))
            file.flush()
            os.fsync(file.fileno())
        self._keys[kid] = key
        x = key.as_dict(private=False)["x"]
        return SigningKey(kid=kid, x=str(x), signs_from_ms=begins_ms, signs_until_ms=begins_ms + KEY_LIFE_MS)

    def own(self, keys: Iterable[SigningKey]) -> list[SigningKey]:
        """Return those of the keys whose private half lies here."""
        here = {path.stem for path in self._folder.glob("*.pem")}
        return [key for key in keys if key.kid in here]

    def forget(self, kids: Iterable[str]) -> None:
        """Remove private keys that sign no more, those that lie here."""
        over = set(kids)
        for path in self._folder.glob("*.pem"):
            if path.stem in over:
                self._keys.pop(path.stem, None)
                path.unlink(missing_ok=True)

    def sign(self, key: SigningKey, claims: AgentClaims) -> str:
        """Return a token; OSError or ValueError where the key can't be read."""
        from joserfc import jwt
        from joserfc.jwk import OKPKey

        private = self._keys.get(key.kid)
        if private is None:
            private = self._keys[key.kid] = OKPKey.import_key(self._path(key.kid).read_bytes())
        said = {name: value for name, value in msgspec.to_builtins(claims).items() if value != ""}
        return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, said, private, algorithms=[ALGORITHM])

    def _path(self, kid: str) -> Path:
        return self._folder / f"{kid}.pem"


def public_jwk(key: SigningKey) -> dict[str, str]:
    """Return a key as the key set shows it."""
    return {"kty": "OKP", "crv": ALGORITHM, "x": key.x, "kid": key.kid, "alg": ALGORITHM, "use": "sig"}


def looks_like_token(text: str) -> bool:
    """Return whether what a caller shows is a JWT, and no key of ours."""
    return text.count(".") == 2 and len(text) <= TOKEN_CHARS_MAX


class Checked(NamedTuple):
    """A token that was found true."""

    kid: str
    """The key that signed it."""
    claims: AgentClaims


def checked(text: str, keys: Iterable[SigningKey], *, issuer: str, audience: str, now_ms: int) -> Checked:
    """Return what a token says once all of it is found true; TokenRefused where anything isn't.

    `keys`: those that verify now. Whether it was revoked since is the caller's to ask. The algorithm is ours to say: what the
    token says of it (`none`, or HS256 with the public key as secret) is refused before a signature is looked at.
    """
    from joserfc import jwt
    from joserfc.errors import InvalidKeyIdError, JoseError
    from joserfc.jwk import KeySet, OKPKey

    known = KeySet([OKPKey.import_key({**public_jwk(key)}) for key in keys])
    try:
        token = jwt.decode(text, known, algorithms=[ALGORITHM])
        claims = msgspec.convert(token.claims, AgentClaims)
    except InvalidKeyIdError as error:
        why = "the key that signed the token isn't one of this fleet's, or not any more: ask for a new token"
        raise TokenKeyUnknown(why) from error
    except (JoseError, ValueError) as error:
        raise _forged("its signature isn't this fleet's") from error
    now_s = now_ms / 1000
    if claims.iss != issuer:
        raise TokenForAnother(f"the token is another issuer's: {issuer} takes its own alone")
    if claims.aud != audience:
        raise TokenForAnother(f"the token is for another audience: {audience} takes what is for itself alone")
    if claims.exp <= now_s - SKEW_S:
        raise TokenExpired("the agent's token has expired: ask for a new one")
    if claims.iat > now_s + SKEW_S:
        raise _forged("it is from the future")
    return Checked(str(token.header.get("kid")), claims)


def _forged(why: str) -> TokenForged:
    return TokenForged(f"the token can't be taken: {why}")
