"""What the machine gives: CPU seconds of processes, and a yardstick that tells a quiet machine from a busy one."""

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Iterable[int]) -> float:
    """Return the user and system seconds that processes have taken so far, without their children."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def yardstick_ms(*, times: int = 3) -> float:
    """Return how long a fixed Python loop takes, at best; compare it between runs before comparing anything else."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        total = 0
        for number in range(2_000_000):
            total += number & 7
        best = min(best, time.perf_counter() - began)
    return best * 1000


def fsync_ms(folder: Path, *, times: int = 200) -> float:
    """Return the median milliseconds of a write of 4 KiB and its fdatasync in `folder`."""
    taken = []
    path = folder / "fsync"
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    path.unlink()
    return sorted(taken)[times // 2]


def about() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "python": platform.python_version(),
        "kernel": platform.release().partition("-")[0],
    }
