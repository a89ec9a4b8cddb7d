"""A fleet in the test's own process, on an engine of its own: records, a recorder, hosts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from host_bench import Bench, pool

from amas.artifacts.store import ArtifactStore
from amas.backup.make import Sources, make
from amas.backup.repository import Repository
from amas.backup.restore import ENGINE, RECORDS, Restorer
from amas.clock import new_ids
from amas.controllers.figures import Figures
from amas.controllers.reaper import Reaper
from amas.controllers.recorder import Recorder
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.engine.hosts import HostRegistry
from amas.engine.journal import Journal
from amas.engine.queue import make_submission
from amas.model.backup import Manifest
from amas.model.task import TaskSpec
from amas.records.store import Records

SECRET_KEY = b"a secret of some length"


class Running:
    """A fleet that runs in `home`."""

    def __init__(self, home: Path, engine: Engine, records: Records, url: str) -> None:
        self.home, self.engine, self.records = home, engine, records
        self.bench = Bench(engine, url, home)
        self.reaper = Reaper(HostRegistry(engine), Figures(), lease_s=3.0)

    @property
    def sources(self) -> Sources:
        return Sources(self.engine, self.records, ArtifactStore(self.home / "artifacts"), self.home, "ledger")

    async def submit(self, count: int, **spec: Any) -> list[str]:
        ids = new_ids(count)
        await self.bench.queue.submit([make_submission(one, TaskSpec(**{"capability": "test.ledger", **spec})) for one in ids])
        return ids

    async def back_up(self, repository: Repository, *, full: bool = False) -> Manifest:
        return await make(repository, self.sources, full=full)

    async def record(self) -> None:
        """Have the records hold all that the engine said."""
        recorder = Recorder(Journal(self.engine), self.records, Figures())
        while await self.records.position() != await Journal(self.engine).last_id():
            await recorder.run_once(wait_ms=0)

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        """Record for the body, as a control plane does."""
        recorder = Recorder(Journal(self.engine), self.records, Figures())

        async def go_on() -> None:
            while True:
                await asyncio.sleep(await recorder.run_once(wait_ms=50))

        recording = asyncio.create_task(go_on())
        try:
            yield
        finally:
            recording.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await recording

    def ledger_pool(self, ledger: Path) -> Any:
        return pool("ledger", tasks_per_agent=8, options={"ledger": str(ledger), "steps": 2})


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Running]:
    """Run an engine and records in a home, new or restored."""
    server = EmbeddedEngine(home / ENGINE)
    await server.start()
    try:
        async with Engine(server.url) as engine, await Records.open(f"sqlite:///{home / RECORDS}") as records:
            await engine.check(load=True)
            yield Running(home, engine, records, server.url)
    finally:
        await server.stop()


async def restored(repository: Repository, manifest: Manifest, home: Path) -> dict[str, int]:
    """Restore into `home`."""
    return await Restorer(repository, manifest).into(home)
