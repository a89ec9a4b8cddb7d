"""`GET /api/report`: a window of a fleet's life, from what is kept of it."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from tests.integration.server.conftest import WORK, Hands

from amas.agents.skills.report.render import to_html
from amas.cli.report_page import page_of
from amas.model.report import FleetReport


async def report(client: httpx.AsyncClient, **query: Any) -> FleetReport:
    answer = await client.get("/api/report", params=query)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=FleetReport)


async def test_a_window_is_told_from_what_is_kept(client: httpx.AsyncClient, hands: Hands) -> None:
    await client.post("/api/tasks/batch", json=[{"capability": WORK}] * 4)
    first, second, third = await hands.claim() + await hands.claim(agent="worker-2") + await hands.claim()
    await hands.finish(first, 1)
    await hands.finish(second, 2)
    await hands.fail(third, "boom", "it broke")
    await hands.record()
    now_ms = hands.plane.engine.now_ms()
    await hands.plane.recoveries.note("host_lost", "h9", since_ms=now_ms - 6000, tasks=3)
    found = await report(client, since_s=60)
    tasks = found.tasks
    assert (tasks.accepted, tasks.succeeded, tasks.failed, tasks.open) == (4, 2, 1, {"queued": 1})
    assert tasks.success_rate == pytest.approx(2 / 3)
    assert (tasks.checked, tasks.lost) == (1, ())
    workers = next(each for each in found.families if each.family == "worker")
    assert (workers.succeeded, workers.failed, workers.agents) == (2, 1, 2)
    (lost,) = found.recoveries
    assert (lost.cause, lost.count, lost.tasks) == ("host_lost", 1, 3)
    assert lost.max_s >= 6
    assert [host.id for host in found.hosts] == ["h1"]
    assert "share of the seconds" in found.definition


async def test_a_task_that_the_engine_lost_is_named(client: httpx.AsyncClient, hands: Hands) -> None:
    task_id = (await client.post("/api/tasks", json={"capability": WORK})).json()["id"]
    await hands.record()
    engine = hands.plane.engine
    await engine.read([("DEL", engine.key("t", task_id))])
    found = await report(client)
    assert found.tasks.lost == (task_id,)
    page = page_of(found)
    assert (page.headline, page.verdict) == ("1 accepted task lost", "error")
    assert task_id in to_html(page)


async def test_an_end_that_is_not_recorded_yet_is_waited_for(client: httpx.AsyncClient, hands: Hands) -> None:
    task_id = (await client.post("/api/tasks", json={"capability": WORK})).json()["id"]
    await hands.record()
    (task,) = await hands.claim()
    await hands.finish(task, 1)
    engine = hands.plane.engine
    await engine.read([("DEL", engine.key("t", task_id))])  # forgotten, as after the retention
    asked = asyncio.create_task(report(client))
    await asyncio.sleep(0)
    await hands.record()
    assert (await asked).tasks.lost == ()


async def test_a_fleet_that_was_asked_nothing(client: httpx.AsyncClient) -> None:
    found = await report(client)
    assert (found.availability.share, found.tasks.success_rate, found.observed_s) == (None, None, 0.0)
    page = page_of(found)
    assert page.headline == "Nothing was asked of the fleet"
    assert "<svg" not in to_html(page)


async def test_the_page_stands_alone_and_shows_words_as_words(client: httpx.AsyncClient, hands: Hands) -> None:
    await client.post("/api/tasks", json={"capability": WORK})
    (task,) = await hands.claim()
    await hands.finish(task, 1)
    await hands.record()
    found = msgspec.structs.replace(await report(client), fleet="<script>alert(1)</script>")
    html = to_html(page_of(found))
    assert html.count("<svg") >= 1
    assert "<script" not in html
    for reach in ("http://", "https://", "url(", "<link", "src="):
        assert reach not in html.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("since", ["0", "-5", "2592001", "soon"])
async def test_a_window_that_cannot_be_is_refused(client: httpx.AsyncClient, since: str) -> None:
    assert (await client.get("/api/report", params={"since_s": since})).status_code == 422
