"""Flows, signals, approvals and dead letters over HTTP."""

from typing import Any

import httpx

from amas.server.plane import ControlPlane

from .conftest import WORK, Hands
from .test_contract import problem_of


def task(key: str, *needs: str, **more: object) -> dict[str, object]:
    return {"key": key, "capability": WORK, "needs": needs, **more}


async def start(client: httpx.AsyncClient, *tasks: dict[str, object], key: str = "", **more: object) -> httpx.Response:
    headers = {"idempotency-key": key} if key else {}
    return await client.post("/api/workflows", json={"flow": {"name": "night", "tasks": tasks}, **more}, headers=headers)


async def started(client: httpx.AsyncClient, *tasks: dict[str, object], **more: Any) -> str:
    answer = await start(client, *tasks, **more)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/workflows/{answer.json()['workflow_id']}"
    return str(answer.json()["workflow_id"])


async def test_a_flow_runs_in_the_order_of_its_needs_for_its_tenant(client: httpx.AsyncClient, hands: Hands) -> None:
    workflow_id = await started(client, task("second", "first"), task("first", input=1), tenant="acme")
    (first,) = await hands.claim(limit=2)
    assert (first.spec.key, first.spec.tenant, first.spec.input) == ("first", "acme", 1)
    await hands.finish(first, "done")
    (second,) = await hands.claim()
    assert second.spec.need_keys == ("first",)
    await hands.finish(second, "done")
    shown = (await client.get(f"/api/workflows/{workflow_id}")).json()
    assert (shown["state"], shown["goal"]["text"]) == ("succeeded", "night")


async def test_what_is_wrong_with_a_flow_is_told(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    found = problem_of(await start(client, task("a", "b"), task("c", when="oh no"), {"key": "d", "capability": "x.y"}))
    assert (found.status, found.code) == (422, "flow_invalid")
    for said in ("needs 'b', which is not in the flow", "no JMESPath expression", "'x.y', which no agent of this fleet has"):
        assert said in found.detail
    assert problem_of(await start(client, {"key": "a", "colour": 1})).errors[0].pointer == "#/flow/tasks/0"
    assert (await plane.queue.totals())["open_workflows"] == 0


async def test_the_same_flow_under_one_key_is_stored_once(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    first = await started(client, task("a"), key="k")
    assert await started(client, task("a"), key="k") == first
    assert problem_of(await start(client, task("b"), key="k")).code == "idempotency_conflict"
    assert (await plane.queue.totals())["submitted"] == 1


async def test_a_workflow_is_paused_resumed_and_done_again(client: httpx.AsyncClient, hands: Hands) -> None:
    workflow_id = await started(client, task("a"), task("b", "a"))
    path = f"/api/workflows/{workflow_id}"
    assert [(await client.post(f"{path}/pause")).json()["changed"] for _ in range(2)] == [True, False]
    assert await hands.claim() == []
    assert [(await client.post(f"{path}/resume")).json()["changed"] for _ in range(2)] == [True, False]
    for _ in "ab":
        await hands.finish((await hands.claim())[0], "once")
    again = (await client.post(f"{path}/rerun", json={"task": "a"})).json()
    assert again["tasks"] == 2
    assert (await client.get(path)).json()["state"] == "running"
    (claimed,) = await hands.claim()
    assert claimed.id == again["task_id"]
    assert (await client.post(f"{path}/rerun", json={"task": again["task_id"]})).status_code == 200
    assert problem_of(await client.post(f"{path}/rerun", json={"task": "nothing"})).code == "task_unknown"
    assert problem_of(await client.post("/api/workflows/none/pause")).code == "workflow_unknown"


async def test_a_person_is_asked_and_answers_once(client: httpx.AsyncClient, hands: Hands) -> None:
    workflow_id = await started(client, task("a"), {"key": "ok", "approval": "Good?", "needs": ["a"]}, task("b", "ok"))
    assert (await client.get("/api/approvals")).json()["items"] == []
    await hands.finish((await hands.claim())[0], "once")
    (asked,) = (await client.get("/api/approvals", params={"workflow_id": workflow_id})).json()["items"]
    assert (asked["key"], asked["question"], len(asked["results"])) == ("ok", "Good?", 1)
    path = f"/api/approvals/{asked['task_id']}"
    for _ in range(2):
        assert (await client.post(path, json={"approved": True, "by": "ada"})).status_code == 200
    assert problem_of(await client.post(path, json={"approved": False})).code == "signal_refused"
    (claimed,) = await hands.claim()
    assert claimed.spec.key == "b"
    assert problem_of(await client.post(f"/api/approvals/{claimed.id}", json={"approved": True})).status == 409


async def test_signals_reach_workflows_and_tasks(client: httpx.AsyncClient, hands: Hands, plane: ControlPlane) -> None:
    workflow_id = await started(client, {"key": "paid", "signal": True}, task("b", "paid"))
    assert (await client.post(f"/api/workflows/{workflow_id}/signal", json={"key": "paid", "value": 12})).status_code == 200
    (claimed,) = await hands.claim()
    path = f"/api/tasks/{claimed.id}/signal"
    assert (await client.post(path, json={"name": "go"})).status_code == 200
    assert problem_of(await client.post(path, json={"name": "go", "value": 2})).code == "signal_refused"
    await hands.finish(claimed, "done")
    assert problem_of(await client.post(path, json={"name": "stop"})).code == "signal_refused"
    assert problem_of(await client.post("/api/tasks/none/signal", json={"name": "go"})).code == "task_unknown"
    answer = await client.post(f"/api/workflows/{workflow_id}/signal", json={"key": "late"})
    assert problem_of(answer).code == "workflow_unknown"


async def test_dead_letters_are_listed_put_back_and_discarded(client: httpx.AsyncClient, hands: Hands) -> None:
    ids = (await client.post("/api/tasks/batch", json=[{"capability": WORK, "key": key} for key in "abc"])).json()["ids"]
    for claimed in await hands.claim(limit=3):
        await hands.fail(claimed, "gave_up", "no way")
    page = (await client.get("/api/dead-letters", params={"limit": 2})).json()
    rest = (await client.get("/api/dead-letters", params={"limit": 2, "cursor": page["next"]})).json()
    letters = page["items"] + rest["items"]
    assert sorted(letter["task_id"] for letter in letters) == sorted(ids)
    assert letters[0]["failure"] == {"code": "gave_up", "message": "no way"}
    assert (await client.post(f"/api/dead-letters/{ids[0]}/retry")).json()["changed"]
    assert [claimed.id for claimed in await hands.claim(limit=3)] == [ids[0]]
    assert problem_of(await client.post(f"/api/dead-letters/{ids[0]}/retry")).code == "reset_refused"
    assert [(await client.post(f"/api/dead-letters/{ids[1]}/discard")).json()["changed"] for _ in range(2)] == [True, False]
    assert [letter["task_id"] for letter in (await client.get("/api/dead-letters")).json()["items"]] == [ids[2]]
    assert problem_of(await client.post("/api/dead-letters/none/retry")).code == "task_unknown"


async def test_a_condition_and_a_deadline_come_with_a_task(client: httpx.AsyncClient, hands: Hands) -> None:
    answer = await client.post("/api/tasks", json={"capability": WORK, "when": "input > `1`", "deadline_s": 60})
    assert answer.status_code == 201
    (claimed,) = await hands.claim()
    assert claimed.spec.when == "input > `1`"
    assert claimed.spec.deadline_ms > 0
    assert problem_of(await client.post("/api/tasks", json={"capability": WORK, "when": "oh no"})).code == "expression_invalid"
