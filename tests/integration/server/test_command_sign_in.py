"""People who sign in for their commands: at a real OpenID provider by device code and by browser, and at one that lies."""

import asyncio
import re
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import msgspec
import pytest
from http_served import Whole, bound, running
from oidc_server import HostileProvider, real_provider

from amas import rest
from amas.cli.api import Api, Refused, home_at
from amas.engine.connection import Engine
from amas.errors import FleetNotRunning, ProviderFailed, SettingInvalid, SignInRefused
from amas.records.store import Records
from amas.server.oidc import People
from amas.server.plane import ControlPlane
from amas.settings import OidcSettings, ServerSettings
from amas.signin import SignedIn, session
from amas.signin.kept import SignIns
from amas.signin.provider import Ask, Provider

from .conftest import FLEET, WORK, client_of
from .test_contract import problem_of
from .test_serve import serving
from .test_sign_in import HERE, LIES, NOW, ROLES, SECRET, STRANGER, form_of, id_token

pytestmark = [pytest.mark.requirement("A15", "M8"), pytest.mark.xdist_group("sign-in")]  # one provider for all


def no_pause(_: float) -> None:
    """Let nobody wait."""


def settings_of(issuer: str, **more: Any) -> OidcSettings:
    said = {"client_id": "amas", "client_secret": SECRET, "roles": ROLES, "scopes": "openid email groups", "cli_id": "amas-cli"}
    return OidcSettings(issuer=issuer, **{**said, **more})


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    with real_provider(f"{HERE}/auth/callback") as issuer:
        yield issuer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMAS_HOME", str(tmp_path / "mine"))
    return tmp_path / "mine"


@pytest.fixture
async def serve(engine: Engine, records: Records, tmp_path: Path) -> AsyncIterator[Callable[[OidcSettings], ControlPlane]]:
    def made(oidc: OidcSettings) -> ControlPlane:
        server = ServerSettings(public_url=HERE, port=0, metrics_port=0)
        return ControlPlane(engine, records, FLEET, server, tmp_path / "home", oidc=oidc)

    yield made


def as_person(url: str, name: str) -> httpx.Response:
    """Do on the provider's pages what a person does who has been asked to open `url`; end at a page without a form."""
    with httpx.Client(timeout=60) as browser:
        answer = browser.get(url)
        for _ in range(16):
            if answer.is_redirect:
                answer = browser.get(urljoin(str(answer.url), answer.headers["location"]))
                continue
            if "<form" not in answer.text:
                return answer
            action, hidden = form_of(answer)
            filled = {"login": name, "password": "any"} if 'name="login"' in answer.text else {}
            answer = browser.post(action, data={**hidden, **filled})
    raise AssertionError("the provider doesn't come to an end")


class Person:
    """Does in a thread what a command asks of a person."""

    def __init__(self, name: str) -> None:
        self.name, self.asked, self._threads = name, list[Ask](), list[threading.Thread]()

    def __call__(self, ask: Ask) -> None:
        self.asked.append(ask)
        if ask.code:
            as_person(ask.complete, self.name)
            return
        thread = threading.Thread(target=as_person, args=(ask.url, self.name))  # the command waits for it
        thread.start()
        self._threads.append(thread)

    def done(self) -> None:
        for thread in self._threads:
            thread.join(60)


