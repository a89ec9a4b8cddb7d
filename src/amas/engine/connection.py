"""One connection to the engine: a Valkey or Redis >= 7 server with our function library.

`Engine.call` runs one function and `Engine.calls` several in one round trip (one fsync for all, since the server flushes its log
once per turn; one wait for replicas, where the settings ask for it). The driver's errors become ours here and nowhere else; its
reconnection is ours too: a call that fails because the connection broke, or that too few replicas confirmed, raises
`EngineUnreachable`, and the caller knows whether saying it again is safe.

After such a failure the idle connections are dropped, too: they lead to the same frozen, cut-off or demoted server, and each
would cost another time-out. The next call makes a new one, which finds the server that serves now.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from amas import clock
from amas.engine import library
from amas.engine.address import SHOWN_BY, TRUSTED_BY, WITH_TLS, make_pool, without_secrets
from amas.engine.confirm import UNCONFIRMED, Confirmation
from amas.engine.driver import AbstractConnection, Redis
from amas.engine.driver import exceptions as driver_errors
from amas.engine.line import Line
from amas.errors import (
    EngineDiskFull,
    EngineError,
    EngineFunctionsMismatch,
    EngineUnconfirmed,
    EngineUnreachable,
    EngineUnsupported,
)
from amas.errors.tls import tls_words
from amas.settings import EngineSettings

VERSION_MIN = (7, 0)
"""Functions arrived in Redis 7; Valkey answers 7.2 or more here."""

LIBRARY_KEY = "amas:library"
"""Names the release of the functions that were loaded last; it is there to be watched, so that two who load take turns."""

_AWAY = ("NOREPLICAS", "UNBLOCKED", "BUSY ")
"""What a server says that can't take calls now: too few replicas, no primary any more, a script that doesn't end."""

_UNREACHABLE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (driver_errors.BusyLoadingError, "is still loading its data"),
    (driver_errors.AuthenticationError, "refuses this user or password"),
    (driver_errors.ReadOnlyError, "is a replica, which takes no writes: another server is the primary now"),
    (driver_errors.ClusterDownError, "is a replica without its primary: {}"),
    ((driver_errors.ConnectionError, driver_errors.TimeoutError, OSError), "doesn't answer: {}"),
)
"""Errors of the driver after which the same call may work a moment later, on another connection; the first match counts."""

Argument = str | bytes | int | float


def _sentinels_words(text: str) -> str:
    """Return in a sentence why no sentinel named a primary, where that is it: the driver's text shows its own objects."""
    if "Protocol error" in text:
        return "what answers as a sentinel doesn't speak its protocol: sentinels are spoken to without TLS"
    if not text.startswith("No master found"):
        return ""
    if any(word in text for word in ("AuthenticationError", "NOAUTH", "WRONGPASS", "Authentication required")):
        return "the sentinels don't take the password: the address must have the one that they want"
    return "no sentinel names a primary of that name: look whether they run, and watch one that is called so"


