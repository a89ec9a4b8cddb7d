"""Where the engine is: from a URL to a pool of connections, straight to one server or to whichever the sentinels call primary.

`redis://[user:password@]host[:port][/db]`, `rediss://` (TLS 1.3), `valkey://`, `valkeys://` (the same two), `unix:///path`, and
`redis+sentinel://[user:password@]host[:port][,host[:port]...]/NAME[/db][?sentinel_password=...]`, where NAME is what the
sentinels call the primary. Every new connection asks them anew, so a promoted replica is followed without a restart. With TLS,
`?ssl_ca_certs=FILE` names who is trusted besides the system's authorities, `ssl_certfile=FILE` (and `ssl_keyfile=FILE`, where the
key isn't in it) the certificate that is shown. Each new connection reads these files, so renewed ones are taken up by themselves.
Source: https://valkey.io/topics/sentinel-clients/; the form of the URL: https://pypi.org/project/redis-sentinel-url/
"""

import ssl
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from amas.engine.driver import (
    AbstractConnection,
    BlockingConnectionPool,
    ConnectionPool,
    NoBackoff,
    Retry,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
)
from amas.engine.writes import write_at_once
from amas.errors import SettingInvalid

CONNECT_TIMEOUT_S = 5.0
SENTINEL_TIMEOUT_S = 1.0
"""Per sentinel, before the next is asked: they answer from memory, and a dead one must not hold up a failover."""
SENTINEL_PORT = 26379
CONNECTIONS_MAX = 64

SENTINEL_SCHEME = "redis+sentinel"
_OTHER_NAMES = {"valkey": "redis", "valkeys": "rediss"}
WITH_TLS = ("rediss:", "valkeys:")
"""How addresses begin at which TLS is spoken."""
TRUSTED_BY, SHOWN_BY = "ssl_ca_certs= in AMAS_ENGINE_URL", "ssl_certfile= in AMAS_ENGINE_URL"
"""For messages."""

Connected = Callable[[AbstractConnection], Awaitable[None]]


class Sentinels(NamedTuple):
    """What a `redis+sentinel://` URL says."""

    hosts: list[tuple[str, int]]
    name: str
    db: int
    username: str | None
    password: str | None
    sentinel_password: str | None


class _Sentinels(Sentinel):
    """Sentinels of which none is forgotten: the driver swaps two in its list, and loses one when two connections ask at once."""

    async def discover_master(self, service_name: str) -> Any:
        """Return the primary's host and port; the sentinel that knew is asked first from now on."""
        asking = copy(self)
        asking.sentinels = list(self.sentinels)
        found = await super(_Sentinels, asking).discover_master(service_name)
        self.sentinels.sort(key=lambda each: each is not asking.sentinels[0])
        return found


class _FollowingPool(BlockingConnectionPool, SentinelConnectionPool):
    """Connections to the primary, at most so many; who finds none free waits."""

    async def aclose(self) -> None:
        """Close the connections to the sentinels, too."""
        await super().aclose()
        await self.sentinel_manager.aclose()


def without_secrets(url: str) -> str:
    """Return the URL for messages: without user, password and options."""
    place = url.partition("?")[0]
    scheme, separator, rest = place.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def parse_sentinels(url: str) -> Sentinels:
    """Return the parts of a `redis+sentinel://` URL; SettingInvalid when it names no sentinel or no primary."""
    parts = urlsplit(url)
    credentials, _, places = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    name, _, db = parts.path.strip("/").partition("/")
    try:
        hosts = [(host, int(port or SENTINEL_PORT)) for host, _, port in (place.partition(":") for place in places.split(","))]
        number = int(db or 0)
    except ValueError:
        hosts, number = [], 0
    if not name or not hosts or not all(host for host, _ in hosts):
        raise SettingInvalid(
            f"{without_secrets(url)!r} is no address of sentinels: write {SENTINEL_SCHEME}://host:26379,host:26379/NAME, "
            "where NAME is what they call the primary"
        )
    secret = parse_qs(parts.query).get("sentinel_password", [None])[0]
    return Sentinels(hosts, name, number, unquote(username) or None, unquote(password) or None, secret)


def make_pool(url: str, *, timeout_s: float, connected: Connected) -> ConnectionPool:
    """Return a pool for `url`; `connected` is awaited with each connection that is made, after its handshake.

    `timeout_s`: a server that doesn't answer for so long is given up. The driver never repeats a call: only callers know what may
    be said twice. Raises SettingInvalid for an address that can't be one.
    """
    connect_s = min(CONNECT_TIMEOUT_S, timeout_s)
    options: dict[str, Any] = {
        "max_connections": CONNECTIONS_MAX,
        "timeout": timeout_s,
        "socket_connect_timeout": connect_s,
        "socket_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "redis_connect_func": connected,
    }
    scheme, separator, rest = url.partition("://")
    if scheme == SENTINEL_SCHEME:
        return _following(parse_sentinels(url), options, limit_s=min(SENTINEL_TIMEOUT_S, connect_s))
    scheme = _OTHER_NAMES.get(scheme, scheme)
    if scheme == "rediss":
        options["ssl_min_version"] = ssl.TLSVersion.TLSv1_3
        _check_files(url)
    try:
        pool = BlockingConnectionPool.from_url(f"{scheme}{separator}{rest}", **options)
    except ValueError as error:
        raise SettingInvalid(f"{without_secrets(url)!r} is no address of an engine: {error}") from error
    return write_at_once(pool)


def _check_files(url: str) -> None:
    """Raise SettingInvalid where the files that an address names for TLS can't be used."""
    said = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file = ""
    try:
        if file := said.get("ssl_ca_certs", ""):
            context.load_verify_locations(file)
        if file := said.get("ssl_certfile", ""):
            context.load_cert_chain(file, said.get("ssl_keyfile"))
    except OSError as error:
        named = f"{file} and its key" if file == said.get("ssl_certfile") else file
        raise SettingInvalid(f"{named}, which AMAS_ENGINE_URL names, can't be used: {error.strerror or error}") from error


def _following(where: Sentinels, options: dict[str, Any], *, limit_s: float) -> ConnectionPool:
    asking = {
        "socket_timeout": limit_s,
        "socket_connect_timeout": limit_s,
        "retry": Retry(NoBackoff(), 0),
        "password": where.sentinel_password,
    }
    pool = _FollowingPool(
        connection_class=SentinelManagedConnection,
        service_name=where.name,
        sentinel_manager=_Sentinels(where.hosts, sentinel_kwargs=asking),  # type: ignore[no-untyped-call]
        db=where.db,
        username=where.username,
        password=where.password,
        **options,
    )
    return write_at_once(pool)
