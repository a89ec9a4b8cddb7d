"""What the engine's server says of itself: what it takes, and how long its transitions took. Read only, one round trip each.

A server that several cells share tells of all of them together.
"""

from typing import NamedTuple

from amas.engine.connection import Engine
from amas.engine.library import LIBRARY


class EngineUsage(NamedTuple):
    """What the server takes; counters are since it started."""

    cpu_s: float
    rss_bytes: int
    received_bytes: int
    sent_bytes: int
    stored_bytes: int | None
    """Of its append-only file; None where it has none."""


class SlowCall(NamedTuple):
    """One command that took long."""

    at_ms: int
    micros: int
    command: str
    """The transition's name, or the command's: never its arguments, which are people's work."""


class CommandFigures(NamedTuple):
    """How a command did since the server started."""

    name: str
    calls: int
    micros: int
    """In all."""
    failed: int


class Vitals(NamedTuple):
    """How a server is, for whoever looks for what is slow."""

    version: str
    up_s: int
    keys: int
    clients: int
    blocked: int
    """Clients that wait for something: each host's bell is one."""
    memory_bytes: int
    memory_max_bytes: int
    """0: no limit."""
    commands: list[CommandFigures]
    """What took most time first."""
    slow: list[SlowCall]
    """The newest first; only what took longer than the server's `slowlog-log-slower-than`."""


async def read_usage(engine: Engine) -> EngineUsage:
    """Return what the server takes; EngineError when it doesn't answer."""
    cpu, memory, stats, stored = await engine.read([("INFO", part) for part in ("cpu", "memory", "stats", "persistence")])
    return EngineUsage(
        cpu_s=float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]),
        rss_bytes=int(memory["used_memory_rss"]),
        received_bytes=int(stats["total_net_input_bytes"]),
        sent_bytes=int(stats["total_net_output_bytes"]),
        stored_bytes=int(stored["aof_current_size"]) if "aof_current_size" in stored else None,
    )


async def read_vitals(engine: Engine, *, most: int = 10) -> Vitals:
    """Return how the server is, with at most so many commands and slow calls; EngineError when it doesn't answer."""
    asked = [("INFO", part) for part in ("server", "clients", "memory", "commandstats")]
    server, clients, memory, commands, slow, keys = await engine.read([*asked, ("SLOWLOG", "GET", most), ("DBSIZE",)])
    figures = [
        CommandFigures(name.removeprefix("cmdstat_"), int(of["calls"]), int(of["usec"]), int(of.get("failed_calls", 0)))
        for name, of in commands.items()
    ]
    return Vitals(
        version=str(server.get("valkey_version") or server.get("redis_version", "")),
        up_s=int(server["uptime_in_seconds"]),
        keys=int(keys),
        clients=int(clients["connected_clients"]),
        blocked=int(clients["blocked_clients"]),
        memory_bytes=int(memory["used_memory"]),
        memory_max_bytes=int(memory["maxmemory"]),
        commands=sorted(figures, key=lambda each: -each.micros)[:most],
        slow=[SlowCall(int(at_s) * 1000, int(micros), _named(command)) for _, at_s, micros, command, *_ in slow],
    )


def _named(command: object) -> str:
    """Return `complete` for a call of that transition, else the command's name."""
    words = command if isinstance(command, list) else bytes(command).split(b" ") if isinstance(command, bytes) else []
    said = [bytes(word).decode(errors="replace") for word in words[:2]]
    if len(said) > 1 and said[0].upper() == "FCALL":
        return said[1].removeprefix(f"{LIBRARY}_")
    return said[0] if said else ""