def translated(error: Exception, address: str) -> EngineError:
    """Return our error for one of the driver's."""
    text, engine = str(error), f"the engine at {address}"
    why = tls_words(error, trusted_by=TRUSTED_BY, shown_by=SHOWN_BY) if address.startswith(WITH_TLS) else ""
    if not why and "+sentinel" in address.partition(":")[0]:
        why = _sentinels_words(text)
    if why:
        return EngineUnreachable(f"{engine} can't be used: {why}")
    for kinds, said in _UNREACHABLE:
        if isinstance(error, kinds):
            return EngineUnreachable(f"{engine} {said}".replace("{}", text or type(error).__name__))
    if text.startswith(_AWAY):
        return EngineUnreachable(f"{engine} takes no calls now: {text}")
    if "MISCONF" in text or "No space left" in text:
        return EngineDiskFull(f"{engine} can't write its log and took nothing: free space on its disk, it then goes on: {text}")
    if "Function not found" in text:
        return EngineFunctionsMismatch(f"{engine} has no function library {library.LIBRARY}; `amas up` loads it")
    return EngineError(f"{engine} refused a call: {text}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def supported(version: str) -> bool:
    """Return whether a server of this version, such as `7.0.15`, can run our functions."""
    return _numbers(version) >= VERSION_MIN


@contextmanager
def cancellable() -> Iterator[None]:
    """Raise a cancellation that the driver swallowed within the block: around every use of the driver.

    It writes under `asyncio.wait_for`, which before Python 3.12 may lose a cancellation that comes as the write ends
    (https://github.com/python/cpython/issues/86296): the task would then go on for ever.
    """
    task = asyncio.current_task()
    asked = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > asked:
            raise asyncio.CancelledError


class Engine:
    """A client of one cell's engine; safe for many coroutines of one event loop."""

    def __init__(self, url: str, *, cell: str = "local", settings: EngineSettings | None = None) -> None:
        """`url`: see `address.py`. `settings`: what counts as done, and how long an answer may take; not where the engine is."""
        self.url, self._settings = url, settings or EngineSettings()
        self.address = without_secrets(url)
        """The URL for messages."""
        self.prefix = f"amas:{{{cell}}}"
        self._clock_ahead_ms: int | None = None
        self._confirmation = Confirmation(self._settings, address=self.address, mark=self.key("confirmed"))
        self._pool = make_pool(url, timeout_s=self._settings.timeout_s, connected=self._greet)
        self.client = Redis.from_pool(self._pool)
        self.line = Line(self.new_connection)
        """For short reads that many ask for at a time."""

    @classmethod
    def of(cls, settings: EngineSettings) -> Self:
        """Return a client of the cell that the settings name, with all that they say."""
        return cls(settings.url, cell=settings.cell, settings=settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.line.close()
        await self.client.aclose()

    def new_connection(self) -> AbstractConnection:
        """Return a connection that isn't made yet and belongs to whoever asked: for what takes one over for good."""
        made: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return made

    def key(self, kind: str, name: str = "") -> str:
        """Return the key of `kind` as the functions name it."""
        return f"{self.prefix}:{kind}:{name}" if name else f"{self.prefix}:{kind}"

    # -- time

    def now_ms(self) -> int:
        """Return the server's time in ms, by which leases, delays and deadlines count: whatever this machine's clock is set to.

        Before the first connection it is this machine's.
        """
        ahead_ms = self._clock_ahead_ms
        return clock.now_ms() if ahead_ms is None else round(clock.uptime_s() * 1000) + ahead_ms

    @property
    def wait_ms_max(self) -> int:
        """How long a reading command may wait for news before its silence would pass for a dead server's."""
        return round(self._settings.timeout_s * 500)

    async def _greet(self, connection: AbstractConnection) -> None:
        """Shake hands on a new connection and set our clock by the server's, which may be another server than before."""
        await connection.on_connect()
        await connection.send_command("TIME")
        seconds, microseconds = await connection.read_response()
        self._clock_ahead_ms = int(seconds) * 1000 + int(microseconds) // 1000 - round(clock.uptime_s() * 1000)

    # -- the server and its functions

    async def check(self, *, load: bool = False) -> str:
        """Return the server's version after making sure that it can serve us.

        `load`: put our functions there when they are missing, an older release's or another text of this release; without it,
        that is `EngineFunctionsMismatch`. A newer release's functions serve us, too, and are never replaced.
        """
        version, *found = await self._told()
        if not supported(version):
            raise EngineUnsupported(f"the engine at {self.address} is version {version}; Valkey, or Redis >= 7.0, is needed")
        await self._check_confirms(version)
        if not _serves(*found):
            if not load:
                raise EngineFunctionsMismatch(
                    f"the engine at {self.address} has {'another version of the' if found[0] else 'no'} function library "
                    f"{library.LIBRARY}; `amas up` of this version loads it"
                )
            await self._load()
        return version

    async def _told(self) -> tuple[str, str, str]:
        """Return the server's version, and the digest and release of the functions there, "" for what they don't tell.

        One round trip: load balancers ask for it all day.
        """
        pipe = self.client.pipeline(transaction=False)
        pipe.info("server")
        for question in ("digest", "release"):
            pipe.execute_command("FCALL", f"{library.LIBRARY}_{question}", 1, self.prefix)
        async with self._talking():
            server, *said = await pipe.execute(raise_on_error=False)
            if isinstance(server, Exception):
                raise server
        version = str(server.get("valkey_version") or server.get("redis_version", "0"))
        digest, release = [await self._words(answer) for answer in said] if supported(version) else ("", "")
        return version, digest, release

    async def _words(self, answer: bytes | Exception) -> str:
        """Return what a function of the library told, "" where there is none."""
        if not isinstance(answer, Exception):
            return answer.decode()
        ours = await self._lost(answer)
        if isinstance(ours, EngineFunctionsMismatch):
            return ""
        raise ours from answer

    async def _load(self) -> None:
        """Replace the functions, in one turn with nobody else: who comes second looks again at what the first has loaded."""

        async def put(pipe: Any) -> None:
            _, *found = await self._told()
            if not _serves(*found):
                pipe.multi()
                pipe.execute_command("FUNCTION", "LOAD", "REPLACE", library.source())
                pipe.set(LIBRARY_KEY, library.release())

        async with self._talking():
            await self.client.transaction(put, LIBRARY_KEY)

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

    # -- calls

    @asynccontextmanager
    async def _talking(self) -> AsyncIterator[None]:
        """Turn the driver's errors into ours, and lose no cancellation to the driver."""
        with cancellable():
            try:
                yield
            except (driver_errors.RedisError, OSError) as error:
                raise await self._lost(error) from error

    async def _lost(self, error: Exception) -> EngineError:
        """Return our error for the driver's; when no server serves at the other end, drop what is connected to it."""
        ours = translated(error, self.address)
        if isinstance(ours, EngineUnreachable):
            await self._drop_idle()
        return ours

    async def _drop_idle(self) -> None:
        await self.line.close()
        with suppress(driver_errors.RedisError, OSError):
            await self._pool.disconnect(inuse_connections=False)

    async def call(self, function: str, *arguments: Argument) -> Any:
        """Run one function of the library and return what it answers."""
        if self._confirmation.wanted and function not in UNCONFIRMED:
            return (await self.calls([(function, arguments)]))[0]
        async with self._talking():
            return await self.client.fcall(f"{library.LIBRARY}_{function}", 1, self.prefix, *arguments)

    async def calls(self, batch: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
        """Run functions in order in one round trip and return their answers; the first error is raised after all have run.

        Where the settings ask for replicas, one wait covers all: `EngineUnconfirmed` when they don't confirm in time.
        """
        confirmation = self._confirmation
        if len(batch) == 1 and not confirmation.wanted:  # the driver makes a task for each pipeline
            ((function, arguments),) = batch
            return [await self.call(function, *arguments)]
        if confirmation.wanted and not confirmation.commands:
            confirmation.choose(_numbers((await self._told())[0]))
        pipe = self.client.pipeline(transaction=False)
        for function, arguments in batch:
            pipe.execute_command("FCALL", f"{library.LIBRARY}_{function}", 1, self.prefix, *arguments)
        commands = confirmation.commands
        for command in commands:
            pipe.execute_command(*command)
        async with self._talking():
            said: list[Any] = await pipe.execute(raise_on_error=False)
        answers = said[: len(batch)]
        for answer in answers:
            if isinstance(answer, driver_errors.RedisError):
                raise await self._lost(answer) from answer
        try:
            confirmation.check(commands, said[len(batch) :])
        except EngineUnconfirmed:  # the replicas may have gone over to another primary
            await self._drop_idle()
            raise
        return answers

    async def read(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run plain reading commands in one round trip and return their answers in order."""
        if not commands:
            return []
        if len(commands) == 1:  # as in `calls`
            async with self._talking():
                return [await self.client.execute_command(*commands[0])]  # type: ignore[no-untyped-call]
        pipe = self.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        async with self._talking():
            answers: list[Any] = await pipe.execute()
        return answers

    @property
    def acknowledgement(self) -> str:
        """What counts as done, in words; known after `check`."""
        return self._confirmation.words

    async def _check_confirms(self, version: str) -> None:
        """Find out at start whether the server can confirm what the settings ask for; how many replicas there are may change."""
        if not self._confirmation.wanted:
            return
        self._confirmation.choose(_numbers(version))
        if self._confirmation.needs_aof:
            async with self._talking():
                found = await self.client.info("persistence")
            if not found.get("aof_enabled"):
                raise self._confirmation.without_aof()


def _serves(digest: str, release: str) -> bool:
    """Return whether functions with this digest, of this release, serve this program."""
    return digest == library.digest() or (bool(digest) and library.newer(release))
