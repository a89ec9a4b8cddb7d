"""People who sign in with their organisation's account: OpenID Connect, by authorization code with PKCE.

Commands sign in with the provider by themselves (`amas/signin`) and bring its tokens here: the ID token counts if it is for them.

A browser is sent to the provider with a state, a nonce and a challenge, all of them derived from one secret that its cookie alone
holds, and comes back with a code. Only the browser that went can come back: the state must be its own. The code is changed for an
ID token, which counts if the provider's key signed it, for us, for this very sign-in (nonce) and lately. What the person may do
`core/people.py` says. Nothing of a sign-in under way is kept here, so any control plane can finish it.
Sources: OpenID Connect Core 1.0 (3.1.3.7 for the ID token), RFC 7636 (PKCE), RFC 9207 (`iss`), RFC 9700 (what attackers try).
"""

import base64
import hmac
import re
import secrets
import ssl
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from time import monotonic, time
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from amas.core.people import Grant, granted, grants_of
from amas.errors import ProviderFailed, SettingInvalid, SignInRefused
from amas.model.access import digest_of
from amas.settings import OidcSettings

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
"""Those by which a provider's private key signs; a shared secret signs nothing here, and `none` isn't one."""
SKEW_S = 60
"""By how much the provider's clock may differ from ours."""
FRESH_S = 300.0
"""How long what a provider says of itself is believed."""
KEYS_AGAIN_S = 10.0
"""The provider's keys aren't asked for more often than this, whatever anybody shows."""
PROVIDER_S = 10.0
ANSWER_BYTES_MAX = 1 << 20
CALLBACK = "/auth/callback"
_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9._~%/?=&-]{0,500}")
_NAME = re.compile(r"[!-~]{1,100}")


class Provider(msgspec.Struct, frozen=True):
    """What a provider says of itself (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Begun(NamedTuple):
    """A sign-in under way."""

    url: str
    """Where the browser goes."""
    cookie: str
    """What it must bring back."""


class Person(NamedTuple):
    """Whom the provider has vouched for."""

    name: str
    """The address where the provider has checked that, else the subject."""
    grant: Grant | None
    """None: nothing was granted to any of the person's groups."""
    path: str
    """Where on the page the person wanted to go."""


