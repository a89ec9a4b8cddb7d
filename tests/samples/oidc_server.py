"""A real OpenID provider for tests (npm's oidc-provider), and one in Python that says whatever a test has it say."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from http_served import Whole, bound, running
from joserfc.jwk import RSAKey

LOCKED = Path(__file__).parent / "oidc"
FOLDER = Path(__file__).parents[2] / "build" / "oidc"
INSTALL_S = 300


def installed() -> Path:
    """Return the folder with the provider, installed as the lock file says where it wasn't; skip where that can't be done."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("there is no node with npm on this machine, which the OpenID provider needs")
    lock, done = "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"  # npm writes the latter at the end
    if not done.exists() or (FOLDER / lock).read_bytes() != (LOCKED / lock).read_bytes():
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", lock, ".npmrc"):
            shutil.copy(LOCKED / name, FOLDER)
        command = ["npm", "ci", "--silent", "--prefer-offline"]
        ended = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if ended.returncode:
            pytest.skip(f"npm can't install the OpenID provider: {ended.stderr.strip()[-200:]}")
    return FOLDER


@contextmanager
def real_provider(redirect: str) -> Iterator[str]:
    """Run a provider that sends people back to `redirect`; yield its issuer."""
    command = ["node", str(Path(__file__).parent / "oidc" / "provider.mjs"), str(installed()), redirect]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as node:
        assert node.stdout is not None
        try:
            yield node.stdout.readline().strip()
        finally:
            node.kill()


@cache
def _key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})


class HostileProvider:
    """Answers to everything as a provider would, with the ID token that `token` makes of the sign-in's nonce."""

    def __init__(self) -> None:
        self.key = _key()
        self.told: dict[str, Any] = {}
        """What its discovery document says otherwise."""
        self.token: Any = lambda: ""
        self.forms: list[dict[str, list[str]]] = []
        provider = self

        class Handler(Whole):
            def _answer(self, said: dict[str, Any], status: int = 200) -> None:
                self.say(status, msgspec.json.encode(said))

            def do_GET(self) -> None:
                if self.path == "/jwks":
                    self._answer({"keys": [provider.key.as_dict(private=False)]})
                    return
                about = {name: f"{provider.issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
                self._answer({"issuer": provider.issuer, **about, "jwks_uri": f"{provider.issuer}/jwks", **provider.told})

            def do_POST(self) -> None:
                provider.forms.append(parse_qs(self.read().decode()))
                self._answer({"access_token": "x", "token_type": "Bearer", "id_token": provider.token()})

        self._http = bound(Handler)
        self.issuer = f"http://127.0.0.1:{self._http.server_port}"

    @contextmanager
    def running(self) -> Iterator["HostileProvider"]:
        with running(self._http):
            yield self
