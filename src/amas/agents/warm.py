"""The warmed parent of a host's isolated attempts: `python -m amas.agents.warm <socket> <host's pid>`.

It has loaded what every attempt's process needs, and forks one for each that the host asks for: a few milliseconds, where
starting Python and importing takes hundreds, and pages that nobody writes are shared. It runs no agent's code, holds no secret
and has one thread, so a fork of it is sound. Started by `nursery.py` and by nothing else; it dies with its host, and its children
with it, by the kernel's hand.

Over a socket that keeps messages apart (`SOCK_SEQPACKET`) the host says an `Order`, with the attempt's socket and the pipe for
its output as file descriptors; what is said back is a `Forked`, a `Refused`, or, when a child has ended, an `Ended`.
"""

import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

import msgspec

from amas.agents.child import carry_out, die_with

MESSAGE_BYTES_MAX = 4096
_WAKE_BYTES = 4096


class Order(msgspec.Struct, frozen=True, array_like=True):
    """One attempt's process is wanted."""

    number: int
    memory_mb: int
    cpu_s: int


class Forked(msgspec.Struct, frozen=True, array_like=True, tag="forked"):
    """An order's process is there."""

    number: int
    pid: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """The system gives no further process."""

    number: int
    why: str


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="ended"):
    """A child has ended: with an exit code, or minus the number of the signal that ended it."""

    pid: int
    code: int


FromParent = Forked | Refused | Ended
order_of = msgspec.msgpack.Decoder(Order)
from_parent = msgspec.msgpack.Decoder(FromParent)


def serve(control: socket.socket) -> None:
    """Fork as asked until the host hangs up."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # so that it wakes us
    gc.collect()
    gc.freeze()  # what is there by now is never looked at again, so the children's pages of it stay shared
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, _WAKE_BYTES)
            for ended in _ended():
                control.send(msgspec.msgpack.encode(ended))
        if control in ready:
            said, handles, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, 2)
            if not said:
                return
            answer = _fork(order_of.decode(said), handles, close=(control.fileno(), woken, wake))
            for handle in handles:
                os.close(handle)
            control.send(msgspec.msgpack.encode(answer))


def _ended() -> Iterator[Ended]:
    """Yield each child that has ended since the last look."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield Ended(pid, os.waitstatus_to_exitcode(status))


def _fork(order: Order, handles: list[int], *, close: tuple[int, ...]) -> Forked | Refused:
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        return Refused(order.number, error.strerror or str(error))
    if not pid:
        _become(order, *handles, parent=parent, close=close)
    return Forked(order.number, pid)


def _become(order: Order, line: int, output: int, *, parent: int, close: tuple[int, ...]) -> NoReturn:
    """Be the attempt's process: in a session of its own, with nothing of its parent's open."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for handle in close:
            os.close(handle)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)
        carry_out(line, parent, memory_mb=order.memory_mb, cpu_s=order.cpu_s)
    except BaseException:  # noqa: BLE001  this is a process's top, and must not go on as the parent
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    handle, host_pid = map(int, sys.argv[1:])
    die_with(host_pid)
    serve(socket.socket(fileno=handle))
    os._exit(0)
