"""Signs a person in with a control plane, keeps the sign-in fresh, and ends it.

    login  ->  the provider's tokens  ->  POST /auth/commands  ->  a token of the control plane's own, for a quarter of an hour
    token  ->  the same again with the refresh token, when the control plane's has less than `EARLY_S` left

Tokens go to the provider and to the control plane that the person named, and nowhere else; neither is reached by plain http, but
on this machine itself.
"""

import asyncio
import os
import re
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec

from amas.errors import AmasError, FleetNotRunning, ProviderFailed, SettingInvalid, SignInRefused
from amas.settings import HomeSettings
from amas.signin.kept import Kept, SignIns
from amas.signin.provider import Ask, Provider, Tokens, safe

EARLY_S = 60.0
"""A token is renewed so long before it ends: a request that is under way may take a while."""
ANSWER_S = 30.0
COMMANDS = "/auth/commands"


class _About(msgspec.Struct, frozen=True):
    issuer: str
    client_id: str
    scopes: str


class _Person(msgspec.Struct, frozen=True):
    token: str
    lasts_s: float
    name: str
    role: str
    tenant: str


def address(url: str) -> str:
    """Return a control plane's address in its one form; SettingInvalid where what is sent there could be read on the way."""
    found = url.strip().rstrip("/")
    if not re.fullmatch(r"https?://[^\s/?#@]+", found):
        raise SettingInvalid(f"{url!r} is no control plane's address: it is like https://fleet.example")
    if not safe(found):
        raise SettingInvalid(f"{found} could be listened to on the way: a control plane elsewhere is reached by https")
    return found


def folder() -> Path:
    """Return where sign-ins lie."""
    return HomeSettings.read().folder().expanduser()


def login(url: str, show: Callable[[Ask], None], *, browser: bool, pause: Callable[[float], None] = time.sleep) -> Kept:
    """Sign in with the control plane at `url`, and keep that; SignInRefused, ProviderFailed. `browser`: one on this machine."""
    url = address(url)
    about = _plane("GET", url, kind=_About)
    provider = Provider(about.issuer, about.client_id, about.scopes, pause=pause)
    by_browser = browser or not provider.about.device_authorization_endpoint
    tokens = provider.by_browser(show) if by_browser else provider.by_device(show)
    kept, sign_ins = _let_in(url, provider, tokens), SignIns(folder())
    with sign_ins.held():
        sign_ins.put(url, kept)
    return kept


def token(url: str) -> str:
    """Return what requests to a control plane show, renewed where it is time; "" for who hasn't signed in there."""
    sign_ins = SignIns(folder())
    kept = sign_ins.get(url)
    if kept is None or _fresh(kept):
        return kept.token if kept else ""
    with sign_ins.held():
        kept = sign_ins.get(url)  # another command may have renewed it meanwhile
        if kept is not None and not _fresh(kept):
            kept = _renewed(url, kept, sign_ins)
    return kept.token if kept else ""


def logout(url: str) -> bool:
    """End a sign-in here, and with the control plane and the provider as far as they answer; return whether there was one."""
    url, sign_ins = address(url), SignIns(folder())
    with sign_ins.held():
        kept = sign_ins.get(url)
        sign_ins.put(url, None)
    if kept is None:
        return False
    with suppress(AmasError):  # else it ends by itself, within a quarter of an hour
        _sent("DELETE", f"{url}/api/session", headers={"authorization": f"Bearer {kept.token}"})
    with suppress(AmasError):  # else when the provider says so; the token that could renew it is gone from here
        Provider(kept.issuer, kept.client_id, "openid").revoke(kept.refresh_token)
    return True


