"""Posts to addresses that people declared: which of them may be reached, and how a post is signed.

A fleet file may come from somebody who doesn't own the machine, so its webhooks must not reach what only the machine itself is
trusted by: link-local addresses, under which clouds give out a machine's credentials, are refused unless the webhook says
`link_local: true`. The address that was checked is the one that is connected to, so a name that resolves to another one a moment
later gains nothing; redirects aren't followed. Loopback and private addresses may be reached: that is where receivers stand.
Source: https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

import hmac
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import IPv4Address, IPv6Address, ip_address
from threading import Event, Timer
from urllib.parse import urlsplit

METADATA = frozenset(map(ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254")))
"""Of clouds whose metadata service isn't link-local: Alibaba's, Oracle's, and Amazon's over IPv6."""
ANSWER_BYTES_MAX = 4096
"""What is read of an answer: enough for its reason."""


class PostFailed(Exception):
    """A post didn't arrive, or was refused; the message says why."""


def allowed(address: str) -> bool:
    """Return whether a webhook that says nothing else may reach an address."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found.sixtofour or found
    return not (found.is_link_local or found.is_multicast or found.is_unspecified or found in METADATA)


def signature(body: bytes, secret: str, *, at_s: int) -> str:
    """Return `sha256=...`, the HMAC of `<seconds since 1970>.<body>`: what the header Amas-Signature says."""
    return "sha256=" + hmac.digest(secret.encode(), str(at_s).encode() + b"." + body, "sha256").hex()


def post(url: str, body: bytes, headers: Mapping[str, str], *, link_local: bool, timeout_s: float) -> None:
    """Post JSON to an address; PostFailed unless the answer is 2xx within `timeout_s` seconds. Blocks: call it in a thread.

    A socket's own time-out counts from the last byte, so who answers a byte at a time would hold the thread for days: what isn't
    done in time is cut off.
    """
    parts = urlsplit(url)
    host, late = parts.hostname or "", Event()
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = _resolved(host, port, link_local=link_local)
        connection = (_Tls if parts.scheme == "https" else _Plain)(host, port, timeout=timeout_s)
        connection.pinned = address
        end = Timer(timeout_s, connection.cut, [late])
        end.start()
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            said = b"" if 200 <= answer.status < 300 else answer.read(ANSWER_BYTES_MAX)
        finally:
            end.cancel()
            connection.close()
    except (OSError, HTTPException, ValueError) as error:
        why = f"no whole answer within {timeout_s:g} s" if late.is_set() else error or type(error).__name__
        raise PostFailed(f"{host} can't be reached: {why}") from error
    if not 200 <= answer.status < 300:
        reason = " ".join(said.decode(errors="replace").split())[:200]
        raise PostFailed(f"{host} answered {answer.status}{f': {reason}' if reason else ''}")


def _resolved(host: str, port: int, *, link_local: bool) -> tuple[str, int]:
    """Return the address to connect to; PostFailed when it may not be reached."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, address in found:
        if link_local or allowed(str(address[0])):
            return str(address[0]), port
    raise PostFailed(
        f"{host} is {found[0][4][0]}, a link-local or metadata address: say link_local: true with the webhook if that is meant"
    )


class _Cut:
    """What both kinds of connection have: the address that was checked, and an end that another thread may set."""

    sock: socket.socket | None
    pinned: tuple[str, int] = ("", 0)

    def cut(self, late: Event) -> None:
        """Have what reads or writes find the connection closed, and say that it was too late."""
        late.set()
        if self.sock is not None:
            with suppress(OSError):  # it ended this moment
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _Plain(_Cut, HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.create_connection(self.pinned, self.timeout)


class _Tls(_Cut, HTTPSConnection):
    def connect(self) -> None:
        self.sock = raw = socket.create_connection(self.pinned, self.timeout)
        self.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=self.host)
