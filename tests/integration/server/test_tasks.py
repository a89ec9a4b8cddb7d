"""Tasks over HTTP, on a real engine and real records."""

import asyncio
import json

import httpx
import msgspec
import pytest

from amas.server.plane import ControlPlane

pytestmark = pytest.mark.requirement("B9")
WORK = "test.work"


async def submit(client: httpx.AsyncClient, **task: object) -> str:
    answer = await client.post("/api/tasks", json={"capability": WORK, **task})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/tasks/{answer.json()['id']}"
    return str(answer.json()["id"])


async def test_a_task_goes_in_and_its_result_comes_out(client, hands) -> None:
    task_id = await submit(client, input={"n": 1}, key="k", title="One", priority=2)
    seen = (await client.get(f"/api/tasks/{task_id}")).json()
    assert (seen["state"], seen["input"], seen["key"], seen["priority"]) == ("queued", {"n": 1}, "k", 2)
    assert (await client.get(f"/api/tasks/{task_id}/result")).status_code == 202
    (claimed,) = await hands.claim()
    assert (await client.get(f"/api/tasks/{task_id}")).json()["agent_id"] == "worker-1"
    await hands.finish(claimed, {"ok": True})
    answer = await client.get(f"/api/tasks/{task_id}/result")
    assert (answer.status_code, answer.json()) == (200, {"id": task_id, "state": "succeeded", "result": {"ok": True}})
    await hands.record()
    shown = (await client.get(f"/api/tasks/{task_id}")).json()
    assert [(one["attempt"], one["outcome"], one["agent_id"]) for one in shown["attempts"]] == [(1, "succeeded", "worker-1")]
    assert shown["result"] == {"ok": True}
    assert shown["created_ms"] > 0


async def test_what_the_engine_forgot_comes_from_the_records(client, hands, plane: ControlPlane) -> None:
    task_id = await submit(client, input=1)
    await hands.finish((await hands.claim())[0], "kept")
    await hands.record()
    await plane.engine.client.delete(plane.engine.key("t", task_id))
    assert (await client.get(f"/api/tasks/{task_id}")).json()["result"] == "kept"
    assert (await client.get(f"/api/tasks/{task_id}/result")).json()["result"] == "kept"


async def test_a_long_poll_is_woken_by_the_end(client, hands) -> None:
    task_id = await submit(client)
    waiting = asyncio.create_task(client.get(f"/api/tasks/{task_id}/result", params={"wait": 30}))
    (claimed,) = await hands.claim()
    await hands.finish(claimed, 7)
    async with asyncio.timeout(60):
        answer = await waiting
    assert (answer.status_code, answer.json()["result"]) == (200, 7)


async def test_a_failure_and_a_cancellation_are_problems(client, hands) -> None:
    first, second = await submit(client), await submit(client)
    await hands.fail((await hands.claim())[0], "gave_up", "the folder is gone")
    failed = await client.get(f"/api/tasks/{first}/result")
    assert failed.status_code == 409
    assert failed.headers["content-type"] == "application/problem+json"
    assert failed.json() == {
        "type": "urn:amas:problem:task_failed",
        "title": "Conflict",
        "status": 409,
        "detail": "the folder is gone",
        "code": "task_failed",
        "task_id": first,
        "error_code": "gave_up",
    }
    assert (await client.post(f"/api/tasks/{second}/cancel")).json() == {"id": second, "cancelled": True}
    assert (await client.post(f"/api/tasks/{second}/cancel")).json()["cancelled"] is False
    assert (await client.get(f"/api/tasks/{second}/result")).json()["code"] == "task_cancelled"
    assert (await client.post("/api/tasks/none/cancel")).json()["code"] == "task_unknown"


