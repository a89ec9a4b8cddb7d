"""A host as a process of its own: `python host_process.py '<json of Arguments>'`; prints `working`, leaves on SIGTERM."""

import asyncio
import random
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from host_bench import pool

from amas.agents.host import Host, HostHome
from amas.artifacts.store import ArtifactStore
from amas.observe.logging import open_log
from amas.settings import EngineSettings, HostSettings


class Arguments(msgspec.Struct):
    host_id: str
    url: str
    cell: str
    folder: str
    function: str
    pool: dict[str, Any] = {}
    settings: dict[str, Any] = {}


async def main(arguments: Arguments) -> None:
    folder = Path(arguments.folder)
    host = Host(
        arguments.host_id,
        [pool(arguments.function, **arguments.pool)],
        engine=EngineSettings(url=arguments.url, cell=arguments.cell),
        settings=HostSettings(**{"lease_s": 1.0, "beat_every_s": 0.1, "drain_s": 1.0, **arguments.settings}),
        home=HostHome(folder / "work", ArtifactStore(folder / "artifacts"), open_log(folder / f"{arguments.host_id}.jsonl")),
        rng=random.Random(arguments.host_id),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.drain)
    running = asyncio.create_task(host.run())
    await host.working.wait()
    print("working", flush=True)
    await running


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.argv[1], type=Arguments)))
