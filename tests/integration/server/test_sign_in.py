"""People who sign in with their organisation's account: with a real OpenID provider, and with one that lies."""

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from oidc_server import HostileProvider, real_provider

from amas.engine.connection import Engine
from amas.errors import SettingInvalid
from amas.records.store import Records
from amas.server.oidc import People, safe_path
from amas.server.plane import ControlPlane
from amas.settings import OidcSettings, ServerSettings

from .conftest import FLEET, client_of
from .test_contract import problem_of

pytestmark = [pytest.mark.requirement("A15", "M8"), pytest.mark.xdist_group("sign-in")]  # one provider for all

HERE = "http://localhost:8000"
ROLES = "fleet-admins=system-admin, acme-dev=operator@acme"
SECRET = "the-client-s-own-secret"


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    with real_provider(f"{HERE}/auth/callback") as issuer:
        yield issuer


@pytest.fixture
def hostile() -> Iterator[HostileProvider]:
    with HostileProvider().running() as provider:
        yield provider


def people_of(issuer: str, **more: Any) -> OidcSettings:
    said = {"client_id": "amas", "client_secret": SECRET, "roles": ROLES, "scopes": "openid email groups", **more}
    return OidcSettings(issuer=issuer, **said)


@pytest.fixture
async def served(engine: Engine, records: Records, tmp_path: Path) -> AsyncIterator[Callable[[OidcSettings], ControlPlane]]:
    def serve(oidc: OidcSettings) -> ControlPlane:
        return ControlPlane(engine, records, FLEET, ServerSettings(public_url=HERE), tmp_path, oidc=oidc)

    yield serve


def form_of(page: httpx.Response) -> tuple[str, dict[str, str]]:
    """Return where a page's form goes, and what is filled in already."""
    action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
    assert action, page.text
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    return urljoin(str(page.url), unescape(action[1])), dict(hidden)


async def through_the_provider(url: str, name: str) -> str:
    """Sign in on the provider's own pages as a person would; return where that leads."""
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(url)
        for _ in range(12):
            if answer.is_redirect:
                url = urljoin(str(answer.url), answer.headers["location"])
                if url.startswith(HERE):
                    return url
                answer = await browser.get(url)
                continue
            assert answer.status_code == 200, answer.text
            action, hidden = form_of(answer)
            filled = {"login": name, "password": "any"} if 'name="login"' in answer.text else {}
            answer = await browser.post(action, data={**hidden, **filled})
    raise AssertionError("the provider doesn't send the browser back")


async def signed_in(client: httpx.AsyncClient, name: str, *, to: str = "/agents") -> httpx.Response:
    sent = await client.get("/auth/login", params={"next": to})
    assert sent.status_code == 302, sent.text
    return await client.get(await through_the_provider(sent.headers["location"], name))


async def test_a_person_signs_in_works_and_signs_out(real: str, served: Any) -> None:
    plane = served(people_of(real))
    async with client_of(plane) as client:
        assert (await client.get("/api/session")).json() == {"name": "", "role": "", "tenant": "", "sign_in": ["key", "oidc"]}
        assert problem_of(await client.get("/api/pools")).code == "token_needed", "a provider closes the door"
        back = await signed_in(client, "ada")
        assert (back.status_code, back.headers["location"]) == (302, "/agents")
        (cookie,) = [each for each in back.headers.get_list("set-cookie") if each.startswith("amas_session=")]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "amas_login" not in client.cookies
        who = (await client.get("/api/session")).json()
        assert (who["name"], who["role"], who["tenant"]) == ("ada@example.org", "system-admin", "")
        same = {"origin": HERE}
        assert (await client.post("/api/kill", json={"pool": "worker", "why": "a test"}, headers=same)).status_code == 200
        secret = client.cookies["amas_session"]
        assert (await client.delete("/api/session", headers=same)).status_code == 200
        client.cookies.set("amas_session", secret)
        assert problem_of(await client.get("/api/pools")).code == "token_needed"
    lines = [(line.who, line.kind, line.act, line.outcome) for line in reversed(plane.audit.newest(10))]
    assert lines[:2] == [
        ("ada@example.org", "oidc", "GET /auth/callback", 302),
        ("ada@example.org", "oidc", "POST /api/kill", 200),
    ]
    assert "code=" not in (plane.home / "audit" / "audit.jsonl").read_text()


async def test_groups_say_what_one_may(real: str, served: Any) -> None:
    plane = served(people_of(real))
    async with client_of(plane) as client:
        await signed_in(client, "bob")
        who = (await client.get("/api/session")).json()
        assert (who["name"], who["role"], who["tenant"]) == ("bob@example.org", "operator", "acme")
        assert problem_of(await client.get("/api/pools")).code == "role_insufficient"
    async with client_of(plane) as client:
        refused = await signed_in(client, "eve")
        assert (refused.status_code, problem_of(refused).code) == (403, "sign_in_refused")
        assert "set-cookie" not in refused.headers
        assert (await client.get("/api/session")).json()["name"] == ""
    (line,) = plane.audit.newest(1)
    assert (line.who, line.role, line.outcome) == ("eve@example.org", "", 403)


