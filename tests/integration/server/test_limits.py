"""Limits and budgets over HTTP: seen, changed, and refused with a sentence."""

from typing import Any

import httpx
import pytest
from tests.integration.server.conftest import Hands

from amas.server.plane import ControlPlane


async def test_a_limit_is_seen_and_changed_while_tasks_wait(client: httpx.AsyncClient, plane: ControlPlane, hands: Hands) -> None:
    task = {"capability": "test.work", "concurrency": {"customer-42": 1}}
    stored = await client.post("/api/tasks/batch", json=[task, task, task])
    assert stored.status_code == 201
    await hands.register()
    assert len(await hands.claim()) == 1
    assert not await hands.claim()
    (slots,) = (await client.get("/api/limits")).json()["slots"]
    assert slots == {"key": "customer-42", "limit": 1, "held": 1, "parked": 2}
    waits_for = [(await client.get(f"/api/tasks/{task_id}")).json()["waits_for"] for task_id in stored.json()["ids"]]
    assert waits_for == [[], ["slots:customer-42"], ["slots:customer-42"]]
    answer = await client.put("/api/limits/slots/customer-42", json={"limit": 3})
    assert answer.json()["slots"][0]["parked"] == 0
    assert len([*await hands.claim(), *await hands.claim()]) == 2


async def test_a_provider_and_a_budget_are_set(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/limits/rate/openai", json={"requests_per_min": 10})
    assert answer.json()["rates"][0]["requests_per_min"] == 10
    budget = (await client.put("/api/budgets/tenant/acme", json={"usd": 2.5})).json()
    assert (budget["scope"], budget["limit"]) == ("tenant/acme", {"usd": 2.5})
    assert (await client.get("/api/budgets")).json()["items"] == [budget]


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("limits/slots/k", {}, "say how many tasks may run at once"),
        ("limits/rate/openai", {"requests_per_min": 0}, ">= 1"),
        ("limits/other/k", {"limit": 1}, "slots, for a concurrency key, or rate"),
        ("budgets/tenant/acme", {"usd": -1}, ">= 0"),
        ("budgets/planet/mars", {"usd": 1}, "workflow, task, tenant or pool"),
    ],
)
async def test_what_is_wrong_is_said(client: httpx.AsyncClient, path: str, body: dict[str, Any], sentence: str) -> None:
    answer = await client.put(f"/api/{path}", json=body)
    assert answer.status_code == 422
    assert sentence in answer.text
