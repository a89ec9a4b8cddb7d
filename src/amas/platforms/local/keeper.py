"""Keeps one part of the fleet running: starts it, watches it, starts it again when it ends, stops it.

The first start may fail, and then the fleet's start fails with the part's reason. Later ends are mended for ever, with a growing
pause between tries, and reported through `changed`.
"""

import asyncio
import signal
from collections.abc import Callable

from amas.clock import monotonic_s
from amas.errors import AmasError, StartFailed
from amas.observe import events
from amas.observe.logging import process_log
from amas.platforms.local.children import Child
from amas.platforms.local.home import PartState
from amas.platforms.local.program import Process

BACKOFF_FIRST_S = 0.2
"""Short: most ends are a single accident, and a host's work waits."""
BACKOFF_MAX_S = 10.0
STEADY_S = 30.0
"""A part that ran this long was well: its next end is a new accident, not one more of a row."""

_KILLED_S = 10.0  # a killed process that is still there after this hangs in the kernel; nobody can do more


def next_backoff_s(last_s: float, *, ran_s: float) -> float:
    """Return the pause before the next start, after one of `last_s` (0 for none) and a run of `ran_s` seconds."""
    if last_s == 0.0 or ran_s >= STEADY_S:
        return BACKOFF_FIRST_S
    return min(last_s * 2, BACKOFF_MAX_S)


class Keeper:
    """The life of one part. `start` once, then `keep` as a task, then `stop`; `renew` meanwhile."""

    def __init__(self, child: Child, changed: Callable[[], None]) -> None:
        self.child = child
        self.state = PartState(name=child.name)
        self._changed = changed
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._starting = asyncio.Lock()
        self._renewing = False
        self._up = asyncio.Event()

    async def start(self) -> None:
        """Start the part and return once it is ready; its own error, or StartFailed, says why it isn't."""
        async with self._starting:
            self._show("starting")
            self._process = await self.child.spawn()
            self._show("starting", pid=self._process.pid)
            try:
                await self._until_ready(self._process)
            except BaseException as error:
                self.state.reason = str(error)
                await self._end(0.0)
                raise
            self._show("running", pid=self._process.pid)
            self._up.set()

    async def keep(self) -> None:
        """Start the part again whenever it ends, until `stop`."""
        async with asyncio.TaskGroup() as meanwhile:
            beside = meanwhile.create_task(self.child.beside(), name=f"beside {self.child.name}") if self.child.beside else None
            await self._keep(meanwhile)
            if beside is not None:
                beside.cancel()

    async def renew(self) -> None:
        """End the part in good order and return when `keep` has started it again, or `stop` was called."""
        async with self._starting:
            self._renewing = self._process is not None and self._process.returncode is None
            self._up.clear()
            await self._end(self.child.stop_s)
        await self._up.wait()

    async def stop(self, *, at_once: bool = False) -> None:
        """End the part: SIGTERM and its time to finish, then SIGKILL; straight to that with `at_once`."""
        self._stopping.set()
        self._up.set()
        async with self._starting:  # a start that is under way sees the event and gives up
            await self._end(0.0 if at_once else self.child.stop_s)
        self._show("stopped")

    def kill(self) -> None:
        """Cut a `stop` that is under way short."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _keep(self, meanwhile: asyncio.TaskGroup) -> None:
        backoff_s, began = 0.0, monotonic_s()
        while not self._stopping.is_set():
            if self._process is not None:
                await self._watch(self._process, meanwhile)
            if self._stopping.is_set():
                return
            backoff_s = next_backoff_s(backoff_s, ran_s=monotonic_s() - began)
            if await self._told_to_stop_within(backoff_s):
                return
            began = monotonic_s()
            await self._restart()

    async def _watch(self, process: Process, meanwhile: asyncio.TaskGroup) -> None:
        exit_code = await process.wait()
        renewing, self._renewing = self._renewing, False
        if not self._stopping.is_set():
            self._process = None
            if renewing:
                return
            self._report(self.child.failure(exit_code))
            if self.child.died is not None:
                meanwhile.create_task(self.child.died(process), name=f"{self.child.name} died")

    async def _restart(self) -> None:
        try:
            self.state.restarts += 1
            await self.start()
        except AmasError as error:
            self._process = None
            self._report(error)
        else:
            process_log().info(
                "started a part of the fleet again",
                event=events.PART_RESTARTED,
                part=self.child.name,
                pid=self.state.pid,
                restarts=self.state.restarts,
            )

    def _report(self, error: AmasError) -> None:
        self.state.reason = str(error)
        self._show("restarting")
        process_log().warning(
            "a part of the fleet ended and is started again", event=events.PART_ENDED, part=self.child.name, reason=str(error)
        )

    async def _told_to_stop_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _until_ready(self, process: Process) -> None:
        """Wait for readiness, the process's end, `stop` or the time limit, whichever is first."""
        ready = asyncio.ensure_future(self.child.ready(process))
        ended = asyncio.ensure_future(process.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        waits = (ready, ended, stopping)
        try:
            await asyncio.wait(waits, timeout=self.child.start_s, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise self.child.failure(ended.result())
            if stopping.done():
                raise StartFailed(f"{self.child.name} was told to stop before it was ready")
            if not ready.done():
                raise StartFailed(f"{self.child.name} wasn't ready after {self.child.start_s:g} s")
            ready.result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _end(self, patience_s: float) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        if patience_s > 0:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), patience_s)
            except TimeoutError:
                process_log().warning(
                    "a part of the fleet didn't stop in time and was killed",
                    event=events.PART_KILLED,
                    part=self.child.name,
                    after_s=patience_s,
                )
            else:
                return
        self.kill()
        await asyncio.wait_for(process.wait(), _KILLED_S)

    def _show(self, status: str, *, pid: int = 0) -> None:
        self.state.status, self.state.pid = status, pid
        self._changed()
