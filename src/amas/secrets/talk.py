"""One request to a place that keeps secrets, over HTTPS or HTTP, bounded in time and size; for `vault.py` and `kubernetes.py`.

The standard library's client: a host needn't load another for a request an hour. Redirects aren't followed, so a token goes to
nobody but whom it is for, and no proxy of the environment's gets to see it.
"""

import http.client
import ssl
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from amas.errors import SecretUnreadable

TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 4 << 20
"""Kubernetes' and Vault's secrets are at most 1 MiB, in base64."""


class Said(NamedTuple):
    """An answer."""

    status: int
    body: Any
    """What its JSON says; {} where it says none."""


class Place(NamedTuple):
    """Whom to ask."""

    url: str
    reference: str
    """For errors."""
    headers: dict[str, str]
    authorities: str = ""
    """The file with the certificates that are trusted; "": the system's."""

    def ask(self, method: str, path: str, said: Any = None) -> Said:
        """Return the answer to one request; SecretUnreadable where there is none."""
        parts = urlsplit(self.url)
        try:
            connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
            try:
                body = None if said is None else msgspec.json.encode(said)
                connection.request(
                    method, f"{parts.path.rstrip('/')}{path}", body, {"accept": "application/json", **self.headers}
                )
                answer = connection.getresponse()
                read = answer.read(ANSWER_BYTES_MAX)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            where = f"{parts.scheme}://{parts.hostname}"
            raise SecretUnreadable(self.reference, f"{where} doesn't answer: {error or type(error).__name__}") from None
        try:
            return Said(answer.status, msgspec.json.decode(read) if read else {})
        except msgspec.DecodeError:
            return Said(answer.status, {})

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        if scheme != "https":
            raise ValueError("its address must begin with https:// or http://")
        context = ssl.create_default_context(cafile=self.authorities or None)
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
