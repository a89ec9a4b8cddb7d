"""This program's way to its fleet: the one that runs in the home, else one that is started for the program and ends with it.

One thread with an event loop of its own holds the connection, so that the same objects serve plain functions and any number of
event loops, one after the other or at once. Called by the parts of this package; it knows nothing of goals.
"""

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from amas.client import Fleet
from amas.engine.desired import DesiredState
from amas.errors import FleetNotRunning
from amas.fleet.load import load_fleet
from amas.model.fleet import FleetSpec
from amas.platforms.local.control import running_fleet, start_fleet
from amas.platforms.local.home import FleetState, Home
from amas.platforms.local.request import request_for
from amas.platforms.local.secret import api_key
from amas.programs.trust import trusting
from amas.rest import AsyncClient
from amas.settings import HomeSettings

EMBEDDED_FLEET = "amas"
"""The blueprint that is started where no fleet runs; `AMAS_HOME` says where."""
ANSWER_S = 60.0
"""Seconds for which a plain function waits: an engine that restarts is away for less than two."""

Answer = TypeVar("Answer")


class Link:
    """A connection to the fleet in one home, made when it is first used."""

    def __init__(self, home: Path | None = None, *, fleet: str = EMBEDDED_FLEET) -> None:
        """`fleet`: what to start where none runs, a blueprint's name or a file."""
        self.home, self._wanted = Home(home or HomeSettings.read().folder()), fleet
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()
        self._connecting: asyncio.Task[tuple[Fleet, FleetSpec]] | None = None
        self._kept = AsyncExitStack()
        self._api: tuple[str, AsyncClient] | None = None

    async def ask(self, question: Callable[[Fleet, FleetSpec], Coroutine[Any, Any, Answer]]) -> Answer:
        """Await `question` on the connection, from any event loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._ask(question), self._running_loop()))

    def ask_now(self, question: Callable[[Fleet, FleetSpec], Coroutine[Any, Any, Answer]]) -> Answer:
        """Return the answer of `question`, blocking; TimeoutError after `ANSWER_S` seconds, beyond a fleet's start."""
        loop = self._running_loop()
        asyncio.run_coroutine_threadsafe(self._connected(), loop).result()
        return asyncio.run_coroutine_threadsafe(self._ask(question), loop).result(ANSWER_S)

    async def api(self, question: Callable[[AsyncClient], Awaitable[Answer]]) -> Answer:
        """Await `question` on a client of the fleet's API, from any event loop."""

        async def ask(_: Fleet, __: FleetSpec) -> Answer:
            return await question(await self._client())

        return await self.ask(ask)

    def keep(self, ending: Callable[[], Awaitable[None]]) -> None:
        """Have `ending` awaited when this link is closed, before the fleet is let go of. Call it within a question."""
        self._kept.push_async_callback(ending)

    def close(self) -> None:
        """Let go of the fleet, and stop it where this program started it; the next question begins anew."""
        with self._starting:
            loop, self._loop, self._connecting, self._api = self._loop, None, None, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._kept.aclose(), loop).result()
            loop.call_soon_threadsafe(loop.stop)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name="amas link", daemon=True).start()
                atexit.register(self.close)
            return self._loop

    async def _ask(self, question: Callable[[Fleet, FleetSpec], Awaitable[Answer]]) -> Answer:
        return await question(*await self._connected())

    async def _connected(self) -> tuple[Fleet, FleetSpec]:
        """Return the connection; those who ask while it is being made share it, and after an error it is tried again."""
        if self._connecting is None or (self._connecting.done() and self._connecting.exception()):
            self._connecting = asyncio.create_task(self._connect(), name="connect")
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> tuple[Fleet, FleetSpec]:
        state = await self._found_or_started()
        fleet = await self._kept.enter_async_context(Fleet.connect(home=self.home.folder))
        wanted = (await DesiredState(fleet.engine).read()).spec
        return fleet, wanted or load_fleet(Path(state.fleet_file))

    async def _client(self) -> AsyncClient:
        """Return a client of the control plane, which has another address when the fleet was started anew."""
        state = running_fleet(self.home.folder)
        if self._api is None or self._api[0] != state.api_url:
            verify = trusting(state.tls_cert) if state.tls_cert else True
            client = AsyncClient(state.api_url, token=api_key(self.home), verify=verify)
            self._api = state.api_url, await self._kept.enter_async_context(client)
        return self._api[1]

    async def _found_or_started(self) -> FleetState:
        try:
            return running_fleet(self.home.folder)
        except FleetNotRunning:
            running = await start_fleet(request_for(self._wanted, self.home, ports=(0, 0), bound=True))
            self._kept.push_async_callback(running.stop)
            return running.state


async def wanted_of(fleet: Fleet, spec: FleetSpec) -> FleetSpec:
    """Return the fleet as it is wanted now; `spec` is how it was when it was connected to."""
    return (await DesiredState(fleet.engine).read()).spec or spec


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()