async def test_an_idempotency_key_stores_once(client, plane: ControlPlane) -> None:
    key, body = {"idempotency-key": "order-1"}, {"capability": WORK, "input": {"b": 1, "a": 2}}
    first = await client.post("/api/tasks", json=body, headers=key)
    again = await client.post("/api/tasks", json={"input": {"a": 2, "b": 1}, "capability": WORK}, headers=key)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await client.post("/api/tasks", json={**body, "input": 2}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert (await plane.queue.depths())[WORK] == 1
    batch = await client.post("/api/tasks/batch", json=[body, body], headers=key)
    assert batch.status_code == 201
    assert (await client.post("/api/tasks/batch", json=[body, body], headers=key)).json() == batch.json()
    assert (await plane.queue.depths())[WORK] == 3


@pytest.mark.parametrize(
    ("kind", "pack"),
    [
        ("application/json", lambda tasks: json.dumps(tasks).encode()),
        ("application/x-ndjson", lambda tasks: b"\n".join(json.dumps(task).encode() for task in tasks) + b"\n\n"),
        ("application/msgpack", msgspec.msgpack.encode),
        ("application/json; charset=utf-8", lambda tasks: json.dumps(tasks).encode()),
    ],
)
async def test_a_batch_in_every_media_type(client, plane: ControlPlane, kind: str, pack) -> None:
    tasks = [{"capability": WORK, "key": "first"}, {"capability": WORK, "needs": ["first"], "input": [1]}]
    answer = await client.post("/api/tasks/batch", content=pack(tasks), headers={"content-type": kind})
    assert answer.status_code == 201, answer.text
    first, second = answer.json()["ids"]
    assert (await plane.queue.task(second)).needs == (first,)
    assert (await client.get(f"/api/tasks/{second}")).json()["state"] == "waiting"


async def test_lists_come_from_the_records_in_pages(client, hands) -> None:
    ids = [await submit(client) for _ in range(3)]
    assert (await client.get("/api/tasks")).json() == {"items": [], "next": None}
    await hands.finish((await hands.claim())[0], None)
    await hands.record()
    page = (await client.get("/api/tasks", params={"limit": 2})).json()
    rest = (await client.get("/api/tasks", params={"limit": 2, "cursor": page["next"]})).json()
    assert [item["id"] for item in page["items"] + rest["items"]] == ids[::-1]
    assert rest["next"] is None
    done = (await client.get("/api/tasks", params={"state": "succeeded", "agent_id": "worker-1"})).json()["items"]
    assert [(item["id"], item["progress"]) for item in done] == [(ids[0], 1.0)]


@pytest.mark.parametrize(
    ("task", "pointer", "says"),
    [
        ({}, "#", "missing required field `capability`"),
        ({"capability": 1}, "#/capability", "Expected `str`, got `int`"),
        ({"capability": WORK, "retry": {"retries": -1}}, "#/retry/retries", ">= 0"),
        ({"capability": WORK, "colour": "red"}, "#", "unknown field `colour`"),
        ({"capability": WORK, "priority": 9}, "#/priority", "<= 3"),
        ({"capability": WORK, "needs": ["a", 2]}, "#/needs/1", "Expected `str`"),
    ],
)
async def test_a_wrong_task_is_told_where(client, task, pointer: str, says: str) -> None:
    for path, body, within in (("/api/tasks", task, "#"), ("/api/tasks/batch", [{"capability": WORK}, task], "#/1")):
        answer = await client.post(path, json=body)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "request_invalid")
        (fault,) = problem["errors"]
        assert fault["pointer"] == within + pointer[1:]
        assert says in fault["detail"]


async def test_what_cannot_be_stored_is_refused_whole(client, plane: ControlPlane) -> None:
    fine = {"capability": WORK}
    for body, status, code in (
        ([fine, {"capability": "no.such"}], 422, "capability_unknown"),
        ([fine, {"capability": WORK, "pool": "coordinator"}], 422, "capability_unknown"),
        ([fine, {"capability": WORK, "pool": "nobody"}], 422, "capability_unknown"),
        ([fine, {"capability": WORK, "needs": ["nothing"]}], 422, "dependency_unknown"),
        ([], 422, "request_invalid"),
        ([fine] * 1001, 422, "request_invalid"),
    ):
        answer = await client.post("/api/tasks/batch", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert sum((await plane.queue.depths()).values()) == 0


async def test_unreadable_bodies(client) -> None:
    for content, kind, status, code in (
        (b"[{", "application/json", 400, "body_malformed"),
        (b"\xff\xfe", "application/json", 400, "body_malformed"),
        (b"", "application/json", 400, "body_malformed"),
        (b"\xc1", "application/msgpack", 400, "body_malformed"),
        (b'{"capability":', "application/x-ndjson", 400, "body_malformed"),
        (b"[]", "text/plain", 415, "media_type_unknown"),
    ):
        answer = await client.post("/api/tasks/batch", content=content, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["code"]) == (status, code), content


async def test_outcomes_of_many_come_together(client: httpx.AsyncClient, hands) -> None:
    await hands.register()
    batch = [{"capability": WORK, "input": n} for n in range(3)]
    ids = (await client.post("/api/tasks/batch", json=batch)).json()["ids"]
    first, second = await hands.claim(limit=2)
    await hands.finish(first, {"n": 0})
    await hands.fail(second, "gone", "the folder is gone")
    asked = {"ids": [*ids, "nobody"]}
    answer = (await client.post("/api/tasks/outcomes", json=asked)).json()
    assert answer["ended"] == [
        {"id": first.id, "state": "succeeded", "result": {"n": 0}, "failure": None},
        {"id": second.id, "state": "failed", "result": None, "failure": {"code": "gone", "message": "the folder is gone"}},
    ]
    assert answer["open"] == [ids[2], "nobody"]


async def test_outcomes_are_waited_for(client: httpx.AsyncClient, hands) -> None:
    await hands.register()
    ids = (await client.post("/api/tasks/batch", json=[{"capability": WORK}] * 2)).json()["ids"]
    waiting = asyncio.create_task(client.post("/api/tasks/outcomes", params={"wait": 30}, json={"ids": ids}))
    for claimed in await hands.claim(limit=2):
        await hands.finish(claimed, "done")
    answer = (await waiting).json()
    assert [outcome["result"] for outcome in answer["ended"]] == ["done", "done"]
    assert answer["open"] == []


@pytest.mark.parametrize("ids", [[], ["x"] * 1001])
async def test_outcomes_of_none_and_of_too_many_are_refused(client: httpx.AsyncClient, ids: list[str]) -> None:
    answer = await client.post("/api/tasks/outcomes", json={"ids": ids})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
