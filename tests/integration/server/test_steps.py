"""What a task has kept, over REST: its steps, and the messages among them."""

import httpx
import msgspec

from amas.clock import new_id
from amas.engine.payload import encode_payload
from amas.model.message import SENT_STEP, MessageType, Sent
from amas.model.task import JournaledStep
from amas.server.plane import ControlPlane

from .conftest import WORK, Hands
from .test_contract import problem_of


async def test_steps_and_messages_are_shown_apart_while_the_engine_knows_the_task(
    client: httpx.AsyncClient, plane: ControlPlane, hands: Hands
) -> None:
    made = (await client.post("/api/tasks", json={"capability": WORK})).json()["id"]
    (claimed,) = await hands.claim()
    first, second, third = new_id(), new_id(), new_id()
    answer = {"id": third, "sender": "b-1", "recipient": "a-1", "type": "help_response", "payload": 7}
    kept = {
        "read": {"files": 12},
        "long": "x" * 5000,
        f"{SENT_STEP}2": Sent("pool:b", MessageType.SHARE_CONTEXT, {"ids": {"b-1": second}, "full": {}}),
        f"{SENT_STEP}1": Sent("b-1", MessageType.SHARE_FINDINGS, first),
        f"{SENT_STEP}3": Sent("b-1", MessageType.HELP_REQUEST, answer),
        f"{SENT_STEP}4": "an id, kept by an earlier release",
    }
    for name, value in kept.items():
        step = JournaledStep(made, claimed.attempt, name, encode_payload(msgspec.to_builtins(value), "it"), ())
        assert not await plane.queue.journal_steps([step])
    await hands.finish(claimed, None)

    told = (await client.get(f"/api/tasks/{made}/steps")).json()
    assert {step["name"]: step["result"] for step in told["steps"]} == {"read": {"files": 12}, "long": None}
    assert next(step["bytes"] for step in told["steps"] if step["name"] == "long") > 5000
    said = {one["type"]: (one["to"], one["ids"], one["answer"]) for one in told["messages"]}
    assert said == {
        "share_findings": ("b-1", [first], None),
        "share_context": ("pool:b", [second], None),
        "help_request": ("b-1", [third], 7),
    }
    assert all(one["sent_ms"] > 1_700_000_000_000 for one in told["messages"])
    nobody = await client.get("/api/tasks/01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e/steps")
    assert problem_of(nobody).code == "task_unknown"
