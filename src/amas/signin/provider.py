"""A provider of OpenID Connect, as a command on somebody's own machine talks to it: a public client that can keep no secret.

Signing in is by a code that the person types into a browser anywhere (RFC 8628), so it works over SSH; where the provider has no
such thing, by a browser on this machine that comes back to a port of the loopback (RFC 8252) with PKCE. What the provider says is
shown in a terminal and followed only as far as it is what it should be: addresses are https, codes are letters.

The ID token isn't trusted here: the control plane checks it. That it answers this very sign-in is seen here, by its nonce.
"""

import base64
import contextlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import msgspec

from amas.errors import ProviderFailed, SignInRefused

ANSWER_S = 10.0
ANSWER_BYTES_MAX = 1 << 20
POLL_S = 5.0
"""Between questions, where the provider names no other time; and by how much slower it may ask us to be (RFC 8628, 3.5)."""
WAIT_MAX_S = 1800.0
"""A person gets so long to sign in, whatever the provider says."""
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_URL = re.compile(r"https?://[!-~]{1,2000}")
_CODE = re.compile(r"[0-9A-Za-z -]{1,40}")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class About(msgspec.Struct, frozen=True):
    """What a provider says of itself."""

    issuer: str
    token_endpoint: str
    authorization_endpoint: str = ""
    device_authorization_endpoint: str = ""
    revocation_endpoint: str = ""
    scopes_supported: tuple[str, ...] = ()


class Device(msgspec.Struct, frozen=True):
    """A sign-in that a person is to finish in a browser (RFC 8628, 3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float
    interval: float = POLL_S
    verification_uri_complete: str = ""


class Tokens(msgspec.Struct, frozen=True):
    """What the provider gives."""

    access_token: str
    id_token: str = ""
    refresh_token: str = ""


class Ask(NamedTuple):
    """What a person is asked to do."""

    url: str
    """Where to go."""
    code: str = ""
    """What to type there; empty where nothing is."""
    complete: str = ""
    """Where the code need not be typed; may be empty."""


class Refusal(Exception):
    """The token endpoint gives nothing (RFC 6749, 5.2)."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