async def test_a_browser_shows_why_nobody_is_let_in(real: str, served: Any) -> None:
    plane = served(people_of(real))
    async with client_of(plane) as client:
        client.headers["accept"] = "text/html,*/*;q=0.8"
        refused = await signed_in(client, "eve")
        assert (refused.status_code, refused.headers["content-type"]) == (403, "text/html; charset=utf-8")
        assert "eve@example.org is in no group that may use this fleet" in unescape(refused.text)
        assert "default-src 'none'" in refused.headers["content-security-policy"]
        assert "set-cookie" not in refused.headers
        sent = await client.get("/auth/login")
        state = parse_qs(urlsplit(sent.headers["location"]).query)["state"][0]
        lied = await client.get("/auth/callback", params={"state": state, "error": "<script>alert(1)</script>"})
        assert (lied.status_code, lied.headers["content-type"]) == (403, "text/html; charset=utf-8")
        assert "alert" in lied.text
        assert "<script" not in lied.text
    (line,) = plane.audit.newest(1)
    assert (line.who, line.outcome) == ("eve@example.org", 403)


async def test_a_session_ends_when_who_may_sign_in_is_set_anew(real: str, served: Any) -> None:
    async with client_of(served(people_of(real))) as client:
        await signed_in(client, "ada")
        cookie = client.cookies["amas_session"]
    for changed, name in ((people_of(real), "ada@example.org"), (people_of(real, roles="ops=viewer"), ""), (OidcSettings(), "")):
        async with client_of(served(changed)) as client:
            client.cookies.set("amas_session", cookie)
            assert (await client.get("/api/session")).json()["name"] in (name, *(["local"] if not changed.issuer else []))


async def test_only_the_browser_that_went_can_come_back_and_once(real: str, served: Any) -> None:
    plane = served(people_of(real))
    async with client_of(plane) as victim, client_of(plane) as attacker:
        sent = await attacker.get("/auth/login")
        back = await through_the_provider(sent.headers["location"], "ada")
        for begun in (False, True):  # the attacker's own sign-in, slipped to somebody else
            if begun:
                await victim.get("/auth/login")
            refused = await victim.get(back)
            assert problem_of(refused).code == "sign_in_refused"
            assert "amas_session" not in victim.cookies
        kept = attacker.cookies["amas_login"]
        assert (await attacker.get(back)).status_code == 302
        attacker.cookies.clear()
        attacker.cookies.set("amas_login", kept)
        assert problem_of(await attacker.get(back)).code == "sign_in_refused", "a code counts once"
        assert "amas_session" not in attacker.cookies


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/%0d%0aset-cookie:x",
        "/a\r\nb",
        "javascript:alert(1)",
        "",
        "/a#b",
    ],
)
async def test_nobody_is_sent_elsewhere_from_here(path: str) -> None:
    assert safe_path(path) in ("/", path if path.startswith("/%") else "/")


async def test_what_is_asked_of_the_provider(hostile: HostileProvider, served: Any) -> None:
    async with client_of(served(people_of(hostile.issuer))) as client:
        one, other = [await client.get("/auth/login", params={"next": "//evil.example"}) for _ in range(2)]
        asked = parse_qs(urlsplit(one.headers["location"]).query)
        again = parse_qs(urlsplit(other.headers["location"]).query)
        assert {name: asked[name] for name in ("response_type", "client_id", "redirect_uri", "code_challenge_method")} == {
            "response_type": ["code"],
            "client_id": ["amas"],
            "redirect_uri": [f"{HERE}/auth/callback"],
            "code_challenge_method": ["S256"],
        }
        assert all(asked[name] != again[name] for name in ("state", "nonce", "code_challenge"))
        (cookie,) = one.headers.get_list("set-cookie")
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert not any(asked[name][0] in cookie for name in ("state", "nonce", "code_challenge"))
        hostile.token = lambda: id_token(hostile, again["nonce"][0])
        back = await client.get("/auth/callback", params={"code": "c", "state": again["state"][0]})
        assert (back.status_code, back.headers["location"]) == (302, "/")
        (form,) = hostile.forms
        assert form["code"] == ["c"]
        assert len(form["code_verifier"][0]) >= 43


def id_token(provider: HostileProvider, its_nonce: str, *, key: Any = None, alg: str = "RS256", **changes: Any) -> str:
    now_s = int(time.time())
    claims = {
        "iss": provider.issuer,
        "aud": "amas",
        "sub": "ada",
        "nonce": its_nonce,
        "iat": now_s,
        "exp": now_s + 300,
        "groups": ["fleet-admins"],
        **changes,
    }
    said = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": "k1"}, said, key or provider.key, algorithms=[alg])


