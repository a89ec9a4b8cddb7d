"""`vault:path#field`: a field of a secret in HashiCorp Vault's KV store, version 1 or 2, over its HTTP API.

Vault's own variables say how: VAULT_ADDR, VAULT_TOKEN (or AMAS_VAULT_TOKEN_FILE, as Vault's agent writes one), VAULT_NAMESPACE,
VAULT_CACERT. Without a token, the pod's service account logs in to the Kubernetes auth method as AMAS_VAULT_ROLE, mounted at
AMAS_VAULT_AUTH (`kubernetes`); such a token is used for one reading and revoked after it. Which version a mount has is asked as
Vault's own command line does.
Sources: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2, .../kv-v1, .../auth/kubernetes
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from amas.errors import SecretUnreadable
from amas.secrets.talk import Place, Said, as_object

_REFERENCE = re.compile(r"vault:([\w.-]+(?:/[\w.-]+)+)#([\w.-]+)")


def read_vault(reference: str, *, environ: Mapping[str, str], account: Path) -> str:
    """Return what a field of a secret holds; SecretUnreadable where that can't be had."""
    if (parts := _REFERENCE.fullmatch(reference)) is None or ".." in parts[1]:
        raise SecretUnreadable(reference, "must be vault:mount/path#field")
    path, field = parts[1], parts[2]
    place, leased = _logged_in(_place(reference, environ), environ, account)
    try:
        held = _fields(place, path)
    finally:
        if leased:  # else each reading would leave a lease in Vault, for weeks
            with suppress(SecretUnreadable):
                place.ask("POST", "/v1/auth/token/revoke-self")
    if field not in held:
        raise SecretUnreadable(reference, f"the secret has no field {field}: it has {', '.join(sorted(held)) or 'none'}")
    found = held[field]
    return found if isinstance(found, str) else msgspec.json.encode(found).decode()


def _fields(place: Place, path: str) -> dict[str, Any]:
    mounted = place.ask("GET", f"/v1/sys/internal/ui/mounts/{path}")
    if mounted.status != 404:  # as a Vault from before version 2 says
        mount = as_object(_good(mounted, place.reference).get("data"))
        at = str(mount.get("path", ""))
        if as_object(mount.get("options")).get("version") == "2":
            said = _good(place.ask("GET", f"/v1/{at}data/{path.removeprefix(at)}"), place.reference)
            return as_object(as_object(said.get("data")).get("data"))
    return as_object(_good(place.ask("GET", f"/v1/{path}"), place.reference).get("data"))


def _place(reference: str, environ: Mapping[str, str]) -> Place:
    if not (address := environ.get("VAULT_ADDR", "")):
        raise SecretUnreadable(reference, "VAULT_ADDR isn't set: set it to Vault's address, such as https://vault:8200")
    headers = {"x-vault-request": "true"}
    if namespace := environ.get("VAULT_NAMESPACE", ""):
        headers["x-vault-namespace"] = namespace
    return Place(address, reference, headers, environ.get("VAULT_CACERT", ""))


def _logged_in(place: Place, environ: Mapping[str, str], account: Path) -> tuple[Place, bool]:
    """Return the place with a token, and whether that was made for this reading."""
    token, leased = environ.get("VAULT_TOKEN", "").strip(), False
    try:
        if not token and (file := environ.get("AMAS_VAULT_TOKEN_FILE", "")):
            token = Path(file).read_text().strip()
        elif not token and (role := environ.get("AMAS_VAULT_ROLE", "")):
            jwt = (account / "token").read_text().strip()
            at = environ.get("AMAS_VAULT_AUTH", "") or "kubernetes"
            said = _good(place.ask("POST", f"/v1/auth/{at}/login", {"role": role, "jwt": jwt}), place.reference)
            token, leased = str(as_object(said.get("auth")).get("client_token") or ""), True
    except OSError as error:
        raise SecretUnreadable(place.reference, f"{error.filename} can't be read: {error.strerror}") from None
    if not token:
        raise SecretUnreadable(
            place.reference, "there is no token for Vault: set VAULT_TOKEN, AMAS_VAULT_TOKEN_FILE, or AMAS_VAULT_ROLE in a pod"
        )
    return place._replace(headers={**place.headers, "x-vault-token": token}), leased


def _good(said: Said, reference: str) -> dict[str, Any]:
    """Return an answer's body; SecretUnreadable says what a refusal means."""
    match said.status:
        case 200:
            return said.body
        case 400 | 403:
            raise SecretUnreadable(reference, "Vault denies it: let the token's policy `read` this path, or renew the token")
        case 404:
            raise SecretUnreadable(reference, "Vault has no such secret: write it, or mend the path")
        case 301 | 302 | 303 | 307 | 308:
            why = f"Vault answers {said.status}, and a token follows nobody: set VAULT_ADDR to the address that it sends to"
            raise SecretUnreadable(reference, why)
        case 503:
            raise SecretUnreadable(reference, "Vault is sealed or in maintenance: unseal it, then this goes on by itself")
        case status:
            raise SecretUnreadable(reference, f"Vault answers {status}")
