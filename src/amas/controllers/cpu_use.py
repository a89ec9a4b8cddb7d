"""What hosts use of their CPUs, which takes two looks at what each says of itself. For the duties that size pools and hosts."""

from collections.abc import Mapping

from amas.engine.scaling import HostLoad

CPU_MS = 10_000
"""Over which a host's CPU is measured: beats come every two seconds."""


class CpuUse:
    """How many CPUs each host uses, from the seconds that it says it has used."""

    def __init__(self) -> None:
        self.used: dict[str, float] = {}
        self._since: dict[str, tuple[int, float]] = {}

    def take(self, hosts: Mapping[str, HostLoad], at_ms: int) -> None:
        """Look at all live hosts; what is known of others is forgotten."""
        self._since = {host: since for host, since in self._since.items() if host in hosts}
        self.used = {host: use for host, use in self.used.items() if host in hosts}
        for host, load in hosts.items():
            from_ms, cpu_s = self._since.setdefault(host, (at_ms, load.figures.cpu_s))
            if load.figures.cpu_s < cpu_s:  # another process under its name
                self._since[host] = at_ms, load.figures.cpu_s
            elif at_ms - from_ms >= CPU_MS:
                self.used[host] = (load.figures.cpu_s - cpu_s) / (at_ms - from_ms) * 1000
                self._since[host] = at_ms, load.figures.cpu_s