NOW = int(time.time())
STRANGER = RSAKey.generate_key(2048)
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another nonce": ({"nonce": "another"}, "another sign-in's"),
    "no nonce": ({"nonce": None}, "another sign-in's"),
    "another audience": ({"aud": "somebody"}, "another audience"),
    "an audience too many": ({"aud": ["amas", "somebody"]}, "another client"),
    "another client": ({"aud": ["amas", "somebody"], "azp": "somebody"}, "another client"),
    "another issuer": ({"iss": "https://elsewhere.example"}, "another issuer's"),
    "expired": ({"iat": NOW - 7200, "exp": NOW - 3600}, "expired"),
    "from the future": ({"iat": NOW + 36000, "exp": NOW + 72000}, "from the future"),
    "without an end": ({"exp": None}, "from when to when"),
    "an end that is no time": ({"exp": "never"}, "from when to when"),
    "nobody": ({"sub": None}, "names nobody"),
    "a name of several lines": ({"sub": "ada\nroot"}, "can't be taken"),
}


@pytest.mark.parametrize("lie", [*LIES, "another key", "no signature", "the client's secret", "nonsense", "nothing"])
async def test_a_provider_s_lies_let_nobody_in(hostile: HostileProvider, served: Any, lie: str) -> None:
    changes, why = LIES.get(lie, ({}, "isn't signed by the provider"))
    async with client_of(served(people_of(hostile.issuer))) as client:
        asked = parse_qs(urlsplit((await client.get("/auth/login")).headers["location"]).query)
        good = id_token(hostile, asked["nonce"][0], **changes)
        hostile.token = lambda: {
            "another key": id_token(hostile, asked["nonce"][0], key=STRANGER),
            "no signature": good.rpartition(".")[0] + ".",
            "the client's secret": id_token(hostile, asked["nonce"][0], key=OctKey.import_key(SECRET * 2), alg="HS256"),
            "nonsense": "a.b.c",
            "nothing": "",
        }.get(lie, good)
        answer = await client.get("/auth/callback", params={"code": "c", "state": asked["state"][0]})
        assert problem_of(answer).code == "sign_in_refused"
        assert why in problem_of(answer).detail
        assert "amas_session" not in client.cookies


@pytest.mark.parametrize(
    "said",
    [
        {"error": "access_denied"},
        {"code": "c", "iss": "https://elsewhere.example"},
        {"code": "c", "state": "another"},
        {"code": "c", "state": ""},
        {},
    ],
)
async def test_what_comes_back_without_a_sound_code_is_refused(
    hostile: HostileProvider, served: Any, said: dict[str, str]
) -> None:
    async with client_of(served(people_of(hostile.issuer))) as client:
        asked = parse_qs(urlsplit((await client.get("/auth/login")).headers["location"]).query)
        answer = await client.get("/auth/callback", params={"state": asked["state"][0], **said})
        assert (answer.status_code, problem_of(answer).code) == (403, "sign_in_refused")
        assert not hostile.forms, "the code goes to nobody"


async def test_a_provider_that_is_away_or_another_is_named(hostile: HostileProvider, served: Any) -> None:
    hostile.told = {"issuer": "https://elsewhere.example"}
    async with client_of(served(people_of(hostile.issuer))) as client:
        answer = await client.get("/auth/login")
        assert (answer.status_code, problem_of(answer).code) == (503, "provider_failed")
        assert "elsewhere" in problem_of(answer).detail
    async with client_of(served(people_of("http://127.0.0.1:1"))) as client:
        assert problem_of(await client.get("/auth/login")).code == "provider_failed"
        assert (await client.get("/health")).status_code == 200


async def test_without_a_provider_nobody_is_sent_anywhere(client: httpx.AsyncClient) -> None:
    for path in ("/auth/login", "/auth/callback?code=c&state=s"):
        assert problem_of(await client.get(path)).code == "oidc_off"
    assert (await client.get("/api/session")).json()["sign_in"] == ["key"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issuer": "http://login.example"}, "https"),
        ({"client_id": ""}, "AMAS_OIDC_CLIENT_ID"),
        ({"roles": ""}, "AMAS_OIDC_ROLES"),
    ],
)
def test_settings_that_let_nobody_in_or_anybody_listen_are_refused(changes: dict[str, str], why: str) -> None:
    sound = people_of("https://login.example")
    with pytest.raises(SettingInvalid, match=why):
        msgspec.structs.replace(sound, **changes)


def test_people_must_be_able_to_come_back() -> None:
    with pytest.raises(SettingInvalid, match="AMAS_PUBLIC_URL"):
        People(people_of("https://login.example"), "")
    with pytest.raises(SettingInvalid, match="AMAS_OIDC_ROLES"):
        People(people_of("https://login.example", roles="ops=root"), HERE)
