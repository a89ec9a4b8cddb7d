"""A host as a process of its own: `python host_process.py '<json of Arguments>'`; prints `working`, leaves on SIGTERM."""

import asyncio
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from host_bench import pool

from amas.agents.host import Host, HostHome
from amas.artifacts.store import ArtifactStore
from amas.engine import library
from amas.model.fleet import PoolSpec
from amas.model.tools import ToolSpec
from amas.observe.logging import open_log
from amas.settings import EngineSettings, HostSettings


class Arguments(msgspec.Struct):
    host_id: str
    url: str
    cell: str
    folder: str
    function: str
    pool: dict[str, Any] = {}
    tools: dict[str, ToolSpec] = {}
    others: dict[str, dict[str, Any]] = {}
    """More pools of the same host, by name."""
    settings: dict[str, Any] = {}
    interface: int = 0
    """Which interface's functions this host calls; 0 for its own."""
    clock_file: str = ""
    """Holds the seconds by which this process's wall clock is wrong, from now on; it may change at any time."""


def set_clock_by(file: Path) -> None:
    """Have the wall clock jump whenever the file changes, as NTP or an operator may set it."""
    real_ns = time.time_ns

    def wrong_ns() -> int:
        return real_ns() + int(file.read_text()) * 1_000_000_000

    time.time_ns = wrong_ns
    time.time = lambda: wrong_ns() / 1e9


def seated(name: str, said: dict[str, Any]) -> PoolSpec:
    """Return a pool as a host reads it: what came as JSON's lists are tuples."""
    return msgspec.convert(msgspec.to_builtins(pool(name, **said)), PoolSpec)


async def main(arguments: Arguments) -> None:
    folder = Path(arguments.folder)
    host = Host(
        arguments.host_id,
        [seated(name, each) for name, each in {arguments.function: arguments.pool, **arguments.others}.items()],
        engine=EngineSettings(url=arguments.url, cell=arguments.cell),
        settings=HostSettings(**{"lease_s": 3.0, "beat_every_s": 0.1, "drain_s": 1.0, **arguments.settings}),
        home=HostHome(folder / "work", ArtifactStore(folder / "artifacts"), open_log(folder / f"{arguments.host_id}.jsonl")),
        rng=random.Random(arguments.host_id),
        tools=arguments.tools,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.drain)
    running = asyncio.create_task(host.run())
    await host.working.wait()
    print("working", flush=True)
    await running


if __name__ == "__main__":
    arguments = msgspec.json.decode(sys.argv[1], type=Arguments)
    if arguments.interface:
        library.LIBRARY = f"amas{arguments.interface}"
    if arguments.clock_file:
        set_clock_by(Path(arguments.clock_file))
    uvloop.run(main(arguments))
