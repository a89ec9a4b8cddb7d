"""The driver, redis-py, as this package uses it: everything of it comes from here.

It keeps true that a process does not import OpenTelemetry's metrics for the driver's sake. Where they are installed (our own
`tracing` extra brings them) the driver imports them to offer figures of its own, which nobody here asks for; every command and
every process of a fleet would pay for them. The driver takes their absence as an installation without them. A program that wants
those figures of its own connections imports `opentelemetry.sdk.metrics` before amas.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_METRICS = ("opentelemetry.metrics", "opentelemetry.sdk.metrics")


@contextmanager
def _absent(modules: tuple[str, ...]) -> Iterator[None]:
    """Let an import of these modules fail within the block, where they aren't imported already: None says so to the machinery.

    Source: https://docs.python.org/3/reference/import.html#the-module-cache
    """
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _absent(_METRICS):
    from redis import exceptions
    from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
    from redis.asyncio.connection import AbstractConnection
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection
    from redis.backoff import NoBackoff

__all__ = [
    "AbstractConnection",
    "BlockingConnectionPool",
    "ConnectionPool",
    "NoBackoff",
    "Redis",
    "Retry",
    "Sentinel",
    "SentinelConnectionPool",
    "SentinelManagedConnection",
    "exceptions",
]
