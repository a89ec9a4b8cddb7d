"""One connection to the engine: a Valkey or Redis >= 7 server with our function library.

`Engine.call` runs one function and `Engine.calls` several in one round trip (one fsync for all, since the server flushes its log
once per turn). The driver's errors become ours here and nowhere else; its reconnection is ours too: a call that fails because the
connection broke raises `EngineUnreachable`, and the caller knows whether saying it again is safe.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import redis.asyncio as driver
from redis import exceptions as driver_errors
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from amas.engine import library
from amas.errors import (
    EngineDiskFull,
    EngineError,
    EngineFunctionsMismatch,
    EngineUnreachable,
    EngineUnsupported,
)

VERSION_MIN = (7, 0)
"""Functions arrived in Redis 7; Valkey answers 7.2 or more here."""

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
"""Seconds without an answer after which the server counts as frozen or cut off and the connection is dropped."""
CONNECTIONS_MAX = 64

Argument = str | bytes | int | float


def translated(error: Exception, address: str) -> EngineError:
    """Return our error for one of the driver's."""
    text = str(error)
    if isinstance(error, driver_errors.BusyLoadingError):
        return EngineUnreachable(f"the engine at {address} is still loading its data")
    if isinstance(error, driver_errors.AuthenticationError):
        return EngineUnreachable(f"the engine at {address} refuses this user or password")
    if isinstance(error, (driver_errors.ConnectionError, driver_errors.TimeoutError, OSError)):
        return EngineUnreachable(f"the engine at {address} doesn't answer: {text or type(error).__name__}")
    if "MISCONF" in text or "No space left" in text:
        return EngineDiskFull(f"the engine at {address} can't write its log: {text}")
    if "Function not found" in text:
        return EngineFunctionsMismatch(f"the engine at {address} has no function library {library.LIBRARY}; `amas up` loads it")
    return EngineError(f"the engine at {address} refused a call: {text}")


def supported(version: str) -> bool:
    """Return whether a server of this version, such as `7.0.15`, can run our functions."""
    return tuple(int(part) for part in version.split(".")[:2]) >= VERSION_MIN


class Engine:
    """A client of one cell's engine; safe for many coroutines of one event loop."""

    def __init__(self, url: str, *, cell: str = "local") -> None:
        """`url`: `unix:///path`, `redis://...` or `rediss://...`."""
        self.url = url
        self.address = url.rpartition("@")[2] if "@" in url else url
        """The URL without a password, for messages."""
        self.prefix = f"amas:{{{cell}}}"
        pool = driver.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=ANSWER_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=ANSWER_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self.client = driver.Redis.from_pool(pool)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.client.aclose()

    def key(self, kind: str, name: str = "") -> str:
        """Return the key of `kind` as the functions name it."""
        return f"{self.prefix}:{kind}:{name}" if name else f"{self.prefix}:{kind}"

    async def check(self, *, load: bool = False) -> str:
        """Return the server's version after making sure that it can serve us.

        `load`: put our functions there when they are missing or another text; without it, that is `EngineFunctionsMismatch`.
        """
        with self._talking():
            found: dict[str, Any] = await self.client.info("server")
        version = str(found.get("valkey_version") or found.get("redis_version", "0"))
        if not supported(version):
            raise EngineUnsupported(f"the engine at {self.address} is version {version}; Valkey, or Redis >= 7.0, is needed")
        try:
            digest = await self.call("digest")
        except EngineFunctionsMismatch:
            digest = b""
        if digest.decode() != library.digest():
            if not load:
                raise EngineFunctionsMismatch(
                    f"the engine at {self.address} has {'another version of the' if digest else 'no'} function library "
                    f"{library.LIBRARY}; `amas up` of this version loads it"
                )
            with self._talking():
                await self.client.function_load(library.source(), replace=True)
        return version

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Turn the driver's errors into ours, and raise a cancellation that the driver swallowed.

        It writes under `asyncio.wait_for`, which before Python 3.12 may lose a cancellation that comes as the write ends
        (https://github.com/python/cpython/issues/86296): the task would then go on for ever.
        """
        task = asyncio.current_task()
        asked = task.cancelling() if task else 0
        try:
            yield
        except (driver_errors.RedisError, OSError) as error:
            raise translated(error, self.address) from error
        finally:
            if task and task.cancelling() > asked:
                raise asyncio.CancelledError

    async def call(self, function: str, *arguments: Argument) -> Any:
        """Run one function of the library and return what it answers."""
        with self._talking():
            return await self.client.fcall(f"{library.LIBRARY}_{function}", 1, self.prefix, *arguments)

    async def calls(self, batch: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
        """Run functions in order in one round trip and return their answers; the first error is raised after all have run."""
        pipe = self.client.pipeline(transaction=False)
        for function, arguments in batch:
            pipe.execute_command("FCALL", f"{library.LIBRARY}_{function}", 1, self.prefix, *arguments)
        with self._talking():
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, driver_errors.RedisError):
                raise translated(answer, self.address) from answer
        return answers

    async def read(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run plain reading commands in one round trip and return their answers in order."""
        if not commands:
            return []
        pipe = self.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        with self._talking():
            answers: list[Any] = await pipe.execute()
        return answers

    async def wait_until_ready(self, *, timeout_s: float, load: bool = False) -> str:
        """Try `check` until the server answers, at most `timeout_s` seconds; return its version."""
        pause_s = 0.02
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await self.check(load=load)
                except EngineUnreachable:
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, 0.5)
