"""Reads through a control plane that keeps its answers for an hour, so that only what is noted can make them anew."""

from collections.abc import AsyncIterator

import httpx
import pytest

from amas.clock import new_id
from amas.engine.connection import Engine
from amas.engine.queue import make_submission
from amas.model.task import TaskSpec
from amas.records.store import Records
from amas.server.plane import ControlPlane
from amas.server.shared import PATHS

from .conftest import WORK, Hands, client_of, make_plane
from .test_access import bearer, make

FOR_ALL = sorted(PATHS)


@pytest.fixture
async def kept(engine: Engine, records: Records, tmp_path) -> AsyncIterator[tuple[httpx.AsyncClient, ControlPlane, Hands]]:
    plane = make_plane(engine, records, tmp_path)
    plane.reads_fresh_s = 3600.0
    hands = Hands(plane)
    await hands.register()
    async with client_of(plane) as client:
        yield client, plane, hands


async def _queued(client: httpx.AsyncClient) -> int:
    return (await client.get("/api/metrics")).json()["tasks"]["queued"].get(WORK, 0)


async def test_a_read_after_an_acknowledged_write_shows_it(kept) -> None:
    client, _, _ = kept
    for number in range(1, 6):
        assert (await client.post("/api/tasks", json={"capability": WORK})).status_code == 201
        assert await _queued(client) == number
    batch = await client.post("/api/tasks/batch", json=[{"capability": WORK}] * 3)
    assert await _queued(client) == 8
    await client.post(f"/api/tasks/{batch.json()['ids'][0]}/cancel")
    assert await _queued(client) == 7


async def test_answers_are_kept_with_a_tag_and_given_once(kept) -> None:
    client, _, _ = kept
    for path in FOR_ALL:
        first = await client.get(path)
        assert first.status_code == 200 and first.headers["cache-control"] == "private, no-cache"
        again = await client.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.requirement("A11")
async def test_without_the_cache_everybody_gets_an_answer_of_their_own(engine: Engine, records: Records, tmp_path) -> None:
    plane = make_plane(engine, records, tmp_path)
    plane.reads_fresh_s = 0.0
    await Hands(plane).register()
    async with client_of(plane) as client:
        for path in FOR_ALL:
            first = await client.get(path)
            assert first.status_code == 200 and first.headers["etag"]
        # past the API, so that nothing says that answers are old
        await plane.queue.submit([make_submission(new_id(), TaskSpec(capability=WORK))])
        assert await _queued(client) == 1
        same = await client.get("/api/pools")
        again = await client.get("/api/pools", headers={"if-none-match": same.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_no_tenant_gets_what_was_made_for_another_or_for_all(kept) -> None:
    client, _, hands = kept
    admin = bearer((await make(client, "root", "system-admin"))["key"])
    callers = {
        tenant: bearer((await make(client, f"a-{tenant}", "operator", admin, tenant=tenant))["key"])
        for tenant in ("acme", "rival")
    }
    for tenant, caller in callers.items():
        await client.post("/api/tasks", json={"capability": WORK, "title": f"of {tenant}"}, headers=caller)
    await hands.record()

    async def titles(headers: dict[str, str]) -> list[str]:
        answer = await client.get("/api/tasks?limit=20", headers=headers)
        return [task["title"] for task in answer.json()["items"]]

    for _ in range(2):
        assert sorted(await titles(admin)) == ["of acme", "of rival"]
        for tenant, caller in callers.items():
            assert await titles(caller) == [f"of {tenant}"]
            refused = [
                (await client.get(path, headers=caller)).status_code for path in ("/api/metrics", "/api/agents", "/api/pools")
            ]
            assert refused == [403, 403, 403]  # though they are kept by now
        await client.get("/api/metrics", headers=admin)
        await client.get("/api/agents", headers=admin)
        await client.get("/api/pools", headers=admin)


async def test_requests_are_counted_under_their_route_however_they_are_answered(kept) -> None:
    client, plane, _ = kept
    for _ in range(3):
        await client.get("/api/pools")
    page = plane.metrics.page(None, [], queues=frozenset()).decode()
    counted = [line for line in page.splitlines() if 'route="/api/pools"' in line and "_count" in line]
    assert len(counted) == 1 and counted[0].endswith(" 3.0")
