"""Which addresses may be reached that others named, and posts to them: how one is sent and signed.

A fleet file may come from somebody who doesn't own the machine, so its webhooks must not reach what only the machine itself is
trusted by: link-local addresses, under which clouds give out a machine's credentials, are refused unless the webhook says
`link_local: true`; loopback and private addresses may be reached, since receivers of alerts stand there. Webhooks that are
registered over the API may come from a tenant: they reach public addresses, and private ones only in networks that the operator
names. The address that was checked is the one that is connected to, so a name that resolves to another one a moment later gains
nothing; redirects aren't followed. Agents behind URLs and tools go by the same two questions, `allowed` and `is_public`.
Sources: https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html,
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import binascii
import hmac
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from threading import Event, Timer
from typing import NamedTuple
from urllib.parse import urlsplit

METADATA = frozenset(map(ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254")))
"""Of clouds whose metadata service isn't link-local: Alibaba's, Oracle's, and Amazon's over IPv6."""
NAT64 = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))
"""Addresses that stand for the IPv4 address at their end (RFC 6052, RFC 8215, RFC 7915)."""
UNICAST = ip_network("2000::/3")
"""All that is given out of IPv6 as public addresses; Python's own list of what isn't knows less."""
COMPATIBLE = ip_network("::/96")
"""The same, deprecated (RFC 4291, 2.5.5.1); but for `::` and `::1`, which are in it."""
ANSWER_BYTES_MAX = 4096
"""What is read of an answer: enough for its reason."""
ENCODED = "whsec_"
"""Before a secret that is written in base64, as libraries for Standard Webhooks take it."""


class PostFailed(Exception):
    """A post didn't arrive, or was refused; the message says why."""


class Reach(NamedTuple):
    """Which addresses a post may go to."""

    allows: Callable[[str], bool]
    otherwise: str
    """What is said of an address that it doesn't allow."""


def allowed(address: str) -> bool:
    """Return whether an address isn't one that only the machine itself may reach: link-local, or of a cloud's metadata."""
    found = _plain(address)
    return not (found.is_link_local or found.is_multicast or found.is_unspecified or found in METADATA)


def is_public(address: str) -> bool:
    """Return whether an address, and the one that it may stand for, is a public one."""
    found = _plain(address)
    given_out = found.version == 4 or found in UNICAST
    return allowed(address) and found.is_global and not found.is_reserved and given_out


def public(networks: Sequence[IPv4Network | IPv6Network]) -> Reach:
    """Return the reach of what isn't the operator's own: public addresses, and of others those in `networks`."""

    def allows(address: str) -> bool:
        named = any(_plain(address) in network for network in networks)
        return is_public(address) or (named and allowed(address))

    return Reach(
        allows, "no public address, and in none of the networks of AMAS_WEBHOOK_NETWORKS, where the fleet's operator can add it"
    )


def _plain(address: str) -> IPv4Address | IPv6Address:
    """Return the address that is meant, also where an IPv6 address stands for an IPv4 address."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if not isinstance(found, IPv6Address):
        return found
    if any(found in network for network in NAT64) or (found in COMPATIBLE and int(found) > 1):
        return IPv4Address(int(found) & 0xFFFF_FFFF)
    teredo = found.teredo[1] if found.teredo else None
    return found.ipv4_mapped or found.sixtofour or teredo or found


DECLARED = Reach(allowed, "a link-local or metadata address: say link_local: true with the webhook if that is meant")
ANYWHERE = Reach(lambda _: True, "")


def headers_of(post_id: str, body: bytes, secret: str, *, at_s: int) -> dict[str, str]:
    """Return a post's headers: its id, its time and, where there is a secret, the HMAC-SHA256 of both and the body."""
    headers = {"webhook-id": post_id, "webhook-timestamp": str(at_s)}
    if secret:
        signed = hmac.digest(_key(secret), f"{post_id}.{at_s}.".encode() + body, "sha256")
        headers["webhook-signature"] = "v1," + b64encode(signed).decode()
    return headers


def _key(secret: str) -> bytes:
    if secret.startswith(ENCODED):
        with suppress(binascii.Error):
            return b64decode(secret.removeprefix(ENCODED), validate=True)
    return secret.encode()


def post(url: str, body: bytes, headers: Mapping[str, str], *, reach: Reach, timeout_s: float) -> None:
    """Post JSON to an address; PostFailed unless the answer is 2xx within `timeout_s` seconds. Blocks: call it in a thread.

    A socket's own time-out counts from the last byte, so who answers a byte at a time would hold the thread for days: what isn't
    done in time is cut off.
    """
    parts = urlsplit(url)
    host, late = parts.hostname or "", Event()
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = resolved(host, port, reach=reach)
        connection = (_Tls if parts.scheme == "https" else _Plain)(host, port, timeout=timeout_s)
        connection.pinned, connection.late = address, late
        end = Timer(timeout_s, connection.cut, [])
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


def resolved(host: str, port: int, *, reach: Reach) -> tuple[str, int]:
    """Return the address to connect to; PostFailed when none may be reached, OSError when there is none. Blocks."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, address in found:
        if reach.allows(str(address[0])):
            return str(address[0]), port
    first = str(found[0][4][0])
    raise PostFailed(f"{host} is {'' if first == host else f'{first}, '}{reach.otherwise}")


class _Cut:
    """What both kinds of connection have: the address that was checked, and an end that another thread may set."""

    sock: socket.socket | None
    pinned: tuple[str, int] = ("", 0)
    late: Event

    def begin(self, sock: socket.socket) -> None:
        """Go on over `sock`, which can be cut off from now on; TimeoutError where that came before there was one."""
        self.sock = sock
        if self.late.is_set():
            raise TimeoutError("it was too late")

    def cut(self) -> None:
        """Have what reads or writes find the connection closed, and say that it was too late."""
        self.late.set()
        if self.sock is not None:
            with suppress(OSError):  # it ended this moment
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _Plain(_Cut, HTTPConnection):
    def connect(self) -> None:
        self.begin(socket.create_connection(self.pinned, self.timeout))


class _Tls(_Cut, HTTPSConnection):
    def connect(self) -> None:
        raw = socket.create_connection(self.pinned, self.timeout)
        tls = ssl.create_default_context().wrap_socket(raw, server_hostname=self.host, do_handshake_on_connect=False)
        self.begin(tls)  # so that a handshake a byte at a time can be cut off, too
        tls.do_handshake()
