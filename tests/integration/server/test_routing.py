"""Routes over HTTP, and why a task went where it went: told with the figures of its draw."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.integration.server.conftest import FLEET, ROOT, WORK, Hands, client_of, make_plane

from amas.engine.connection import Engine
from amas.engine.queue import make_submission
from amas.engine.routes import Routes, branch
from amas.model.fleet import PoolSpec
from amas.model.routing import Choice, Route
from amas.model.task import TaskSpec
from amas.records.store import Records
from amas.server.plane import ControlPlane

PLUMBER = PoolSpec(name="plumber", agent="x:y", capabilities=(WORK,), lead="coordinator")


def choice(pool: str, share: float, **changes: Any) -> Choice:
    figures = {"success": 0.96, "trials": 140.0, "median_s": 1.2, "usd": 0.004, "waiting": 3, "slots": 2, "allowance": 5}
    return Choice(**{"pool": pool, "share": share, **figures, **changes})


ROUTE = Route(capability=WORK, choices=(choice("worker", 0.75), choice("plumber", 0.25, explored=True, success=0.5)))


@pytest.fixture
async def plane(engine: Engine, records: Records, tmp_path: Path) -> ControlPlane:
    made = make_plane(engine, records, tmp_path)
    made.fleet = msgspec.structs.replace(FLEET, pools=(*FLEET.pools, PLUMBER))
    made.__post_init__()
    return made


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(plane) as made:
        yield made


async def submitted(client: httpx.AsyncClient, count: int = 1, **task: Any) -> list[str]:
    answer = await client.post("/api/tasks/batch", json=[{"capability": WORK, **task}] * count)
    assert answer.status_code == 201, answer.text
    return list(answer.json()["ids"])


async def why(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    answer = await client.get(f"/api/tasks/{task_id}/why")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_the_table_is_shown(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    assert (await client.get("/api/routes")).json() == {"version": 0, "at_ms": 0, "routes": []}
    version = await Routes(plane.engine).publish([ROUTE], {}, memory=b"")
    found = (await client.get("/api/routes")).json()
    assert found["version"] == version
    assert [(one["pool"], one["share"]) for one in found["routes"][0]["choices"]] == [("worker", 0.75), ("plumber", 0.25)]


async def test_each_draw_is_told_with_the_figures_it_was_drawn_from(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    routes = Routes(plane.engine)
    version = await routes.publish([ROUTE], {}, memory=b"")
    ids = await submitted(client, 40)
    expected = {task_id: await plane.distributor.choose(WORK, task_id) for task_id in ids}
    await routes.publish([Route(capability=WORK, choices=(choice("worker", 1.0),))], {}, memory=b"")
    told = {task_id: await why(client, task_id) for task_id in ids}
    hows = {one["how"] for one in told.values()}
    assert hows == {"drawn", "explored", "overflow"}  # five fit into each pool's branch
    for task_id, one in told.items():
        drawn = expected[task_id]
        assert drawn is not None
        assert one["share"] == drawn.share  # Python draws as the engine does
        assert (one["table"], one["then"]) == (version, True)
        assert [each["pool"] for each in one["choices"]] == ["worker", "plumber"]
        if one["how"] == "overflow":
            assert one["pool"] == ""
            assert "the first free agent gets it" in one["sentence"]
        else:
            assert one["pool"] == drawn.pool
            assert one["sentence"].startswith(f"went to {drawn.pool} (")
        assert "worker: share 75%, success 96% of 140, median 1.2 s, 0.004 USD, 3 waiting" in one["sentence"]


async def test_tasks_that_were_not_routed_say_so(client: httpx.AsyncClient, plane: ControlPlane, hands: Hands) -> None:
    (first,) = await submitted(client)
    assert (await why(client, first))["how"] == "free"
    await hands.register()
    await hands.claim()
    assert (await why(client, first))["sentence"].startswith("was taken by worker: whichever of worker, plumber")
    (named,) = await submitted(client, pool="plumber")
    assert ((await why(client, named))["how"], (await why(client, named))["pool"]) == ("named", "plumber")
    await plane.queue.submit(
        [make_submission("alone", TaskSpec(capability=ROOT)), make_submission("odd", TaskSpec(capability="no.one"))]
    )
    alone, odd = await why(client, "alone"), await why(client, "odd")
    assert (alone["how"], alone["pool"]) == ("only", "coordinator")
    assert "the only pool that can do" in alone["sentence"]
    assert odd["how"] == "nobody"


async def test_a_task_that_is_not_queued_yet_says_where_it_would_go(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    await Routes(plane.engine).publish([ROUTE], {}, memory=b"")
    (later,) = await submitted(client, delay_s=60)
    told, drawn = await why(client, later), await plane.distributor.choose(WORK, later)
    assert drawn is not None
    assert (told["how"], told["pool"]) == ("expected", drawn.pool)


async def test_a_parked_task_names_what_it_waits_for(client: httpx.AsyncClient, plane: ControlPlane, hands: Hands) -> None:
    ids = await submitted(client, 2, concurrency={"customer": 1})
    await hands.register()
    await hands.claim()
    assert not await hands.claim()
    told = [await why(client, task_id) for task_id in ids]
    (parked,) = [one for one in told if one["waits_for"]]
    assert parked["waits_for"] == ["slots:customer"]
    assert "waits until there is room in slots:customer" in parked["sentence"]


async def test_what_the_engine_forgot_is_said_and_what_nobody_knows_is_refused(
    client: httpx.AsyncClient, plane: ControlPlane, hands: Hands
) -> None:
    (task_id,) = await submitted(client)
    await hands.register()
    (claimed,) = await hands.claim()
    await hands.finish(claimed, "done")
    await hands.record()
    await plane.engine.client.delete(plane.engine.key("t", task_id))
    told = await why(client, task_id)
    assert (told["how"], told["pool"]) == ("forgotten", "worker")
    assert "ran on worker-1" in told["sentence"]
    assert (await client.get("/api/tasks/nobodys/why")).status_code == 404
    assert branch(WORK, "worker") not in await plane.queue.depths()
