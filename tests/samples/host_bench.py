"""Hosts in the test's own process, on the test's own cell."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from amas.agents.host import BusOpener, Host, HostHome
from amas.artifacts.store import ArtifactStore
from amas.artifacts.values import BYTES_MAX
from amas.clock import new_id
from amas.engine.connection import Engine
from amas.engine.queue import TaskQueue, make_submission
from amas.model.fleet import PoolSpec
from amas.model.states import TaskState
from amas.model.task import RetryPolicy, TaskSpec, TaskView
from amas.model.tools import ToolSpec
from amas.observe.logging import open_log
from amas.sealing import Seal
from amas.settings import EngineSettings, HostSettings

SAMPLES = Path(__file__).parent
LIMIT_S = 60.0
QUICK = RetryPolicy(retries=2, backoff_s=0.001, backoff_max_s=0.002)


def pool(function: str, **changes: Any) -> PoolSpec:
    """Return a pool `function` of one agent that runs that sample."""
    return PoolSpec(**{"name": function, "agent": f"sample_agents:{function}", "capabilities": (f"test.{function}",), **changes})


class Bench:
    """What a test works with: the queue, and hosts that it starts."""

    def __init__(self, engine: Engine, url: str, folder: Path) -> None:
        self.engine, self.url, self.folder = engine, url, folder
        self.queue = TaskQueue(engine)
        self.artifacts = ArtifactStore(folder / "artifacts")
        self.payload_bytes = BYTES_MAX
        self.secret = ""
        self.seal: Seal | None = None
        self.bus: BusOpener | None = None

    @property
    def cell(self) -> str:
        return self.engine.prefix.removeprefix("amas:{").removesuffix("}")

    def log_lines(self, host_id: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in (self.folder / f"{host_id}.jsonl").read_bytes().splitlines()]

    @asynccontextmanager
    async def host(
        self,
        pools: Sequence[PoolSpec],
        host_id: str = "h1",
        *,
        numbers: dict[str, Sequence[int]] | None = None,
        tools: dict[str, ToolSpec] | None = None,
        **settings: Any,
    ) -> AsyncIterator[Host]:
        """Run a host for the body, and drain it after."""
        host = Host(
            host_id,
            pools,
            engine=msgspec.structs.replace(EngineSettings.read(), url=self.url, cell=self.cell),
            settings=HostSettings(**{"lease_s": 3.0, "beat_every_s": 0.1, "drain_s": 0.0, **settings}),
            home=HostHome(
                self.folder / "work",
                self.artifacts,
                open_log(self.folder / f"{host_id}.jsonl", level="DEBUG"),
                self.payload_bytes,
                self.secret,
                self.seal,
            ),
            rng=random.Random(7),
            numbers=numbers,
            bus=self.bus,
            tools=tools,
        )
        async with asyncio.timeout(3 * LIMIT_S), asyncio.TaskGroup() as group:
            running = group.create_task(host.run())
            await host.working.wait()
            try:
                yield host
            finally:
                host.drain()
                await asyncio.wait((running,))

    async def submit(self, capability: str, value: Any = None, **spec: Any) -> str:
        """Submit one task and return its id."""
        task_id = new_id()
        await self.queue.submit(
            [make_submission(task_id, TaskSpec(**{"capability": capability, "input": value, "retry": QUICK, **spec}))]
        )
        return task_id

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        """Return what `condition` returns as soon as that is true."""
        async with asyncio.timeout(LIMIT_S):
            while not (found := await condition()):
                await self.queue.promote()  # the timers' duty: retries become due
                await asyncio.sleep(0.005)
            return found

    async def ended(self, task_id: str) -> TaskView:
        """Return the task when it has ended."""
        return await self.state(task_id, TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED)

    async def state(self, task_id: str, *states: TaskState) -> TaskView:
        """Return the task when it is in one of `states`."""

        async def look() -> TaskView | None:
            view = await self.queue.task(task_id)
            return view if view and view.state in states else None

        return await self.until(look)
