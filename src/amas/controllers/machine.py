"""How busy and how full this machine is, from /proc; where that isn't (other systems), those figures are absent."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


class Counts(NamedTuple):
    """What a machine has done since it started, and how full it is; empty where it can't be told."""

    cpu_s: dict[str, float]
    """`busy` and `idle`, of all cores together."""
    memory: dict[str, int]
    """Bytes `used` and `available`."""
    network: dict[str, int]
    """Bytes `received` and `sent`, over all interfaces but the loopback."""
    disk: dict[str, int]
    """Bytes `used` and `free`."""


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
            found["machine_memory"] = 1 - memory["MemAvailable"] / memory["MemTotal"]
        if disk := self._disk():
            total, free = disk
            found["disk_free"] = free / total if total else 0.0
        return found

    def _read_ticks(self) -> tuple[int, int]:
        """Return the idle and all clock ticks of all cores together; waiting for a disk is idle. See proc_stat(5)."""
        ticks = [int(text) for text in (self._proc / "stat").read_text().splitlines()[0].split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)

    def _read_memory(self) -> dict[str, int]:
        """Return KiB by name. See proc_meminfo(5)."""
        lines = (line.split(":", 1) for line in (self._proc / "meminfo").read_text().splitlines() if ":" in line)
        return {name: int(value.split()[0]) for name, value in lines}

    def _read_network(self) -> dict[str, int]:
        """See proc_pid_net(5): after an interface's name come eight numbers of what it received and eight of what it sent."""
        lines = (line.partition(":") for line in (self._proc / "net" / "dev").read_text().splitlines()[2:])
        numbers = [rest.split() for name, _, rest in lines if name.strip() != "lo"]
        return {"received": sum(int(each[0]) for each in numbers), "sent": sum(int(each[8]) for each in numbers)}

    def counts(self) -> Counts:
        """Return the plain counts, for whoever works out rates of its own; blocking, for a fraction of a millisecond."""
        cpu_s: dict[str, float] = {}
        memory: dict[str, int] = {}
        network: dict[str, int] = {}
        try:
            idle, total = self._read_ticks()
            kib = self._read_memory()
            network = self._read_network()
        except (OSError, ValueError, KeyError, IndexError):
            pass  # no such system
        else:
            cpu_s = {"busy": (total - idle) / _TICKS, "idle": idle / _TICKS}
            memory = {"used": (kib["MemTotal"] - kib["MemAvailable"]) << 10, "available": kib["MemAvailable"] << 10}
        total, free = self._disk() or (0, 0)
        return Counts(cpu_s, memory, network, {"used": total - free, "free": free} if total else {})

    def _disk(self) -> tuple[int, int] | None:
        """Return the bytes of the home's disk, and those that are free; None without a home, or where it went away."""
        if self._home is None:
            return None
        try:
            usage = shutil.disk_usage(self._home)
        except OSError:
            return None
        return usage.total, usage.free