class SignedIn(httpx.Auth):
    """Shows a control plane who has signed in on this machine, as `auth` of `amas.rest`'s clients, or of httpx's."""

    def __init__(self, url: str) -> None:
        """`url`: the control plane's; what is sent elsewhere carries nothing."""
        self._url = address(url)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:  # noqa: D102  httpx's own
        self._sign(request, token(self._url))
        yield request

    async def async_auth_flow(  # noqa: D102  httpx's own
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        self._sign(request, await asyncio.to_thread(token, self._url))
        yield request

    def _sign(self, request: httpx.Request, shown: str) -> None:
        if not shown:
            raise SignInRefused(f"nobody has signed in with {self._url} here: `amas login {self._url}` does")
        if httpx.URL(self._url).copy_with(path="/") == request.url.copy_with(path="/", query=None, fragment=None):
            request.headers["Authorization"] = f"Bearer {shown}"


def trusted() -> ssl.SSLContext:
    """Return whom we trust: this machine's authorities, or SSL_CERT_FILE's; and what we show, AMAS_TLS_CLIENT's certificate."""
    context = ssl.create_default_context()
    if mine := os.environ.get("AMAS_TLS_CLIENT", ""):
        try:
            context.load_cert_chain(mine)
        except OSError as error:
            raise SettingInvalid(
                f"AMAS_TLS_CLIENT ({mine}) can't be read as certificate and key: {error.strerror or error}"
            ) from error
    return context


def _fresh(kept: Kept) -> bool:
    return time.time() < kept.ends_s - EARLY_S


def _renewed(url: str, kept: Kept, sign_ins: SignIns) -> Kept:
    again = f"sign in again with `amas login {url}`"
    if not kept.refresh_token:
        if time.time() < kept.ends_s:
            return kept
        raise SignInRefused(f"your sign-in has ended, and the provider gave nothing to renew it with: {again}")
    try:
        provider = Provider(kept.issuer, kept.client_id, "openid")
        tokens = provider.renewed(kept.refresh_token)
        refresh_token = tokens.refresh_token or kept.refresh_token
        kept = msgspec.structs.replace(kept, refresh_token=refresh_token)
        sign_ins.put(url, kept)  # the old one may count no more, whatever the control plane says now
        kept = _let_in(url, provider, msgspec.structs.replace(tokens, refresh_token=refresh_token))
    except SignInRefused as error:
        raise SignInRefused(f"{error}: {again}") from None
    except (ProviderFailed, FleetNotRunning):
        if time.time() < kept.ends_s:
            return kept
        raise
    sign_ins.put(url, kept)
    return kept


def _let_in(url: str, provider: Provider, tokens: Tokens) -> Kept:
    """Change the provider's tokens for the control plane's own."""
    said = {"id_token": tokens.id_token, "access_token": tokens.access_token}
    person = _plane("POST", url, json=said, kind=_Person)
    return Kept(
        issuer=provider.issuer,
        client_id=provider.client_id,
        refresh_token=tokens.refresh_token,
        token=person.token,
        ends_s=time.time() + person.lasts_s,
        name=person.name,
        role=person.role,
        tenant=person.tenant,
    )


def _plane(method: str, url: str, *, kind: type[Any], **more: Any) -> Any:
    """Return what the control plane says of signing in."""
    answer = _sent(method, url + COMMANDS, **more)
    try:
        if answer.status_code == 200:
            return msgspec.json.decode(answer.content, type=kind)
        why = msgspec.json.decode(answer.content, type=dict[str, Any]).get("detail")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FleetNotRunning(f"{url} answered {answer.status_code}, and not as a control plane does") from error
    sentence = str(why or f"{url} answered {answer.status_code}")
    raise FleetNotRunning(sentence) if answer.status_code >= 500 else SignInRefused(sentence)


def _sent(method: str, url: str, **more: Any) -> httpx.Response:
    try:
        return httpx.request(method, url, timeout=ANSWER_S, verify=trusted() if url.startswith("https:") else True, **more)
    except httpx.HTTPError as error:
        raise FleetNotRunning(f"{url} doesn't answer: {error or type(error).__name__}") from error
