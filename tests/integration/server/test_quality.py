"""Gates over HTTP: those that have ended, and those at work."""

import httpx
from tests.integration.server.conftest import Hands

from amas.model.blob import to_blob
from amas.model.flow import GATE_CAPABILITY
from amas.model.task import JournaledStep
from amas.server.plane import ControlPlane

FLOW = {
    "name": "two drafts",
    "tasks": [
        {"key": "a", "capability": "test.work", "gate": {"threshold": 0.9}},
        {"key": "plain", "capability": "test.work"},
    ],
}
QUALITY = {
    "name": "a",
    "threshold": 0.9,
    "score": 0.5,
    "accepted": True,
    "accepted_by": "ada",
    "rounds": [{"round": 0, "score": 0.5, "move": "up", "opinions": [{"judge": "rules", "score": 0.5, "feedback": ["more"]}]}],
    "up": [{"who": "ada", "accepted": True, "words": "fine"}],
    "judged_by": "amas-flow-h1-1",
}


async def started(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/workflows", json={"flow": FLOW})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["workflow_id"])


async def test_a_gate_that_has_ended_shows_its_record(client: httpx.AsyncClient, hands: Hands) -> None:
    workflow = await started(client)
    await hands.register()
    (gate,) = await hands.claim(GATE_CAPABILITY)
    await hands.finish(gate, {"result": "text", "quality": QUALITY})
    answer = (await client.get(f"/api/workflows/{workflow}/quality")).json()
    (shown,) = answer["gates"]
    assert (shown["key"], shown["state"], shown["accepted_by"], shown["threshold"]) == ("a", "succeeded", "ada", 0.9)
    assert shown["rounds"][0]["opinions"][0]["feedback"] == ["more"]
    assert shown["up"] == QUALITY["up"]
    assert answer["delivery"] is None


async def test_a_gate_at_work_shows_what_its_judges_have_said(
    client: httpx.AsyncClient, plane: ControlPlane, hands: Hands
) -> None:
    workflow = await started(client)
    await hands.register()
    (gate,) = await hands.claim(GATE_CAPABILITY)
    opinion = {"judge": "rules", "score": 0.25, "feedback": ["more"]}
    steps = [("judge-0/rules", opinion), ("judge-0/model/1", {"answer": 1}), ("workers-0", {})]
    await plane.queue.journal_steps([JournaledStep(gate.id, gate.attempt, name, to_blob(value)) for name, value in steps])
    (shown,) = (await client.get(f"/api/workflows/{workflow}/quality")).json()["gates"]
    assert (shown["state"], shown["accepted"]) == ("running", None)
    assert [(each["round"], each["score"], each["move"]) for each in shown["rounds"]] == [(0, 0.25, None)]


async def test_an_unknown_workflow_is_told_so(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/workflows/nobody/quality")).status_code == 404


async def test_what_is_wrong_with_a_gate_is_told(client: httpx.AsyncClient) -> None:
    flow = {"name": "f", "tasks": [{"key": "a", "capability": "test.work", "gate": {"threshold": 7}}]}
    answer = await client.post("/api/workflows", json={"flow": flow})
    assert answer.status_code == 422
    assert "threshold is 7, but must be from 0 to 1" in answer.text
