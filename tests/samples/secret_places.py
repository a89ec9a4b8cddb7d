"""Servers that speak the documented API of Vault's KV store and of Kubernetes' Secrets, over HTTP and TLS."""

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from http_served import Whole, running

from amas.policy.certs import make_certificates

VAULT_TOKEN = "hvs.the-token-for-tests"
POD_TOKEN = "eyJ.the-pods-token"


class Keeper(ThreadingHTTPServer):
    """What it answers, and what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secrets: dict[str, dict[str, Any]] = {}
        """Vault: the whole path -> its fields. Kubernetes: `namespace/secret` -> its keys."""
        self.sealed = False
        self.asked: list[str] = []
        self.kubernetes = False
        self.answers: dict[str, Any] = {}
        """What is said in the place of the truth, by the path's beginning."""
        self.sends_to: tuple[int, str] | None = None
        """A status and an address by which whoever asks is sent elsewhere."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(Whole):
    server: Keeper

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.sends_to:
            status, where = self.server.sends_to
            self.say(status, headers={"Location": where})
            return
        self._say(*(_kubernetes(self) if self.server.kubernetes else _vault(self)))

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/v1/auth/token/revoke-self":
            self._say(*((204, None) if self.headers["x-vault-token"] == VAULT_TOKEN else (403, {"errors": []})))
            return
        said = json.loads(self.read())
        good = self.path == "/v1/auth/kubernetes/login" and said == {"role": "amas", "jwt": POD_TOKEN}
        self._say(*((200, {"auth": {"client_token": VAULT_TOKEN}}) if good else (403, {"errors": ["permission denied"]})))

    def _say(self, status: int, body: Any) -> None:
        body = next((said for path, said in self.server.answers.items() if self.path.startswith(path)), body)
        self.say(status, b"" if body is None else json.dumps(body).encode())


def _vault(asked: _Handler) -> tuple[int, Any]:
    keeper, path = asked.server, asked.path.removeprefix("/v1/")
    if keeper.sealed:
        return 503, {"errors": ["Vault is sealed"]}
    if asked.headers["x-vault-token"] != VAULT_TOKEN or asked.headers["x-vault-request"] != "true":
        return 403, {"errors": ["permission denied"]}
    if path.startswith("sys/internal/ui/mounts/"):
        mount = path.removeprefix("sys/internal/ui/mounts/").split("/")[0]
        options = {"version": "2"} if mount == "kv" else None
        return 200, {"data": {"path": f"{mount}/", "type": "kv", "options": options}}
    if path.startswith("kv/data/"):
        found = keeper.secrets.get(path.replace("kv/data/", "kv/", 1))
        return (200, {"data": {"data": found, "metadata": {"version": 3}}}) if found else (404, {"errors": []})
    found = keeper.secrets.get(path)
    return (200, {"data": found, "lease_duration": 2764800}) if found and not path.startswith("kv/") else (404, {"errors": []})


def _kubernetes(asked: _Handler) -> tuple[int, Any]:
    if asked.headers["authorization"] != f"Bearer {POD_TOKEN}":
        return 403, {"kind": "Status", "code": 403}
    _, _, _, _, namespace, _, name = asked.path.split("/")
    found = asked.server.secrets.get(f"{namespace}/{name}")
    if found is None:
        return 404, {"kind": "Status", "code": 404}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in found.items()}
    return 200, {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}, "data": data}


@contextmanager
def vault_server() -> Iterator[Keeper]:
    """A Vault, with KV version 2 at `kv/` and version 1 everywhere else."""
    keeper = Keeper()
    with running(keeper):
        yield keeper


@contextmanager
def kubernetes_server(folder: Path) -> Iterator[tuple[Keeper, dict[str, str]]]:
    """A cluster's API over TLS, with the pod's environment; its service account is in `folder`."""
    make_certificates(folder / "certs", ["127.0.0.1"])
    (folder / "token").write_text(POD_TOKEN)
    (folder / "namespace").write_text("agents")
    (folder / "ca.crt").write_bytes((folder / "certs" / "ca.pem").read_bytes())
    keeper = Keeper()
    keeper.kubernetes = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certs" / "server.pem", folder / "certs" / "server.key")
    keeper.socket = context.wrap_socket(keeper.socket, server_side=True)
    with running(keeper):
        port = str(keeper.server_address[1])
        yield keeper, {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
