"""Being told instead of asking: bells for queues, outcomes for submitters, stops for hosts, by publish and subscribe.

Whoever looks now and then, and at once when a bell rings, rests in a `Waker`.

A message may be lost when the connection breaks; whoever listens here asks the engine now and then besides, and at once after
`connected` is called again.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import NoReturn

from amas.engine.connection import Engine, cancellable
from amas.engine.driver import exceptions as driver_errors

Handler = Callable[[bytes], None]

PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 2.0
PING_EVERY_S = 5.0
"""Seconds of silence after which the connection is tried; a half-open one is found out within twice that."""
SOUND_S = 5.0
"""A connection that lasted so long was sound; one that broke sooner may break again at once, and pauses go on growing."""


async def came(event: asyncio.Event, at_most_s: float) -> bool:
    """Return whether an event has come, waiting up to so many seconds for it."""
    try:
        async with asyncio.timeout(at_most_s):
            return await event.wait()
    except TimeoutError:
        return False


class Waker:
    """A rest that a ring ends."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self, _: bytes = b"") -> None:
        """End the rest, or the next one where there is none now."""
        self._rung.set()

    async def rest(self, seconds: float) -> None:
        """Rest so long, or until the ring."""
        await came(self._rung, seconds)
        self._rung.clear()


class Bell:
    """Listens on channels of one cell for as long as `run` runs."""

    def __init__(self, engine: Engine, handlers: Mapping[str, Handler], *, connected: Callable[[], None]) -> None:
        """`handlers`: channel, without the prefix -> what takes its messages. `connected`: called whenever it listens (again)."""
        self._engine, self._connected = engine, connected
        self._handlers = {f"{engine.prefix}:{name}".encode(): handler for name, handler in handlers.items()}
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled, connecting again with growing, jittered pauses; they shrink once it has listened a while."""
        pause_s, loop = PAUSE_MIN_S, asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            try:
                await self._listen()
            except (driver_errors.RedisError, OSError):
                self.listening.clear()
                if loop.time() - began_s > SOUND_S:
                    pause_s = PAUSE_MIN_S
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
                pause_s = min(pause_s * 2, PAUSE_MAX_S)

    async def _listen(self) -> NoReturn:
        async with self._engine.client.pubsub() as subscription:
            with cancellable():
                await subscription.subscribe(*self._handlers)
            silent, ping_every_s = 0, min(PING_EVERY_S, self._engine.wait_ms_max / 1000)
            while True:
                with cancellable():
                    message = await subscription.get_message(timeout=ping_every_s)
                if message is None:
                    silent += 1
                    if silent > 1:
                        raise OSError("the subscription doesn't answer a ping")
                    with cancellable():
                        await subscription.ping()
                    continue
                silent = 0
                if message["type"] == "message":
                    self._handlers[message["channel"]](message["data"])
                elif message["type"] == "subscribe" and not self.listening.is_set():
                    self.listening.set()
                    self._connected()
