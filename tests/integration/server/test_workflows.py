"""Goals, their workflows and the live streams of events."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from amas.clock import child_id
from amas.engine.queue import make_submission
from amas.model.journal import ProgressNote, position_of
from amas.model.task import Claimed, TaskSpec
from amas.server.live import LISTENER_FRAMES_MAX
from amas.server.live import stream as events_stream
from amas.server.plane import ControlPlane

ROOT, WORK = "executive.coordinate", "test.work"


async def post_goal(client: httpx.AsyncClient, **more: object) -> dict[str, str]:
    answer = await client.post("/api/goals", json={"text": "Review the code", **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def spawn(plane: ControlPlane, root: Claimed, workflow_id: str, *keys: str) -> list[str]:
    """Suspend the root on sub-tasks, as its agent does."""
    specs = [TaskSpec(capability=WORK, key=key, layer="specialist", workflow_id=workflow_id, parent_id=root.id) for key in keys]
    children = [make_submission(child_id(root.id, spec.key), spec) for spec in specs]
    ids = [child.id for child in children]
    assert await plane.queue.suspend("h1", root.id, root.attempt, wait_for=ids, children=children) == ""
    return ids


@pytest.mark.requirement("A1", "A2")
async def test_a_goal_opens_a_workflow_whose_tree_can_be_watched(client, hands, plane: ControlPlane) -> None:
    goal = await post_goal(client, input_dir="/srv/x", deadline_s=60)
    path = f"/api/workflows/{goal['workflow_id']}"
    seen = (await client.get(path)).json()
    assert (seen["state"], seen["root_id"], seen["goal"]["text"]) == ("running", goal["root_id"], "Review the code")
    assert [(task["key"], task["layer"], task["state"]) for task in seen["tasks"]] == [("goal", "executive", "queued")]
    (root,) = await hands.claim(ROOT, "coordinator-1")
    assert root.spec.workflow_id == goal["workflow_id"]
    assert root.spec.deadline_ms > 0
    ids = await spawn(plane, root, goal["workflow_id"], "a", "b")
    (claimed,) = await hands.claim()
    await plane.queue.note_progress([ProgressNote(claimed.id, claimed.attempt, 0.5, "half")])
    await hands.record()
    tree = (await client.get(path)).json()
    by_key = {task["key"]: task for task in tree["tasks"]}
    assert {by_key[key]["parent_id"] for key in "ab"} == {goal["root_id"]}
    running = by_key[claimed.spec.key]
    assert (running["state"], running["agent_id"], running["progress"], running["note"]) == ("running", "worker-1", 0.5, "half")
    assert tree["counts"] == {"waiting": 1, "running": 1, "queued": 1}
    assert tree["progress"] == pytest.approx(0.5 / 3)
    for work in (claimed, *await hands.claim()):
        await hands.finish(work, work.spec.key)
    await hands.finish((await hands.claim(ROOT, "coordinator-1"))[0], {"folder": "/out"})
    ended = (await client.get(path)).json()
    assert (ended["state"], ended["progress"], ended["result"]) == ("succeeded", 1.0, {"folder": "/out"})
    assert len(ids) == 2
    await hands.record()
    await plane.engine.client.delete(plane.engine.key("w", goal["workflow_id"]))
    kept = (await client.get(path)).json()
    assert (kept["state"], kept["result"], len(kept["tasks"])) == ("succeeded", {"folder": "/out"}, 3)
    listed = (await client.get("/api/workflows", params={"state": "succeeded"})).json()["items"]
    assert [item["id"] for item in listed] == [goal["workflow_id"]]


async def test_goals_are_refused_in_one_sentence(client) -> None:
    for body, status, code in (
        ({"text": "  "}, 422, "input_unusable"),
        ({"text": "x", "input_dir": "src"}, 422, "input_unusable"),
        ({"text": ""}, 422, "request_invalid"),
        ({"goal": "x"}, 422, "request_invalid"),
    ):
        answer = await client.post("/api/goals", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.requirement("A11")
async def test_a_goal_over_the_fleet_s_limit_waits_for_its_turn(client) -> None:
    async def state(workflow_id: str) -> str:
        return str((await client.get(f"/api/workflows/{workflow_id}")).json()["state"])

    first, _, _, fourth, fifth = [(await post_goal(client))["workflow_id"] for _ in range(5)]
    assert [await state(each) for each in (first, fourth, fifth)] == ["running", "waiting", "waiting"]
    assert (await client.post(f"/api/workflows/{first}/cancel")).json()["cancelled"] is True
    assert (await client.post(f"/api/workflows/{first}/cancel")).json()["cancelled"] is False
    assert [await state(each) for each in (first, fourth, fifth)] == ["cancelled", "running", "waiting"]
    assert (await client.post(f"/api/workflows/{fifth}/cancel")).json()["cancelled"] is True
    assert await state(fifth) == "cancelled"
    assert (await client.post("/api/workflows/none/cancel")).json()["code"] == "workflow_unknown"


async def test_a_goal_said_twice_under_one_key_is_one_workflow(client, plane: ControlPlane) -> None:
    key = {"idempotency-key": "g"}
    answers = [await client.post("/api/goals", json={"text": "x"}, headers=key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert (await plane.queue.totals())["open_workflows"] == 1


def parsed(chunks: bytes) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (id, kind, data) of server-sent bytes."""
    found = []
    for block in chunks.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith((":", "retry")))
        if "data" in fields:
            found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


