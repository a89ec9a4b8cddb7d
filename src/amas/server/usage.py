"""What the fleet's processes and this machine take, for one scrape: CPU, memory, network and storage.

Hosts count their CPU from their own start; here only what they used since the last look is added, so the sum never falls when
hosts come and go. What a host that died used after its last beat is missing.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from amas.agents.lease import process_figures
from amas.controllers.machine import Counts, Machine
from amas.engine.connection import Engine
from amas.engine.hosts import HostView
from amas.engine.vitals import read_usage
from amas.observe.metrics import Usage

KNOWN_MAX = 10_000
"""Host processes whose last word is kept, as in `deliveries.py`."""


class UsageMeter:
    """Looks when it is asked."""

    def __init__(self, engine: Engine, home: Path) -> None:
        """`home`: the fleet's folder, whose disk and files count."""
        self._engine, self._home, self._machine = engine, home, Machine(home)
        self._hosts_s = 0.0
        self._last: dict[tuple[str, str, int], float] = {}

    async def look(self, hosts: Iterable[HostView]) -> Usage:
        """Return everything as it is now; EngineError when the engine doesn't answer."""
        hosts = list(hosts)
        self._add(hosts)
        engine = await read_usage(self._engine)
        machine, storage = await asyncio.to_thread(self._files)
        if engine.stored_bytes is not None:
            storage["engine"] = engine.stored_bytes
        cpu_s, rss_bytes = process_figures()
        return Usage(
            cpu_s={"engine": engine.cpu_s, "control_plane": cpu_s, "hosts": self._hosts_s},
            memory={
                "engine": engine.rss_bytes,
                "control_plane": rss_bytes,
                "hosts": sum(host.figures.rss_bytes for host in hosts),
            },
            network={"received": engine.received_bytes, "sent": engine.sent_bytes},
            storage=storage,
            machine_cpu_s=machine.cpu_s,
            machine_memory=machine.memory,
            machine_network=machine.network,
            disk=machine.disk,
        )

    def _add(self, hosts: Iterable[HostView]) -> None:
        for host in hosts:
            process = host.id, host.about.machine, host.about.pid
            self._hosts_s += max(0.0, host.figures.cpu_s - self._last.pop(process, 0.0))
            self._last[process] = host.figures.cpu_s
        while len(self._last) > KNOWN_MAX:
            del self._last[next(iter(self._last))]

    def _files(self) -> tuple[Counts, dict[str, int]]:
        """Artifacts are left out: there may be millions of them."""
        storage = {"records": _bytes_of(self._home.glob("records.sqlite3*")), "logs": _bytes_of(self._home.glob("logs/*"))}
        return self._machine.counts(), {part: size for part, size in storage.items() if size}


def _bytes_of(files: Iterable[Path]) -> int:
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except OSError:  # it went away meanwhile
            continue
    return total
