"""The driver, redis-py, as this package uses it: everything of it comes from here.

It keeps true that a process does not import OpenTelemetry's metrics for the driver's sake. Where they are installed (our own
`tracing` extra brings them) the driver imports them to offer figures of its own, which nobody here asks for; every command and
every process of a fleet would pay for them. The driver takes their absence as an installation without them. A program that wants
those figures of its own connections imports `opentelemetry.sdk.metrics` before amas.
"""

from amas.imports import absent

with absent("opentelemetry.metrics", "opentelemetry.sdk.metrics"):
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
