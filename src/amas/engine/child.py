"""What every child process on this machine needs: to die with its parent, and a last word from its log.

Called by whatever starts a process that must not outlive it: the embedded engine here, the local platform above.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_TAIL_BYTES = 8192  # holds the last lines of any log we write, however long the file


def die_with_parent() -> Callable[[], None] | None:
    """Return a `preexec_fn` that has the kernel kill the child when the thread that forked it ends; None where it can't.

    Start children from a thread that lives as long as they should: the main thread, in all our processes.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    libc, parent = ctypes.CDLL(None), os.getpid()

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return bind


def log_size(path: Path) -> int:
    """Return how long a log is now, so that `last_lines` can leave out what earlier starts wrote."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def last_lines(path: Path, *, count: int, since: int = 0) -> list[str]:
    """Return the last `count` lines that aren't empty, written after byte `since`; none when the log can't be read."""
    try:
        with path.open("rb") as log:
            log.seek(max(since, log_size(path) - _TAIL_BYTES))
            text = log.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]
