"""A child process's side of the agreement with its supervisor: it says when it is ready, and stops when it is told to.

Ready is one line on an inherited pipe whose number is in the environment: `amas serve` says it when it listens, `amas host` when
its agents are registered; outside a supervisor that does nothing. The pipe's other end is read in `children.py`; its end without
a line means that the child died first.
"""

import asyncio
import os
import signal
from collections.abc import Callable

READY_FD = "AMAS_READY_FD"
READY_LINE = b"ready\n"


def tell_ready() -> None:
    """Tell the supervisor, if there is one, that this process has begun its work; a second call does nothing."""
    number = os.environ.pop(READY_FD, "")
    if number.isdigit():
        with open(int(number), "wb", buffering=0) as pipe:  # noqa: PTH123  a descriptor, not a path
            pipe.write(READY_LINE)


def on_stop(stop: Callable[[], None]) -> None:
    """Have the running loop call `stop` when this process is told to end, by its supervisor or from a terminal."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