@pytest.mark.parametrize("browser", [False, True])
async def test_a_person_signs_in_for_their_commands_and_out_again(
    real: str, serve: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, browser: bool
) -> None:
    plane, person = serve(settings_of(real)), Person("ada")
    async with serving(plane) as (port, _):
        url = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("AMAS_URL", url + "/")
        with pytest.raises(Refused) as refused:
            await asyncio.to_thread(Api.of(home_at(None)).get, "/api/pools")
        assert refused.value.status == 401
        kept = await asyncio.to_thread(session.login, url, person, browser=browser, pause=no_pause)
        person.done()
        assert (kept.name, kept.role, kept.tenant) == ("ada@example.org", "system-admin", "")
        assert kept.refresh_token
        assert bool(person.asked[0].code) is not browser
        file = folder / "signed-in.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        api = Api.of(home_at(None))
        assert (await asyncio.to_thread(api.get, "/api/session"))["name"] == "ada@example.org"
        with pytest.raises(FleetNotRunning):  # another data folder that is named means what runs there
            Api.of(home_at(folder / "another"))

        held = SignIns(folder)
        held.put(url, msgspec.structs.replace(kept, ends_s=0.0))
        async with rest.AsyncClient(url, auth=SignedIn(url)) as client:  # renews it
            assert (await client.access.whoami()).name == "ada@example.org"
        fresh = held.get(url)
        assert fresh is not None
        assert fresh.token != kept.token
        assert fresh.refresh_token != kept.refresh_token, "the provider gives a new one each time"
        with rest.Client(url, auth=SignedIn(url)) as waiting:
            assert (await asyncio.to_thread(waiting.access.whoami)).role == "system-admin"

        assert await asyncio.to_thread(session.logout, url)
        assert not await asyncio.to_thread(session.logout, url)
        assert file.read_bytes().strip() == b"{}"
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.get(f"{url}/api/pools", headers={"authorization": f"Bearer {fresh.token}"})
            assert answer.status_code == 401, "it has ended there, too"
        with pytest.raises(SignInRefused, match="ended your sign-in"):
            await asyncio.to_thread(Provider(real, "amas-cli", "openid").renewed, fresh.refresh_token)
        with pytest.raises(SignInRefused, match="amas login"):
            await asyncio.to_thread(rest.Client(url, auth=SignedIn(url)).access.whoami)
    acts = [(line.who, line.act, line.outcome) for line in plane.audit.newest(20)]
    assert ("ada@example.org", "POST /auth/commands", 200) in acts


async def test_who_is_in_no_group_gets_nothing_and_two_commands_renew_once(real: str, serve: Any, folder: Path) -> None:
    async with serving(serve(settings_of(real))) as (port, _):
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(SignInRefused, match="is in no group"):
            await asyncio.to_thread(session.login, url, Person("eve"), browser=False, pause=no_pause)
        assert SignIns(folder).get(url) is None
        kept = await asyncio.to_thread(session.login, url, Person("bob"), browser=False, pause=no_pause)
        assert (kept.role, kept.tenant) == ("operator", "acme")
        SignIns(folder).put(url, msgspec.structs.replace(kept, ends_s=0.0))
        found = await asyncio.gather(*(asyncio.to_thread(session.token, url) for _ in range(4)))
        assert len({*found}) == 1, "a refresh token counts once: four at a time would have signed each other out"
        SignIns(folder).put(url, msgspec.structs.replace(kept, ends_s=0.0))
        with pytest.raises(SignInRefused, match="sign in again with `amas login"):
            await asyncio.to_thread(session.token, url)  # with a refresh token that was used


