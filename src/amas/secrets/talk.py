"""One request to a place that keeps secrets, over HTTPS or HTTP, bounded in time and size; for `vault.py` and `kubernetes.py`.

The standard library's client: a host needn't load another for a request an hour. Redirects aren't followed, so a token goes to
nobody but whom it is for, and no proxy of the environment's gets to see it.
"""

import http.client
import socket
import ssl
from contextlib import suppress
from threading import Timer
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
    body: dict[str, Any]
    """The object that its JSON is; {} where it is none."""


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
        connection = self._connection()
        end = Timer(TIMEOUT_S, connection.cut)  # a socket's own time-out counts from the last byte
        end.start()
        try:
            body = None if said is None else msgspec.json.encode(said)
            at = urlsplit(self.url).path.rstrip("/")
            connection.request(method, f"{at}{path}", body, {"accept": "application/json", **self.headers})
            answer = connection.getresponse()
            read = answer.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
            raise SecretUnreadable(self.reference, f"{connection.host} doesn't answer: {why}") from None
        except ValueError:  # its text has what was to be sent, the token
            why = "what it is to be sent, such as the token, has characters that no HTTP header may have: mend that"
            raise SecretUnreadable(self.reference, f"{connection.host} can't be asked: {why}") from None
        finally:
            end.cancel()
            connection.close()
        return Said(answer.status, as_object(_decoded(read)))

    def _connection(self) -> "_Plain | _Tls":
        try:
            parts = urlsplit(self.url)
            scheme, host, port = parts.scheme, parts.hostname or "", parts.port
            if scheme == "http":
                return _Plain(host, port, timeout=TIMEOUT_S)
            if scheme == "https":
                context = ssl.create_default_context(cafile=self.authorities or None)
                return _Tls(host, port, timeout=TIMEOUT_S, context=context)
        except OSError as error:
            why = f"{self.authorities or 'the list of trusted certificates'} can't be read: {error.strerror}"
        except (ValueError, http.client.InvalidURL) as error:
            why = f"the address {self.url!r} is none: {error}"
        else:
            why = f"the address {self.url!r} must begin with https:// or http://"
        raise SecretUnreadable(self.reference, why)


def as_object(value: Any) -> dict[str, Any]:
    """Return what should be an object of JSON, and {} for anything else: who answers may be somebody else."""
    return value if isinstance(value, dict) else {}


def _decoded(read: bytes) -> Any:
    try:
        return msgspec.json.decode(read)
    except (msgspec.DecodeError, RecursionError):
        return {}


class _Cut(http.client.HTTPConnection):
    """A connection that another thread may end, however far it has come."""

    late = False

    def begin(self) -> None:
        """Go on over the socket, which can be cut off from now on; TimeoutError where that came before there was one."""
        if self.late:
            raise TimeoutError("it took too long")

    def cut(self) -> None:
        """Have what reads or writes find the connection closed."""
        self.late = True
        if self.sock is not None:
            with suppress(OSError):  # it ended this moment
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _Plain(_Cut):
    def connect(self) -> None:
        super().connect()
        self.begin()


class _Tls(_Cut, http.client.HTTPSConnection):
    _context: ssl.SSLContext

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = tls = self._context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.begin()  # so that a handshake a byte at a time can be cut off, too
        tls.do_handshake()
