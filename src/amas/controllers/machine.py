"""How busy and how full this machine is, from /proc; where that isn't (other systems), those figures are absent."""

import shutil
from pathlib import Path

PROC = Path("/proc")


class Machine:
    """Looked at every few seconds: the share of busy cores is that since the last look."""

    def __init__(self, home: Path | None, *, proc: Path = PROC) -> None:
        """`home`: the folder whose disk counts."""
        self._home, self._proc = home, proc
        self._ticks: tuple[int, int] | None = None

    def look(self) -> dict[str, float]:
        """Return `machine_cpu`, `machine_memory` and `disk_free`, as far as they can be told, each from 0 to 1."""
        found: dict[str, float] = {}
        try:
            idle, total = self._read_ticks()
            memory = self._read_memory()
        except (OSError, ValueError, KeyError, IndexError):
            pass  # no such system; the disk can be told everywhere
        else:
            before, self._ticks = self._ticks, (idle, total)
            if before is not None and total > before[1]:
                found["machine_cpu"] = min(1.0, max(0.0, 1 - (idle - before[0]) / (total - before[1])))
            found["machine_memory"] = memory
        if self._home is not None:
            try:
                usage = shutil.disk_usage(self._home)
            except OSError:
                return found
            found["disk_free"] = usage.free / usage.total if usage.total else 0.0
        return found

    def _read_ticks(self) -> tuple[int, int]:
        """Return the idle and all clock ticks of all cores together; waiting for a disk is idle. See proc_stat(5)."""
        ticks = [int(text) for text in (self._proc / "stat").read_text().splitlines()[0].split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)

    def _read_memory(self) -> float:
        """Return the share of memory that no program could have. See proc_meminfo(5)."""
        lines = (line.split(":", 1) for line in (self._proc / "meminfo").read_text().splitlines() if ":" in line)
        kib = {name: int(value.split()[0]) for name, value in lines}
        return 1 - kib["MemAvailable"] / kib["MemTotal"]
