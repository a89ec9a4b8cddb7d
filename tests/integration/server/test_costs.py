"""`GET /api/costs`, and what lookups say of costs."""

from typing import Any

import httpx
import pytest
from tests.integration.server.conftest import WORK, Hands

from amas.model.blob import to_blob
from amas.model.cost import ModelCall
from amas.model.limits import Usage
from amas.model.task import Completion, JournaledStep
from amas.server.figures import durations, snapshot

CALL = ModelCall("small", "openai", 100, 20, 60, 2000, 1500)


async def spend(client: httpx.AsyncClient, hands: Hands, tenant: str = "", usage: Usage | None = None) -> str:
    """Have a task done that asks a model once, and uses `usage` in all."""
    task_id: str = (await client.post("/api/tasks", json={"capability": WORK, "tenant": tenant})).json()["id"]
    (task,) = await hands.claim()
    queue = hands.plane.queue
    assert not await queue.journal_steps([JournaledStep(task.id, 1, "model/1", to_blob({}), (CALL,))])
    assert not await queue.complete("h1", [Completion(task.id, 1, to_blob(1), usage or Usage(2000, 120, 1))])
    await hands.record()
    return task_id


async def test_costs_are_added_up_by_what_is_asked_for(client: httpx.AsyncClient, hands: Hands) -> None:
    first = await spend(client, hands, "acme")
    await spend(client, hands, "zeta", Usage(3000, 150, 2))
    page: dict[str, Any] = (await client.get("/api/costs", params={"by": "tenant"})).json()
    assert [(item["name"], item["usd"], item["tokens"], item["calls"]) for item in page["items"]] == [
        ("acme", 0.002, 120, 1), ("zeta", 0.003, 150, 2)
    ]  # fmt: skip
    assert (page["total"]["usd"], page["total"]["cached_tokens"], page["next"]) == (0.005, 120, None)
    (day,) = (await client.get("/api/costs")).json()["items"]
    assert day["usd"] == 0.005
    models = (await client.get("/api/costs", params={"by": "model"})).json()["items"]
    assert [(item["name"], item["provider"], item["usd"]) for item in models] == [("", "", 0.001), ("small", "openai", 0.004)]
    only = (await client.get("/api/costs", params={"by": "task", "tenant": "acme"})).json()
    assert [item["name"] for item in only["items"]] == [first]
    assert (await client.get("/api/costs", params={"since": "2100-01-01"})).json()["total"]["usd"] == 0
    assert (await client.get("/api/costs", params={"until": "2100-01-01T00:00:00Z"})).json()["total"]["usd"] == 0.005


async def test_pages_go_on_after_the_last_name(client: httpx.AsyncClient, hands: Hands) -> None:
    for tenant in ("", "b", "a"):
        await spend(client, hands, tenant)
    found, cursor = [], None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        page = (await client.get("/api/costs", params={"by": "tenant", "limit": 1, **more})).json()
        found += [item["name"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert found == ["", "a", "b"]


async def test_an_empty_cursor_of_days_is_the_first_page(client: httpx.AsyncClient, hands: Hands) -> None:
    await spend(client, hands, "a")
    first = await client.get("/api/costs", params={"by": "day"})
    assert len(first.json()["items"]) == 1
    assert (await client.get("/api/costs", params={"by": "day", "cursor": ""})).json() == first.json()


@pytest.mark.parametrize("query", [{"by": "colour"}, {"since": "yesterday"}, {"by": "day", "cursor": "x"}, {"limit": 0}])
async def test_what_cannot_be_asked_is_said(client: httpx.AsyncClient, query: dict[str, Any]) -> None:
    assert (await client.get("/api/costs", params=query)).status_code == 422


async def test_lookups_and_metrics_say_what_was_spent(client: httpx.AsyncClient, hands: Hands) -> None:
    task_id = await spend(client, hands)
    cost = (await client.get(f"/api/tasks/{task_id}")).json()["cost"]
    assert (cost["usd"], cost["tokens"], cost["calls"], cost["model_s"]) == (0.002, 120, 1, 1.5)
    figures = (await client.get("/api/metrics")).json()["cost"]
    assert figures == {"usd_last_hour": 0.002, "usd_last_day": 0.002, "usd_month_projected": pytest.approx(0.06)}


async def test_counters_hold_what_the_recorder_counted(hands: Hands) -> None:
    from amas.records.views import Cost

    plane = hands.plane
    plane.figures.spent = Cost(usd=0.5, tokens=12, input_tokens=6, output_tokens=4, cached_tokens=3, calls=2)
    page = plane.metrics.page(await snapshot(plane), durations(plane.figures), queues=frozenset()).decode()
    for line in (
        "amas_cost_usd_total 0.5",
        'amas_model_tokens_total{kind="input"} 6.0',
        'amas_model_tokens_total{kind="cached"} 3.0',
        'amas_model_tokens_total{kind="other"} 2.0',
        "amas_model_requests_total 2.0",
    ):
        assert line in page
