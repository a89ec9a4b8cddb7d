"""Those whom secrets are sent to, who answer that somebody else should have them: a provider of sign-ins, and a vault."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from amas.errors import SecretUnreadable
from amas.secrets.vault import read_vault
from amas.server.oidc import People, ProviderFailed
from amas.settings import OidcSettings


class Server(ThreadingHTTPServer):
    """Answers by path with an object, or with a status that sends whoever asks elsewhere."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.elsewhere, self.status = "", 307

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.rfile.read(int(self.headers.get("content-length", "0")))
        said = self.server.answers.get(urlsplit(self.path).path)
        self.send_response(200 if said is not None else self.server.status)
        body = b"" if said is None else json.dumps(said).encode()
        if said is None:
            self.send_header("Location", self.server.elsewhere + self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def thief() -> Iterator[Server]:
    """Somebody on a private address who would like to be asked, and answers whatever is asked for."""
    with running(Server()) as server:
        yield server


@pytest.fixture
def trusted(thief: Server) -> Iterator[Server]:
    with running(Server()) as server:
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
