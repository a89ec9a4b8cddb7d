"""What the machine gives: CPU seconds of processes, and a yardstick that tells a quiet machine from a busy one."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Iterable[int]) -> float:
    """Return the user and system seconds that processes have taken so far, without their children."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def yardstick_ms() -> float:
    """Return how long a fixed Python loop takes; compare it between runs before comparing anything else."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        total = 0
        for number in range(2_000_000):
            total += number & 7
        best = min(best, time.perf_counter() - began)
    return best * 1000
