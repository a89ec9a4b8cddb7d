"""A task's story over REST: where its time went, and what was logged about it."""

import httpx

from amas.engine.payload import encode_payload
from amas.model.cost import ModelCall
from amas.model.states import TaskState
from amas.model.task import JournaledStep, TaskView
from amas.observe.logging import open_log
from amas.records.views import AttemptRecord
from amas.server.plane import ControlPlane
from amas.server.timeline import spans_of

from .conftest import ROOT, WORK, Hands
from .test_contract import problem_of
from .test_workflows import post_goal, spawn


async def test_a_task_s_story_is_told_from_the_records(client: httpx.AsyncClient, plane: ControlPlane, hands: Hands) -> None:
    goal = await post_goal(client)
    (root,) = await hands.claim(ROOT, "coordinator-1")
    asked = ModelCall("m-1", "p", input_tokens=10, output_tokens=2, cached_tokens=0, usd_micro=5, duration_ms=0)
    step = JournaledStep(root.id, root.attempt, "ask", encode_payload("said", "it"), (asked,))
    assert not await plane.queue.journal_steps([step])
    part, other = await spawn(plane, root, goal["workflow_id"], "part", "other")
    for claimed in await hands.claim(limit=2):
        await hands.finish(claimed, "done")
    (root,) = await hands.claim(ROOT, "coordinator-1")
    await hands.finish(root, "all done")
    await hands.record()

    told = (await client.get(f"/api/tasks/{root.id}/timeline")).json()
    spans = [(span["kind"], span["name"], span["state"]) for span in told["spans"] if span["kind"] != "waited"]
    assert sorted(spans) == [
        ("attempt", "coordinator-1", "succeeded"), ("attempt", "coordinator-1", "suspended"), ("request", "m-1", "ended"),
        ("task", "other", "succeeded"), ("task", "part", "succeeded"),
    ]  # fmt: skip
    assert {span["id"] for span in told["spans"] if span["kind"] == "task"} == {part, other}
    assert [span["started_ms"] for span in told["spans"]] == sorted(span["started_ms"] for span in told["spans"])
    assert all(0 < span["started_ms"] <= span["finished_ms"] for span in told["spans"])
    assert not told["more_sub_tasks"]
    nobody = await client.get("/api/tasks/01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e/timeline")
    assert problem_of(nobody).code == "task_unknown"


async def test_what_was_logged_about_a_task_is_shown_whoever_wrote_it(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    made = (await client.post("/api/tasks", json={"capability": WORK})).json()["id"]
    log = open_log(plane.home / "logs" / "host-1.jsonl")
    for agent, task in (("a-1", made), ("a-2", made), ("a-1", "another")):
        log.bind(agent_id=agent, task_id=task).info("worked")
    shown = (await client.get(f"/api/tasks/{made}/logs")).json()
    assert [(line["agent_id"], line["message"]) for line in shown["lines"]] == [("a-1", "worked"), ("a-2", "worked")]
    assert len((await client.get(f"/api/tasks/{made}/logs", params={"limit": 1})).json()["lines"]) == 1


def test_waits_lie_between_attempts_and_an_open_end_says_what_it_waits_as() -> None:
    def attempt(number: int, started_ms: int, finished_ms: int) -> AttemptRecord:
        return AttemptRecord(
            task_id="t", attempt=number, capability="c", title="", workflow_id="", agent_id="a-1", host_id="h", state="failed",
            started_ms=started_ms, finished_ms=finished_ms,
        )  # fmt: skip

    task = TaskView(id="t", state=TaskState.DELAYED, capability="c", created_ms=100)
    spans = spans_of(task, [attempt(1, 100, 150), attempt(2, 170, 180)], [], [])
    assert [(span.kind, span.state, span.started_ms, span.finished_ms) for span in spans] == [
        ("attempt", "failed", 100, 150),
        ("waited", "ended", 150, 170),
        ("attempt", "failed", 170, 180),
        ("waited", "delayed", 180, 0),
    ]