async def whole(plane: ControlPlane, workflow_id: str, after: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return a workflow's stream from `after` to its end."""
    async with asyncio.timeout(60):
        return parsed(b"".join([chunk async for chunk in events_stream(plane.live, plane.records, workflow_id, after)]))


async def test_a_stream_resumes_the_same_from_anywhere(client, hands, plane: ControlPlane) -> None:
    """Live, replayed from the journal, and from the records once the journal is trimmed: the same events."""
    goal = await post_goal(client)
    live = asyncio.create_task(whole(plane, goal["workflow_id"], "0-0"))
    (root,) = await hands.claim(ROOT, "coordinator-1")
    await spawn(plane, root, goal["workflow_id"], "a")
    (work,) = await hands.claim()
    await plane.queue.note_progress([ProgressNote(work.id, work.attempt, 0.5, "half")])
    await hands.finish(work, 1)
    other = await run_to_the_end_of_another(client, hands)
    await hands.finish((await hands.claim(ROOT, "coordinator-1"))[0], 2)
    seen = await live
    assert other not in json.dumps(seen)
    assert [event[2].get("kind") for event in seen] == [
        "submit",
        "claim",
        "suspend",
        "claim",
        "progress",
        "complete",
        "claim",
        "complete",
        None,
    ]
    assert seen[-2][2]["workflow_state"] == "succeeded"
    assert seen[-1][1] == "end"
    assert [event[0] for event in seen[:-1]] == sorted((event[0] for event in seen[:-1]), key=position_of)
    assert await whole(plane, goal["workflow_id"], "0-0") == seen
    assert await whole(plane, goal["workflow_id"], seen[2][0]) == seen[3:]
    await hands.record()
    await plane.journal.trim(await plane.records.position(), keep=1)
    assert position_of(await plane.journal.first_id()) > position_of(seen[0][0])
    recorded = await whole(plane, goal["workflow_id"], "0-0")
    assert [(event[0], event[1], event[2].get("kind")) for event in recorded] == [
        (event[0], event[1], event[2].get("kind")) for event in seen
    ]
    assert [[task["id"] for task in event[2].get("tasks", [])] for event in recorded] == [
        [task["id"] for task in event[2].get("tasks", [])] for event in seen
    ]
    gone = await client.get(f"/api/workflows/{goal['workflow_id']}/events", headers={"last-event-id": seen[-2][0]})
    assert gone.status_code == 204


async def run_to_the_end_of_another(client, hands) -> str:
    answer = await client.post("/api/tasks", json={"capability": WORK})
    (claimed,) = await hands.claim()
    await hands.finish(claimed, "elsewhere")
    return str(answer.json()["id"])


async def test_a_reader_that_is_too_slow_is_told_to_resume(client, plane: ControlPlane) -> None:
    stream = events_stream(plane.live, plane.records, "", "")
    assert await anext(stream) == b"retry: 2000\n\n"
    reading = asyncio.create_task(anext(stream))
    await client.post("/api/tasks", json={"capability": WORK})
    first = parsed(await reading)[0]
    for _ in range(LISTENER_FRAMES_MAX + 2):
        await client.post("/api/tasks", json={"capability": WORK})
    async with asyncio.timeout(60):
        while plane.live.listeners:  # until the events have overtaken the reader, who reads on too late
            await asyncio.sleep(0)
        rest = parsed(b"".join([chunk async for chunk in stream]))
    assert rest[-1][1] == "dropped"
    assert rest[-1][2]["last_event_id"] == rest[-2][0]
    assert len(rest) <= LISTENER_FRAMES_MAX + 2
    assert position_of(rest[0][0]) > position_of(first[0])
    assert plane.live.listeners == 0


async def test_an_event_id_must_look_like_one(client) -> None:
    answer = await client.get("/api/events", headers={"last-event-id": "yesterday"})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert (await client.get("/api/workflows/none/events")).json()["code"] == "workflow_unknown"