class People:
    """Signs people in with one provider."""

    def __init__(self, settings: OidcSettings, public_url: str) -> None:
        """SettingInvalid where people couldn't come back, or what they may do isn't clear."""
        if settings.issuer and not public_url:
            raise SettingInvalid("AMAS_OIDC_ISSUER is set, but AMAS_PUBLIC_URL is not: set it to where people reach this server")
        try:
            self._grants = grants_of(settings.roles)
        except ValueError as error:
            raise SettingInvalid(f"AMAS_OIDC_ROLES can't be taken: {error}") from error
        self._settings, self._callback = settings, public_url.rstrip("/") + CALLBACK
        self.secure = public_url.startswith("https:")
        set_to = (settings.issuer, settings.client_id, settings.claim, settings.roles, self.commands)
        self.credential = digest_of(repr(set_to)).hex()
        """Stands in sessions: they end when who may sign in is set anew."""
        self._provider: Provider | None = None
        self._read_s = self._keys_read_s = float("-inf")
        self._keys: dict[str, Any] = {}

    @property
    def on(self) -> bool:
        """Whether people sign in this way."""
        return bool(self._settings.issuer)

    @property
    def commands(self) -> str:
        """What the provider calls `amas login`; empty where commands can't sign in."""
        settings = self._settings
        return settings.cli_id or ("" if settings.client_secret else settings.client_id)

    @property
    def issuer(self) -> str:
        """The provider."""
        return self._settings.issuer

    @property
    def scopes(self) -> str:
        """What is asked of it."""
        return self._settings.scopes

    async def vouched(self, id_token: str, access_token: str) -> Person:
        """Return for whom the provider gave a command these tokens; SignInRefused, ProviderFailed as `finish`."""
        about = await self._about()
        return await self._person(about, await self._claims(about, id_token, client_id=self.commands), access_token, "/")

    async def begin(self, path: str) -> Begun:
        """Return where to send a browser that wants to go to `path` of the page; ProviderFailed where the provider is away."""
        secret = secrets.token_urlsafe(32)
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._callback,
            "scope": self._settings.scopes,
            "state": _derived(secret, "state"),
            "nonce": _derived(secret, "nonce"),
            "code_challenge": _base64(sha256(_derived(secret, "verifier").encode()).digest()),
            "code_challenge_method": "S256",
        }
        endpoint = (await self._about()).authorization_endpoint
        return Begun(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}", f"{secret}|{safe_path(path)}")

    async def finish(self, said: Mapping[str, str], cookie: str) -> Person:
        """Return who came back with these parameters; SignInRefused where that isn't proved, ProviderFailed where it can't be."""
        secret, _, path = cookie.partition("|")
        if not secret or not _same(said.get("state", ""), _derived(secret, "state")):
            raise SignInRefused("this browser has begun no such sign-in, or it took longer than ten minutes: sign in again")
        if said.get("iss", self._settings.issuer) != self._settings.issuer:
            raise SignInRefused("another provider than the one that was asked has answered")
        if "code" not in said:
            raise SignInRefused(f"the provider lets nobody in: {_shown(said.get('error', 'it sent no code'))}")
        about = await self._about()
        tokens = await self._changed(about, said["code"], _derived(secret, "verifier"))
        token, nonce = str(tokens.get("id_token", "")), _derived(secret, "nonce")
        claims = await self._claims(about, token, client_id=self._settings.client_id, nonce=nonce)
        return await self._person(about, claims, str(tokens.get("access_token", "")), path)

    async def _person(self, about: Provider, claims: dict[str, Any], access_token: str, path: str) -> Person:
        """Return whom the claims of a sound ID token name, with what their groups may."""
        if self._settings.claim not in claims and about.userinfo_endpoint:
            claims = await self._more(about.userinfo_endpoint, access_token, claims)
        name = claims.get("email") if claims.get("email_verified") is True else claims["sub"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SignInRefused("the provider's name for this person can't be taken: visible ASCII without spaces can")
        groups = claims.get(self._settings.claim, ())
        known = {groups} if isinstance(groups, str) else {each for each in groups if isinstance(each, str)}
        return Person(name, granted(self._grants, known), safe_path(path))

    async def _about(self) -> Provider:
        """Return what the provider says of itself; ProviderFailed where it says it of another, or isn't there."""
        if self._provider is None or monotonic() - self._read_s > FRESH_S:
            issuer = self._settings.issuer
            said = await self._asked("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
            try:
                found = msgspec.convert(said, Provider)
            except msgspec.ValidationError as error:
                raise ProviderFailed(f"{issuer} doesn't say how people sign in there: {error}") from error
            if found.issuer != issuer:
                raise ProviderFailed(f"{issuer} says that it is {_shown(found.issuer)}: set AMAS_OIDC_ISSUER to its very name")
            self._provider, self._read_s = found, monotonic()
        return self._provider

    async def _changed(self, about: Provider, code: str, verifier: str) -> dict[str, Any]:
        """Return the tokens that the provider gives for a code."""
        settings = self._settings
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._callback, "code_verifier": verifier}
        auth = None
        if settings.client_secret and "client_secret_basic" in about.token_endpoint_auth_methods_supported:
            auth = (settings.client_id, settings.client_secret)
        else:
            form |= {"client_id": settings.client_id}
            form |= {"client_secret": settings.client_secret} if settings.client_secret else {}
        return await self._asked("POST", about.token_endpoint, data=form, auth=auth)

    async def _claims(self, about: Provider, token: str, *, client_id: str, nonce: str | None = None) -> dict[str, Any]:
        """Return what an ID token says, once it is found to be one for this client and this very sign-in.

        `nonce`: None where whoever asked for the token has checked that it is the answer.
        """
        claims = None
        for stale_s in (FRESH_S, KEYS_AGAIN_S):  # one that isn't known may be new
            if claims is None and monotonic() - self._keys_read_s > stale_s:
                self._keys, self._keys_read_s = await self._asked("GET", about.jwks_uri), monotonic()
            claims = claims or _signed(token, self._keys)
        if claims is None:
            raise SignInRefused("the ID token isn't signed by the provider")
        if why := self._flaw(claims, client_id, nonce):
            raise SignInRefused(f"the ID token doesn't count: {why}")
        return claims

    def _flaw(self, claims: Mapping[str, Any], client_id: str, nonce: str | None) -> str:
        """Return why claims don't count for this sign-in, "" where they do (3.1.3.7)."""
        audience, now_s = claims.get("aud"), time()
        audiences = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
        until_s, since_s = claims.get("exp"), claims.get("iat")
        if not isinstance(until_s, int | float) or not isinstance(since_s, int | float):
            return "it doesn't say from when to when it counts"
        checks = (
            (claims.get("iss") == self._settings.issuer, "it is another issuer's"),
            (client_id in audiences, "it is for another audience"),
            (claims.get("azp", client_id if len(audiences) == 1 else "") == client_id, "it was given to another client"),
            (until_s > now_s - SKEW_S, "it has expired"),
            (since_s < now_s + SKEW_S, "it is from the future"),
            (nonce is None or _same(str(claims.get("nonce", "")), nonce), "it is another sign-in's"),
            (isinstance(claims.get("sub"), str) and claims.get("sub"), "it names nobody"),
        )
        return next((why for sound, why in checks if not sound), "")

    async def _more(self, endpoint: str, access_token: str, claims: dict[str, Any]) -> dict[str, Any]:
        """Return the claims with what the provider says besides, of the same person."""
        said = await self._asked("GET", endpoint, headers={"authorization": f"Bearer {access_token}"})
        if said.get("sub") != claims["sub"]:
            raise SignInRefused("the provider told of another person than the one who signed in")
        return {**said, **claims}

    async def _asked(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """Return the JSON object that the provider answers; it is sent nowhere else, and its answer isn't read without end."""
        import httpx

        if not url.startswith("https:" if self._settings.issuer.startswith("https:") else ("https:", "http:")):
            raise ProviderFailed(f"the provider names an address that isn't safe: {_shown(url)}")
        try:
            async with (
                httpx.AsyncClient(timeout=PROVIDER_S, verify=_trusted()) as client,
                client.stream(method, url, **{"headers": {"accept": "application/json"}, **more}) as answer,
            ):
                body = bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > ANSWER_BYTES_MAX:
                        raise ProviderFailed(f"the provider answers more than {ANSWER_BYTES_MAX >> 20} MiB")
        except httpx.HTTPError as error:
            raise ProviderFailed(f"the provider can't be asked: {type(error).__name__}") from error
        try:
            said = msgspec.json.decode(bytes(body), type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderFailed(f"the provider answered {answer.status_code}, and nothing that could be read") from error
        if method == "POST" and answer.status_code == 400:  # RFC 6749, 5.2: such as a code that was used before
            raise SignInRefused(f"the provider doesn't take the code: {_shown(str(said.get('error', '')))}")
        if answer.status_code != 200:
            raise ProviderFailed(f"the provider answered {answer.status_code}")
        return said


@cache
def _trusted() -> ssl.SSLContext:
    """Return whom we trust: reading the certificates takes longer than all the rest."""
    return ssl.create_default_context()


def _signed(token: str, said: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a token says that one of these keys has signed; None for any other."""
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    try:
        usable = [key for key in said.get("keys", ()) if key.get("kty") in ("RSA", "EC", "OKP") and key.get("use") != "enc"]
        claims: dict[str, Any] = jwt.decode(token, KeySet.import_key_set({"keys": usable}), algorithms=ALGORITHMS).claims
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return claims


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="backslashreplace"), other.encode())


def safe_path(path: str) -> str:
    """Return a path of the page to go to, `/` for anything else: nobody is sent to another server from here."""
    return path if _PATH.fullmatch(path) else "/"


def _derived(secret: str, what: str) -> str:
    return _base64(hmac.digest(secret.encode(), what.encode(), "sha256"))


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _shown(text: str) -> str:
    """Return what somebody else said as it may stand in an answer or a log."""
    return re.sub(r"[^\w:/.,=?&% -]", "?", text[:100])
