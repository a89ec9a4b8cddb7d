"""A child process's side of the agreement with its supervisor: it says when it is ready, and stops when it is told to.

Ready is one line on an inherited pipe whose number is in the environment: `amas serve` says it when it listens, `amas host` when
its agents are registered; outside a supervisor that does nothing. The pipe's other end is read in `children.py`; its end without
a line means that the child died first.

A *stand-by* is a process of the same part that has loaded what it needs and waits for its turn (`standby.py`): the first line on
another inherited pipe says that it has come, the pipe's end that it never will.

Process numbers come again, also on other machines: a child is known by its number and a *mark* that its supervisor gave it, so
what is said of one that died is never taken for another's.
"""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable

READY_FD = "AMAS_READY_FD"
READY_LINE = b"ready\n"
MARK = "AMAS_PART_MARK"
TURN_FD = "AMAS_TURN_FD"
TURN_LINE = b"go\n"


def new_mark() -> str:
    """Return a mark that no other process has."""
    return secrets.token_hex(4)


def marked(name: str, pid: int, mark: str) -> str:
    """Return what a process is called where all that there are must be told apart."""
    return f"{name}-{pid}-{mark}"


def my_name(name: str) -> str:
    """Return what this process is called there: with the mark of its supervisor, or one of its own."""
    return marked(name, os.getpid(), os.environ.pop(MARK, "") or new_mark())


def tell_ready() -> None:
    """Tell the supervisor, if there is one, that this process has begun its work; a second call does nothing."""
    number = os.environ.pop(READY_FD, "")
    if number.isdigit():
        with open(int(number), "wb", buffering=0) as pipe:  # noqa: PTH123  a descriptor, not a path
            pipe.write(READY_LINE)


def stands_by() -> bool:
    """Return whether this process is one that waits for its turn."""
    return TURN_FD in os.environ


def await_turn() -> None:
    """Return at once in a process that was started to work, in a stand-by when its turn has come; end it if that never comes."""
    if (number := os.environ.pop(TURN_FD, "")).isdigit():
        with open(int(number), "rb", buffering=0) as pipe:  # noqa: PTH123  a descriptor, not a path
            if pipe.readline() != TURN_LINE:
                sys.exit()


def on_stop(stop: Callable[[], None]) -> None:
    """Have the running loop call `stop` when this process is told to end, by its supervisor or from a terminal."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
