"""`k8s:[namespace/]secret#key`: a key of a Kubernetes Secret, mounted into the pod, or asked of the cluster's API.

Mounted ones come first, `<AMAS_SECRETS_FOLDER>/<secret>/<key>`: they need no right to read Secrets, and the kubelet renews them.
The API is asked as the pod's service account, whose token and certificates are read anew each time, since they rotate.
Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/
"""

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path

from amas.errors import SecretUnreadable
from amas.secrets.talk import Place, as_object

_REFERENCE = re.compile(r"k8s:(?:([a-z0-9][a-z0-9-]{0,62})/)?([a-z0-9][a-z0-9.-]{0,252})#([A-Za-z0-9_-][A-Za-z0-9._-]{0,252})")
_WHO = "let its service account `get` this Secret by a Role, or mount it"


def read_kubernetes(reference: str, *, environ: Mapping[str, str], mounted: Path, account: Path) -> str:
    """Return what a key of a Secret holds; SecretUnreadable where that can't be had."""
    if (parts := _REFERENCE.fullmatch(reference)) is None:
        raise SecretUnreadable(reference, "must be k8s:secret#key or k8s:namespace/secret#key")
    namespace, name, key = parts.groups()
    if not namespace and (found := _read(mounted / name / key)):
        return found
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = _read(account / "token").strip()
    if not host or not token:
        raise SecretUnreadable(
            reference, f"it isn't mounted as {mounted / name / key}, and this is no pod with a service account"
        )
    namespace = namespace or _read(account / "namespace").strip() or "default"
    authority = f"[{host}]" if ":" in host else host
    place = Place(f"https://{authority}:{port}", reference, {"authorization": f"Bearer {token}"}, str(account / "ca.crt"))
    said = place.ask("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
    match said.status:
        case 200:
            pass
        case 401 | 403:
            raise SecretUnreadable(reference, f"the cluster doesn't let this pod read it: {_WHO}")
        case 404:
            raise SecretUnreadable(reference, f"the namespace {namespace} has no Secret {name}: create it")
        case status:
            raise SecretUnreadable(reference, f"the cluster's API answers {status}")
    held = as_object(said.body.get("data"))
    if key not in held:
        raise SecretUnreadable(reference, f"the Secret has no key {key}: it has {', '.join(sorted(held)) or 'none'}")
    try:
        return base64.b64decode(held[key], validate=True).decode()
    except (binascii.Error, ValueError, TypeError):
        raise SecretUnreadable(reference, "what it holds is no text") from None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