def safe(url: str) -> bool:
    """Return whether what is sent to an address can't be read by others on the way."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


class Provider:
    """One provider, and us as its client."""

    def __init__(self, issuer: str, client_id: str, scopes: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        """ProviderFailed where it isn't there, or isn't what it was said to be."""
        if not safe(issuer):
            raise ProviderFailed(f"the provider {_shown(issuer)} could be listened to on the way: it must be https")
        self.issuer, self.client_id, self._pause = issuer, client_id, pause
        self.about = self._said("GET", issuer.rstrip("/") + "/.well-known/openid-configuration", About)
        if self.about.issuer != issuer:
            raise ProviderFailed(f"{issuer} says that it is {_shown(self.about.issuer)}")
        more = ["offline_access"] if "offline_access" in self.about.scopes_supported else []
        self._scopes = " ".join([*scopes.split(), *(each for each in more if each not in scopes.split())])

    def by_device(self, show: Callable[[Ask], None]) -> Tokens:
        """Return the tokens of whoever follows what is shown; SignInRefused where nobody does, or the person declines."""
        asked = {"client_id": self.client_id, "scope": self._scopes}
        device = self._said("POST", self.about.device_authorization_endpoint, Device, data=asked)
        if not (_URL.fullmatch(device.verification_uri) and _CODE.fullmatch(device.user_code)):
            raise ProviderFailed("the provider names no address and code that could be shown")
        complete = device.verification_uri_complete
        show(Ask(device.verification_uri, device.user_code, complete if _URL.fullmatch(complete) else ""))
        every_s, left_s = max(device.interval, 1.0), min(device.expires_in, WAIT_MAX_S)
        while (left_s := left_s - every_s) > 0:
            self._pause(every_s)
            try:
                return self._tokens({"grant_type": DEVICE_GRANT, "device_code": device.device_code})
            except Refusal as refused:
                if refused.error not in ("authorization_pending", "slow_down"):
                    raise SignInRefused(f"the provider lets nobody in: {_shown(refused.error)}") from None
                every_s += POLL_S if refused.error == "slow_down" else 0
            except ProviderFailed:  # it or the network may come back before the code expires
                every_s *= 2
        raise SignInRefused("nobody has signed in with this code in time: begin again")

    def by_browser(self, show: Callable[[Ask], None]) -> Tokens:
        """Return the tokens of whoever signs in with a browser on this machine; SignInRefused where nobody does."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        with _coming_back(state) as (redirect, wait):
            asked = {
                "response_type": "code",
                "client_id": self.client_id,
                "redirect_uri": redirect,
                "scope": self._scopes,
                "state": state,
                "nonce": nonce,
                "code_challenge": base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
                "code_challenge_method": "S256",
            }
            if "offline_access" in self._scopes.split():
                asked["prompt"] = "consent"  # OpenID Connect Core 1.0, 11
            endpoint = self._endpoint(self.about.authorization_endpoint)
            show(Ask(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"))
            said = wait()
        if said.get("iss", self.issuer) != self.issuer:
            raise SignInRefused("another provider than the one that was asked has answered")
        if "code" not in said:
            raise SignInRefused(f"the provider lets nobody in: {_shown(said.get('error', 'it sent no code'))}")
        grant = {"grant_type": "authorization_code", "code": said["code"], "redirect_uri": redirect, "code_verifier": verifier}
        try:
            tokens = self._tokens(grant)
        except Refusal as refused:
            raise SignInRefused(f"the provider doesn't take the code: {_shown(refused.error)}") from None
        if not hmac.compare_digest(_nonce_of(tokens.id_token).encode(), nonce.encode()):
            raise SignInRefused("the provider's ID token answers another sign-in")
        return tokens

    def renewed(self, refresh_token: str) -> Tokens:
        """Return new tokens; SignInRefused where the sign-in has ended there, ProviderFailed where that isn't known."""
        try:
            return self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})
        except Refusal as refused:
            raise SignInRefused(f"the provider has ended your sign-in: {_shown(refused.error)}") from None

    def revoke(self, refresh_token: str) -> None:
        """End the sign-in there (RFC 7009), where the provider knows how; ProviderFailed where it can't be asked."""
        if self.about.revocation_endpoint and refresh_token:
            form = {"token": refresh_token, "token_type_hint": "refresh_token", "client_id": self.client_id}
            self._asked("POST", self.about.revocation_endpoint, data=form)

    def _tokens(self, grant: dict[str, str]) -> Tokens:
        status, body = self._asked("POST", self.about.token_endpoint, data={**grant, "client_id": self.client_id})
        try:
            if status == 200:
                return msgspec.json.decode(body, type=Tokens)
            error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as why:
            raise ProviderFailed(f"the provider answered {status}, and nothing that could be read") from why
        if status >= 500 or not isinstance(error, str):
            raise ProviderFailed(f"the provider answered {status}")
        raise Refusal(error)

    def _said(self, method: str, url: str, kind: type[Any], **more: Any) -> Any:
        status, body = self._asked(method, url, **more)
        try:
            if status == 200:
                return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderFailed(f"the provider's answer can't be taken: {_shown(str(error))}") from error
        raise ProviderFailed(f"the provider answered {status} to {method} {_shown(url)}")

    def _endpoint(self, url: str) -> str:
        if not _URL.fullmatch(url) or not safe(url):
            raise ProviderFailed(f"the provider names an address that isn't safe: {_shown(url)}")
        return url

    def _asked(self, method: str, url: str, **more: Any) -> tuple[int, bytes]:
        """Return what the provider answers; it isn't followed elsewhere, nor read without end."""
        headers = {"accept": "application/json"}
        try:
            with httpx.stream(method, self._endpoint(url), timeout=ANSWER_S, headers=headers, **more) as answer:
                body = bytearray()
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > ANSWER_BYTES_MAX:
                        raise ProviderFailed(f"the provider answers more than {ANSWER_BYTES_MAX >> 20} MiB")
        except httpx.HTTPError as error:
            raise ProviderFailed(f"the provider can't be asked: {type(error).__name__}") from error
        return answer.status_code, bytes(body)


@contextlib.contextmanager
def _coming_back(state: str) -> Iterator[tuple[str, Callable[[], dict[str, str]]]]:
    """Listen on a port of this machine alone; yield where a browser comes back to, and what waits for it."""
    came: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        timeout = ANSWER_S  # a browser may open connections that it says nothing on

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            said = {name: values[0] for name, values in parse_qs(parts.query).items()}
            ours = parts.path == "/" and hmac.compare_digest(said.get("state", "").encode(), state.encode())
            body = b"amas: you can close this window." if ours else b"amas: this is no answer to a sign-in of yours."
            self.send_response(200 if ours else 404)
            for name, value in (("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            if ours:
                came.append(said)

        def log_message(self, *_: object) -> None:
            """Say nothing: a code would stand in the line."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:

        def wait() -> dict[str, str]:
            give_up_at_s = time.monotonic() + WAIT_MAX_S
            server.timeout = 1.0
            while not came:
                if time.monotonic() > give_up_at_s:
                    raise SignInRefused("nobody has signed in with the browser in time: begin again")
                server.handle_request()
            return came[0]

        yield f"http://127.0.0.1:{server.server_port}/", wait


def _nonce_of(id_token: str) -> str:
    """Return the nonce that an ID token names, "" for none; it came from the provider itself, so its signature adds nothing."""
    _, _, rest = id_token.partition(".")
    claims = rest.partition(".")[0]
    try:
        said = msgspec.json.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)), type=dict[str, Any])
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return ""
    return str(said.get("nonce", ""))


def _shown(text: str) -> str:
    """Return what somebody else said as it may stand in a sentence."""
    return re.sub(r"[^\w:/.,=?&% -]", "?", text[:200])
