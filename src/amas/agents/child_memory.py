"""How much memory a pool's isolated attempts take, as the limit on them counts it: address space, in MiB.

Children say at their end what the most was that they had; those that run are looked at. Made for pools whose limit follows it
(`scaling.vertical`), and for no others. Filled in the host's loop, read in the lease's thread with each beat.
"""

from collections import deque
from pathlib import Path
from threading import Lock

from amas.clock import monotonic_s

KEPT_S = 30.0
"""Seconds for which a child's end counts: many beats and many looks of the autoscaler, each of which may be late."""


class ChildMemory:
    """Of one pool on one host."""

    def __init__(self) -> None:
        self._running: set[int] = set()
        self._ended: deque[tuple[float, int]] = deque()
        """When, and how much: falling, since what is less and earlier than another plays no part."""
        self._lock = Lock()

    def began(self, pid: int) -> None:
        """Look at this process from now on."""
        with self._lock:
            self._running.add(pid)

    def ended(self, pid: int) -> None:
        """Look at it no more."""
        with self._lock:
            self._running.discard(pid)

    def took(self, memory_mb: int) -> None:
        """Note what one child had at most, or would have needed."""
        with self._lock:
            while self._ended and self._ended[-1][1] <= memory_mb:
                self._ended.pop()
            self._ended.append((monotonic_s(), memory_mb))

    def most_mb(self) -> int:
        """Return the most that a child has, or had of late; 0 when there was none."""
        with self._lock:
            while self._ended and self._ended[0][0] < monotonic_s() - KEPT_S:
                self._ended.popleft()
            running, ended = list(self._running), [memory_mb for _, memory_mb in self._ended]
        return max([*ended, *map(peak_mb, running)], default=0)


def peak_mb(pid: int | str = "self") -> int:
    """Return the most address space in MiB that a process had, 0 for one that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmPeak:")]
    return int(found[0]) >> 10 if found else 0
