"""The proof that a host lives: one lease, renewed from a thread of its own over a connection of its own.

Agents share the host's event loop, so an agent that blocks it must not cost the host its lease; but a loop that doesn't turn for
`stall_max_s` will hardly turn again, and then the process ends, hard, so that the reaper gives its tasks to others.

The thread never touches the host's state: it reads figures and calls `lost` on the host's loop.
"""

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final, NamedTuple

from amas.clock import monotonic_s
from amas.engine.connection import Engine
from amas.engine.hosts import HostFigures, HostRegistry
from amas.errors import EngineError
from amas.settings import EngineSettings, HostSettings

EXIT_STALLED: Final = 70
"""The exit code of a host whose loop stood still, or whose lease can't be kept (EX_SOFTWARE of sysexits(3)). Whoever started
it starts another."""

HELD_UP_S = 2.0
"""Seconds after which somebody should hear which agent keeps all others of its host from working."""
ANSWER_MIN_S = 0.5
"""What a beat may take at least. Otherwise it may take a beat's time: a connection that swallows one, without a word, must leave
time in the lease for another connection and another beat."""
JOIN_S, JOIN_LOOK_S = 10.0, 0.01
"""Seconds for which a stop waits for the thread, which is a beat that is under way at most, and between looks at it."""
STACK_CHARS_MAX = 4096
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Stall(NamedTuple):
    """What is known of a loop that stands still."""

    silent_s: float
    stack: str
    """Where its thread is, the end of it."""


class Watched(NamedTuple):
    """The host's side: what the thread reads and calls."""

    figures: Callable[[float], HostFigures]
    """Given the loop's lag in seconds, returns what goes with a beat; called in the thread."""
    lost: Callable[[int], None]
    """Called on the host's loop, with the number of the registration that was lost."""
    held_up: Callable[[Stall], None]
    """Called in the thread, once for each time that the loop stands still for `HELD_UP_S`."""
    stalled: Callable[[Stall], None]
    """Called in the thread before the process ends."""


class LeaseKeeper:
    """Renews one host's lease and measures its loop for as long as it runs."""

    def __init__(self, host_id: str, watched: Watched, *, engine: EngineSettings, settings: HostSettings) -> None:
        self._host_id, self._watched, self._engine, self._settings = host_id, watched, engine, settings
        self._loop = asyncio.get_running_loop()
        self.loop_thread = threading.get_ident()
        """The number of the loop's thread."""
        self._asked_at: float | None = None
        self._lag_s = 0.0
        self.registration = 1
        """Raised by the host with each registration, so that an old answer can't lose a new lease."""
        self._stopping = False
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Start beating; the host has registered."""
        self._thread.start()

    async def stop(self) -> None:
        """Stop beating and wait for the thread."""
        self._stopping = True
        self._stop()
        until_s = monotonic_s() + JOIN_S
        while self._thread.is_alive() and monotonic_s() < until_s:  # noqa: ASYNC110  a program that ends has no executor to join it
            await asyncio.sleep(JOIN_LOOK_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._keep())
        except BaseException:  # noqa: BLE001  the top of a thread
            if not self._loop.is_closed():  # a mistake of ours, and a host without a lease does harm: better none
                traceback.print_exc()
                os._exit(EXIT_STALLED)

    async def _keep(self) -> None:
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        if self._stopping:  # before there was a loop to tell
            return
        async with Engine.of(self._engine) as engine, asyncio.TaskGroup() as group:
            duties = [group.create_task(self._beat(HostRegistry(engine))), group.create_task(self._watch())]
            await stopped.wait()
            for duty in duties:
                duty.cancel()

    async def _beat(self, registry: HostRegistry) -> None:
        while True:
            registration = self.registration
            try:
                async with asyncio.timeout(max(self._settings.beat_every_s, ANSWER_MIN_S)):
                    held = await registry.renew(
                        self._host_id, self._watched.figures(self._lag_now_s()), lease_s=self._settings.lease_s
                    )
            except (EngineError, TimeoutError):  # the host's own calls say so; all there is to do here is to beat on, and soon
                await asyncio.sleep(self._settings.beat_every_s / 4)
                continue
            if not held:
                self._loop.call_soon_threadsafe(self._watched.lost, registration)
            await asyncio.sleep(self._settings.beat_every_s)

    async def _watch(self) -> None:
        """Ask the host's loop for a sign of life again and again.

        The silence is added up in short pieces, so that a machine that slept, or a process that was stopped, isn't
        taken for a stall.
        """
        tick_s = min(self._settings.stall_max_s / 10, 1.0)
        silent_s, told = 0.0, False
        while True:
            if self._asked_at is None:
                silent_s, told = 0.0, False
                self._asked_at = monotonic_s()
                self._loop.call_soon_threadsafe(self._answer)
            await asyncio.sleep(tick_s)
            silent_s += tick_s
            if self._asked_at is not None and silent_s >= HELD_UP_S and not told:
                told = True
                self._watched.held_up(Stall(silent_s, self._stack()))
            if self._asked_at is not None and silent_s > self._settings.stall_max_s:
                self._watched.stalled(Stall(silent_s, self._stack()))
                os._exit(EXIT_STALLED)

    def _answer(self) -> None:
        if self._asked_at is not None:
            self._lag_s = monotonic_s() - self._asked_at
            self._asked_at = None

    def _lag_now_s(self) -> float:
        asked_at = self._asked_at
        return self._lag_s if asked_at is None else max(self._lag_s, monotonic_s() - asked_at)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self.loop_thread)
        return "".join(traceback.format_stack(frame))[-STACK_CHARS_MAX:] if frame else ""


def process_figures() -> tuple[float, int]:
    """Return the seconds of CPU and the bytes of memory that this process takes."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  half the cost of Path, 2 s apart and for every host
            pages = int(file.read().split()[1])
    except OSError:
        pages = 0
    return time.process_time(), pages * _PAGE_BYTES