class Liar(HostileProvider):
    """Lets commands in as a provider would, but for what a test has it say."""

    def __init__(self) -> None:
        super().__init__()
        self.polls: list[tuple[int, dict[str, Any]]] = []
        """What the token endpoint answers, one after the other; then tokens."""
        self.device: dict[str, Any] = {}
        provider, base = self, self._http.RequestHandlerClass
        about = {name: f"{self.issuer}/{name}" for name in ("device_authorization_endpoint", "revocation_endpoint")}
        self.told = about

        class Handler(base):  # type: ignore[misc, valid-type]
            def do_POST(self) -> None:
                if self.path == "/device_authorization_endpoint":
                    provider.forms.append(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                    codes = {"device_code": "d", "user_code": "WDJB-MJHT", "verification_uri": "https://login.example/device"}
                    self._answer({**codes, "expires_in": 600, **provider.device})
                elif provider.polls:
                    provider.forms.append(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                    status, said = provider.polls.pop(0)
                    self._answer(said, status)
                else:
                    super().do_POST()

        self._http.RequestHandlerClass = Handler


@pytest.fixture
def liar() -> Iterator[Liar]:
    made = Liar()
    with made.running():
        yield made


def no(error: str) -> tuple[int, dict[str, Any]]:
    return 400, {"error": error}


def test_the_provider_is_asked_as_often_as_it_says(liar: Liar) -> None:
    pauses: list[float] = []
    asked: list[Ask] = []
    liar.device = {"interval": 2}
    liar.polls = [no("authorization_pending"), no("slow_down"), (503, {"error": "busy"}), no("authorization_pending")]
    tokens = Provider(liar.issuer, "amas-cli", "openid", pause=pauses.append).by_device(asked.append)
    assert tokens.access_token == "x"
    assert pauses == [2, 2, 7, 14, 14]
    assert asked == [Ask("https://login.example/device", "WDJB-MJHT", "")]
    assert liar.forms[0] == {"client_id": ["amas-cli"], "scope": ["openid"]}
    grant = {"grant_type": ["urn:ietf:params:oauth:grant-type:device_code"], "device_code": ["d"], "client_id": ["amas-cli"]}
    assert liar.forms[-1] == grant


@pytest.mark.parametrize(
    ("device", "polls", "why"),
    [
        ({}, [no("access_denied")], "access_denied"),
        ({}, [no("expired_token")], "expired_token"),
        ({}, [no("\x1b]0;owned\x07")], r"in: \?\?0\?owned"),
        ({"expires_in": 12}, [no("authorization_pending")] * 9, "in time"),
        ({"expires_in": 1e300, "interval": 900}, [no("authorization_pending")] * 9, "in time"),
    ],
)
def test_a_sign_in_that_nobody_finishes_ends(liar: Liar, device: dict[str, Any], polls: Any, why: str) -> None:
    liar.device, liar.polls = device, polls
    with pytest.raises(SignInRefused, match=why):
        Provider(liar.issuer, "amas-cli", "openid", pause=no_pause).by_device(lambda _: None)


@pytest.mark.parametrize(
    "device",
    [
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "https://login.example/\x1b[2J"},
        {"user_code": "\x1b]8;;https://evil.example\x07"},
        {"user_code": ""},
        {"expires_in": "soon"},
        {"device_code": None},
    ],
)
def test_what_a_terminal_or_a_person_could_be_fooled_by_isn_t_shown(liar: Liar, device: dict[str, Any]) -> None:
    liar.device = device
    shown: list[Ask] = []
    with pytest.raises(ProviderFailed):
        Provider(liar.issuer, "amas-cli", "openid", pause=no_pause).by_device(shown.append)
    assert shown == []


def test_a_provider_that_is_another_or_could_be_listened_to_gets_nothing(liar: Liar) -> None:
    for told, why in (
        ({"issuer": "https://elsewhere.example"}, "says that it is https://elsewhere.example"),
        ({"token_endpoint": 7}, "can't be taken"),
    ):
        liar.told = told
        with pytest.raises(ProviderFailed, match=why):
            Provider(liar.issuer, "amas-cli", "openid")
    liar.told = {"device_authorization_endpoint": "http://login.example/device"}
    with pytest.raises(ProviderFailed, match="isn't safe"):
        Provider(liar.issuer, "amas-cli", "openid").by_device(lambda _: None)
    with pytest.raises(ProviderFailed, match="https"):
        Provider("http://login.example", "amas-cli", "openid")
    assert liar.forms == []


def test_a_browser_that_comes_back_with_another_s_answer_isn_t_taken(liar: Liar) -> None:
    def slip(ask: Ask) -> None:
        asked = parse_qs(urlsplit(ask.url).query)
        state, redirect = asked["state"][0], asked["redirect_uri"][0]
        assert asked["code_challenge_method"] == ["S256"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", redirect)

        def come() -> None:
            tried = ({"code": "theirs", "state": "theirs"}, {"code": "theirs"}, {"code": "c", "state": state})
            answers.extend(httpx.get(redirect, params=said, timeout=60).status_code for said in tried)

        thread = threading.Thread(target=come)
        thread.start()
        threads.append(thread)

    answers: list[int] = []
    threads: list[threading.Thread] = []
    liar.token = lambda: id_token(liar, "another sign-in's", aud="amas-cli")
    with pytest.raises(SignInRefused, match="answers another sign-in"):
        Provider(liar.issuer, "amas-cli", "openid").by_browser(slip)
    threads[0].join(60)
    assert answers == [404, 404, 200]
    (form,) = liar.forms
    assert form["code"] == ["c"]
    assert len(form["code_verifier"][0]) >= 43


LIES_TO_COMMANDS = {name: lie for name, lie in LIES.items() if "nonce" not in name} | {
    "for the page": ({"aud": "amas"}, "another audience"),
}


@pytest.mark.parametrize("lie", [*LIES_TO_COMMANDS, "another key", "nonsense", "nothing"])
async def test_tokens_that_aren_t_for_commands_let_nobody_in(liar: Liar, serve: Any, lie: str) -> None:
    changes, why = LIES_TO_COMMANDS.get(lie, ({}, "isn't signed by the provider"))
    if isinstance(changes.get("aud"), list):
        changes = {**changes, "aud": ["amas-cli", "somebody"]}
    good = id_token(liar, "", **{"aud": "amas-cli", **changes})
    shown = {"another key": id_token(liar, "", aud="amas-cli", key=STRANGER), "nonsense": "a.b.c", "nothing": ""}.get(lie, good)
    async with client_of(serve(settings_of(liar.issuer))) as client:
        answer = await client.post("/auth/commands", json={"id_token": shown, "access_token": "x"})
        assert (answer.status_code, problem_of(answer).code) == (403, "sign_in_refused")
        assert why in problem_of(answer).detail


async def test_a_key_of_the_provider_s_that_is_gone_counts_no_more(
    liar: Liar, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = serve(settings_of(liar.issuer))
    said = {"id_token": id_token(liar, "", aud="amas-cli"), "access_token": "x"}
    async with client_of(plane) as client:
        assert (await client.post("/auth/commands", json=said)).json()["name"] == "ada"
        liar.key = STRANGER
        monkeypatch.setattr("amas.server.oidc.FRESH_S", 0.0)
        assert problem_of(await client.post("/auth/commands", json=said)).code == "sign_in_refused"


async def test_where_commands_can_t_sign_in_they_are_told_what_is_missing(serve: Any) -> None:
    for oidc, why in (
        (OidcSettings(), "AMAS_OIDC_ISSUER"),
        (settings_of("http://127.0.0.1:1", cli_id=""), "AMAS_OIDC_CLI_CLIENT_ID"),
    ):
        async with client_of(serve(oidc)) as client:
            answer = await client.get("/auth/commands")
            assert (answer.status_code, problem_of(answer).code) == (404, "oidc_off")
            assert why in problem_of(answer).detail
    public = People(settings_of("http://127.0.0.1:1", client_secret="", cli_id=""), HERE)
    assert public.commands == "amas", "a public client may be both"


def test_what_others_may_read_is_not_used(folder: Path) -> None:
    sign_ins = SignIns(folder)
    with sign_ins.held():
        sign_ins.put("https://fleet.example", None)
    file = folder / "signed-in.json"
    file.chmod(0o640)
    with pytest.raises(SignInRefused, match="others than you"):
        session.token("https://fleet.example")
    file.unlink()
    file.symlink_to(folder / "elsewhere")
    with pytest.raises(SignInRefused, match="can't be read"):
        session.token("https://fleet.example")


@pytest.mark.parametrize(
    "url", ["http://fleet.example", "ftp://fleet.example", "https://me@fleet.example", "https://fleet.example/a", ""]
)
def test_tokens_go_nowhere_that_others_could_listen(url: str) -> None:
    with pytest.raises(SettingInvalid):
        session.address(url)


@contextmanager
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []

    class Handler(Whole):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.say(200, b"{}")

    with running(bound(Handler)) as url:
        yield url, seen


async def test_a_sign_in_is_shown_to_the_control_plane_that_it_is_for_alone(liar: Liar, serve: Any, folder: Path) -> None:
    from amas.signin.kept import Kept

    url, far = "https://fleet.example", NOW + 10_000.0
    kept = Kept(issuer=liar.issuer, client_id="amas-cli", token="t", ends_s=far, name="ada", role="viewer", tenant="")
    sign_ins = SignIns(folder)
    with sign_ins.held():
        sign_ins.put(url, kept)
    with elsewhere() as (other, seen), httpx.Client(auth=SignedIn(url), timeout=60) as client:
        client.get(other)
        assert seen == [""]


async def test_a_stream_ends_with_the_sign_in_that_opened_it(liar: Liar, serve: Any) -> None:
    plane = serve(settings_of(liar.issuer))
    said = {"id_token": id_token(liar, "", aud="amas-cli"), "access_token": "x"}
    async with serving(plane) as (port, _), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        token = (await client.post("/auth/commands", json=said)).json()["token"]
        other = {"authorization": f"Bearer {(await client.post('/auth/commands', json=said)).json()['token']}"}
        async with asyncio.timeout(60):
            await plane.live.following.wait()
            async with client.stream("GET", "/api/events", headers={"authorization": f"Bearer {token}"}) as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "retry: 2000"
                await client.delete("/api/session", headers={"authorization": f"Bearer {token}"})
                await client.post("/api/tasks", json={"capability": WORK, "title": "a secret"}, headers=other)
                assert "a secret" not in "".join([line async for line in lines])
