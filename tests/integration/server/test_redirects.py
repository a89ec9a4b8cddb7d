"""Those whom secrets are sent to, who answer that somebody else should have them: a provider of sign-ins, and a vault."""

import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from http_served import Whole, running

from amas.errors import SecretUnreadable
from amas.secrets.vault import read_vault
from amas.server.oidc import People, ProviderFailed
from amas.settings import OidcSettings


class Server(ThreadingHTTPServer):
    """Answers by path with an object, or with a status that sends whoever asks elsewhere."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.elsewhere, self.status = "", 307

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(Whole):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.read()
        said = self.server.answers.get(urlsplit(self.path).path)
        if said is None:
            self.say(self.server.status, headers={"Location": self.server.elsewhere + self.path})
        else:
            self.say(200, json.dumps(said).encode())

    do_POST = do_GET


@pytest.fixture
def thief() -> Iterator[Server]:
    """Somebody on a private address who would like to be asked, and answers whatever is asked for."""
    server = Server()
    with running(server):
        yield server


@pytest.fixture
def trusted(thief: Server) -> Iterator[Server]:
    server = Server()
    with running(server):
        server.elsewhere = thief.url
        yield server


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("step", ["/.well-known/openid-configuration", "/token", "/keys"])
async def test_a_provider_sends_us_nowhere_else(trusted: Server, thief: Server, step: str, status: int) -> None:
    trusted.status = status
    endpoints = {"authorization_endpoint": "/auth", "token_endpoint": "/token", "jwks_uri": "/keys"}
    about = {"issuer": trusted.url, **{name: trusted.url + path for name, path in endpoints.items()}}
    trusted.answers = {"/.well-known/openid-configuration": about, "/token": {"id_token": "a.b.c"}, "/keys": {"keys": []}}
    del trusted.answers[step]
    secret = "the-client-s-secret"
    people = People(OidcSettings(issuer=trusted.url, client_id="amas", client_secret=secret, roles="*=viewer"), "http://here")

    async def signed_in() -> None:
        begun = await people.begin("/")
        state = parse_qs(urlsplit(begun.url).query)["state"][0]
        await people.finish({"state": state, "code": "a-code"}, begun.cookie)

    with pytest.raises(ProviderFailed) as failed:
        await signed_in()
    assert step in trusted.asked[-1] and thief.asked == []
    assert secret not in str(failed.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_vault_s_token_follows_no_redirect(trusted: Server, thief: Server, tmp_path: Path, status: int) -> None:
    """Real Vaults in standby answer 307: the address to name is the one that answers."""
    trusted.status = status
    environ = {"VAULT_ADDR": trusted.url, "VAULT_TOKEN": "hvs.the-token"}
    with pytest.raises(SecretUnreadable, match=f"Vault answers {status}, and a token follows nobody: set VAULT_ADDR") as refused:
        read_vault("vault:kv/openai#key", environ=environ, account=tmp_path)
    assert trusted.asked and thief.asked == [] and "hvs.the-token" not in str(refused.value)
