"""Bounded queues over HTTP."""

import httpx
import pytest
from tests.integration.server.conftest import WORK, Hands

from amas.server.plane import ControlPlane
from amas.server.serve import metrics_app

TASK = {"capability": WORK}


@pytest.fixture
async def bounded(plane: ControlPlane) -> ControlPlane:
    await plane.bounds.set({WORK: 3, "delayed": 1})
    return plane


async def test_a_full_queue_answers_429_with_when_to_come_back(client, bounded: ControlPlane, hands: Hands) -> None:
    assert (await client.post("/api/tasks/batch", json=[TASK] * 3)).status_code == 201
    for path, body in (
        ("/api/tasks", TASK),
        ("/api/tasks/batch", [TASK] * 2),
        ("/api/tasks/batch", [{**TASK, "delay_s": 5}] * 2),
    ):
        refused = await client.post(path, json=body)
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) >= 1
        problem = refused.json()
        assert (problem["type"], problem["code"], problem["status"]) == ("urn:amas:problem:queue_full", "queue_full", 429)
        assert "takes at most" in problem["detail"]
    assert await bounded.queue.depths() == {WORK: 3}
    await hands.claim(limit=2)
    assert (await client.post("/api/tasks/batch", json=[TASK] * 2)).status_code == 201


async def test_depth_and_bound_are_shown(client, bounded: ControlPlane) -> None:
    await bounded.bounds.set({WORK: 3, "nobodys.queue": 9})
    await client.post("/api/tasks/batch", json=[TASK] * 2)
    tasks = (await client.get("/api/metrics")).json()["tasks"]
    assert (tasks["queued"], tasks["bounds"]) == ({WORK: 2}, {WORK: 3, "nobodys.queue": 9})
    transport = httpx.ASGITransport(metrics_app(bounded))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:9090") as prometheus:
        page = (await prometheus.get("/metrics")).text
    assert f'amas_queue_bound{{queue="{WORK}"}} 3.0' in page
    assert f'amas_tasks_queued{{queue="{WORK}"}} 2.0' in page
    assert "nobodys.queue" not in page
