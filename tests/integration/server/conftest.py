"""A control plane over a real engine and real records, a client that talks to it, and hands that do tasks as a host would."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from amas.engine.connection import Engine
from amas.engine.hosts import HostAbout, PoolCard
from amas.engine.payload import encode_payload
from amas.engine.queue import Slots
from amas.model.fleet import FleetLimits, FleetSpec, PoolSpec
from amas.model.states import Layer
from amas.model.task import Claimed, Completion, FailedAttempt, Failure
from amas.records.store import Records
from amas.server.app import create_app
from amas.server.live import end
from amas.server.plane import ControlPlane
from amas.settings import ServerSettings

WORK, ROOT = "test.work", "executive.coordinate"
FLEET = FleetSpec(
    name="small",
    pools=(
        PoolSpec(name="coordinator", agent="x:y", capabilities=(ROOT,), layer=Layer.EXECUTIVE),
        PoolSpec(name="worker", agent="x:y", capabilities=(WORK,), lead="coordinator", replicas=2),
    ),
    limits=FleetLimits(max_workflows=3),
)


class Hands:
    """A host with three agents, moved by hand."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.cards = tuple(
            PoolCard(pool.name, pool.layer, pool.lead, pool.title, "1", 2, ((1, pool.replicas),), pool.capabilities)
            for pool in FLEET.pools
        )

    async def register(self, *, lease_s: float = 60.0) -> None:
        await self.plane.hosts.register("h1", HostAbout(1, "here", "1", self.cards), lease_s=lease_s)

    async def claim(self, queue: str = WORK, agent: str = "worker-1", *, limit: int = 1) -> list[Claimed]:
        claimed = await self.plane.queue.claim("h1", [Slots((queue,), [agent] * limit)])
        assert claimed is not None, "the host isn't registered"
        return claimed

    async def finish(self, claimed: Claimed, result: Any) -> None:
        assert not await self.plane.queue.complete("h1", [Completion(claimed.id, claimed.attempt, encode_payload(result, "it"))])

    async def fail(self, claimed: Claimed, code: str, message: str) -> None:
        failure = encode_payload(Failure(code, message), "it")
        assert not await self.plane.queue.fail("h1", [FailedAttempt(claimed.id, claimed.attempt, failure, 0, True)])

    async def record(self) -> None:
        """Do what the recorder does."""
        records = self.plane.records
        while entries := await self.plane.journal.read(await records.position()):
            await records.apply(entries)


def make_plane(engine: Engine, records: Records, home: Path, **settings: Any) -> ControlPlane:
    known = {"engine": engine, "records": records, "fleet": FLEET, "settings": ServerSettings(**settings), "home": home}
    return ControlPlane(**known, reads_fresh_s=0)  # tests change things past it, and look at once


def client_of(plane: ControlPlane, **more: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(plane), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8000", **more)


@pytest.fixture
async def plane(engine: Engine, records: Records, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    made = make_plane(engine, records, tmp_path)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(made.live.run())
        async with asyncio.timeout(60):
            await made.live.following.wait()
        yield made
        await end(following)


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(plane) as made:
        yield made


@pytest.fixture
async def hands(plane: ControlPlane) -> Hands:
    made = Hands(plane)
    await made.register()
    return made
