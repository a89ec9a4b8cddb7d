"""Processes for isolated attempts, forked from one warmed parent (`warm.py`) of this host: the host's side.

The parent is started with the first attempt and, should it die, with the next one; all its children die with it. Used by
`isolation.py`; made, and closed at its end, by the host.
"""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from itertools import count

import msgspec

from amas.agents import warm
from amas.agents.failures import AttemptFailed, failed
from amas.model.fleet import ProcessLimits
from amas.secrets import HOSTS_OWN

CLOSE_S = 5.0
"""Seconds for the parent to end once it was hung up on; only the kernel can hold it up."""
FULL_S = 0.005
"""Between two tries to say something to a parent that has much to read."""


class Child:
    """One attempt's process. It leads a session and a process group of its own."""

    def __init__(self, pid: int, code: "asyncio.Future[int]") -> None:
        self.pid, self._code = pid, code

    async def wait(self) -> int:
        """Return its exit code, or minus the number of the signal that ended it."""
        return await asyncio.shield(self._code)


class Nursery:
    """One host's."""

    def __init__(self) -> None:
        self._parent: _Parent | None = None
        self._starting = asyncio.Lock()

    async def fork(self, line: socket.socket, output: int, limits: ProcessLimits) -> Child:
        """Return a process that works on what comes over `line` and prints to `output`; both are copied, and stay the caller's.

        AttemptFailed when the system has no room for another process.
        """
        async with self._starting:
            if self._parent is None or self._parent.gone:
                self._parent = await _Parent.start()
            parent = self._parent
        return await parent.fork(line, output, limits)

    async def close(self) -> None:
        """End the parent, and with it all children."""
        async with self._starting:
            parent, self._parent = self._parent, None
            if parent is not None:
                await parent.close()


class _Parent:
    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process, self._control = process, control
        self._numbers = count(1)
        self._ordered: dict[int, asyncio.Future[Child]] = {}
        self._children: dict[int, asyncio.Future[int]] = {}
        self._loop = asyncio.get_running_loop()
        self.gone = False
        self._loop.add_reader(control.fileno(), self._hear)

    @classmethod
    async def start(cls) -> "_Parent":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # nothing in the working folder stands in for a module of Python's own
                    "-m",
                    "amas.agents.warm",
                    *(str(number) for number in (theirs.fileno(), os.getpid())),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env={name: value for name, value in os.environ.items() if name not in HOSTS_OWN},
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return cls(process, ours)

    async def fork(self, line: socket.socket, output: int, limits: ProcessLimits) -> Child:
        number = next(self._numbers)
        born = self._ordered[number] = self._loop.create_future()
        order = msgspec.msgpack.encode(warm.Order(number, limits.memory_mb, round(limits.cpu_s)))
        try:
            while not self.gone:
                try:
                    socket.send_fds(self._control, [order], [line.fileno(), output])
                    break
                except BlockingIOError:
                    await asyncio.sleep(FULL_S)
                except OSError:  # it has just died
                    self._die()
            child: Child = await born
            return child
        finally:
            if not born.done() or born.cancelled():
                self._ordered.pop(number, None)  # what comes nevertheless has no caller, and is ended

    def _hear(self) -> None:
        """Take what the parent says."""
        while not self.gone:
            try:
                said = self._control.recv(warm.MESSAGE_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                said = b""
            if not said:
                self._die()
                return
            match warm.from_parent.decode(said):
                case warm.Forked(number, pid):
                    code = self._children[pid] = self._loop.create_future()
                    if (born := self._ordered.pop(number, None)) is None:
                        end_group(pid)
                    else:
                        born.set_result(Child(pid, code))
                case warm.Refused(number, why):
                    if born := self._ordered.pop(number, None):
                        born.set_exception(AttemptFailed(failed("process_refused", f"the system starts no process: {why}")))
                case warm.Ended(pid, code):
                    self._children.pop(pid).set_result(code)

    def _die(self) -> None:
        """Note that the parent has gone, and all its children with it."""
        if self.gone:
            return
        self.gone = True
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        for born in self._ordered.values():
            if not born.done():
                born.set_exception(AttemptFailed(failed("process_crashed", "the parent of isolated agents' processes has ended")))
        for ended in self._children.values():
            if not ended.done():
                ended.set_result(-signal.SIGKILL)
        self._ordered.clear()
        self._children.clear()

    async def close(self) -> None:
        self._die()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()


def end_group(pid: int) -> None:
    """Kill a child and whatever it started; the child leads a group of its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
