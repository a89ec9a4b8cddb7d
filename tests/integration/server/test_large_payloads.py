"""Large inputs and results over HTTP."""

from pathlib import Path

import msgspec
from tests.integration.server.conftest import ROOT, WORK, Hands

from amas.engine.payload import INLINE_BYTES_MAX
from amas.model.artifact import Reference, is_reference, to_extension
from amas.server.plane import ControlPlane

LARGE = ["x" * 1000] * (INLINE_BYTES_MAX // 1000 + 1)


def _files(plane: ControlPlane) -> list[Path]:
    return sorted((plane.home / "artifacts").glob("??/*"))


async def test_the_result_route_gives_the_real_result_and_a_look_says_where_it_is(
    client, plane: ControlPlane, hands: Hands
) -> None:
    submitted = await client.post("/api/tasks", json={"capability": WORK, "input": LARGE})
    assert submitted.status_code == 201
    task_id = submitted.json()["id"]
    (claimed,) = await hands.claim()
    assert is_reference(claimed.spec.input)
    assert await plane.values.get(claimed.spec.input) == LARGE
    await hands.finish(claimed, await plane.values.put({"made of": LARGE}, "the result"))

    for _ in range(2):  # from the engine, and from the records once the engine has forgotten it
        assert (await client.get(f"/api/tasks/{task_id}/result")).json()["result"] == {"made of": LARGE}
        look = (await client.get(f"/api/tasks/{task_id}")).json()
        assert look["result"].keys() == {"artifact", "bytes", "media_type"}
        assert look["input"]["bytes"] == len(msgspec.msgpack.encode(LARGE))
        assert look["input"]["artifact"].startswith("sha256:")
        assert len(msgspec.json.encode(look)) < 2000
        await hands.record()
        await plane.engine.client.delete(plane.engine.key("t", task_id))


async def test_a_batch_stores_its_large_inputs_before_it_is_accepted(client, plane: ControlPlane) -> None:
    batch = [{"capability": WORK, "input": n} for n in (1, LARGE, 2, LARGE)]
    assert (await client.post("/api/tasks/batch", json=batch)).status_code == 201
    assert len(_files(plane)) == 1


async def test_a_result_that_is_lost_is_gone_and_a_store_that_is_away_is_503(client, plane: ControlPlane, hands: Hands) -> None:
    task_id = (await client.post("/api/tasks", json={"capability": WORK})).json()["id"]
    (claimed,) = await hands.claim()
    await hands.finish(claimed, await plane.values.put(LARGE, "the result"))
    (path,) = _files(plane)
    content = path.read_bytes()
    path.write_bytes(b"nonsense")
    answer = await client.get(f"/api/tasks/{task_id}/result")
    assert (answer.status_code, answer.json()["code"]) == (410, "artifact_damaged")
    path.unlink()
    answer = await client.get(f"/api/tasks/{task_id}/result")
    assert (answer.status_code, answer.json()["code"]) == (410, "artifact_missing")
    path.mkdir()
    answer = await client.get(f"/api/tasks/{task_id}/result")
    assert (answer.status_code, answer.json()["code"]) == (503, "artifact_store_unusable")
    path.rmdir()
    path.write_bytes(content)
    assert (await client.get(f"/api/tasks/{task_id}/result")).json()["result"] == LARGE


async def test_nobody_makes_references_from_outside(client, plane: ControlPlane) -> None:
    stored = to_extension(Reference("sha256:" + "0" * 64, 5))
    for crafted in (stored, {"deep": [stored]}):
        body = msgspec.msgpack.encode([{"capability": WORK, "input": crafted}])
        answer = await client.post("/api/tasks/batch", content=body, headers={"content-type": "application/msgpack"})
        assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
        assert "no JSON value" in answer.json()["detail"]
    look_alike = {"artifact": "sha256:" + "0" * 64, "bytes": 5, "media_type": "application/msgpack"}
    task_id = (await client.post("/api/tasks", json={"capability": WORK, "input": look_alike})).json()["id"]
    view = await plane.queue.task(task_id)
    assert view is not None
    assert view.input == look_alike  # a value like any other


async def test_what_is_over_every_limit_is_413(client, plane: ControlPlane) -> None:
    plane.values._bytes_max = 100_000
    answer = await client.post("/api/tasks", json={"capability": WORK, "input": ["x" * 1000] * 200})
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert "AMAS_PAYLOAD_MB" in answer.json()["detail"]


async def test_a_goal_with_long_preferences_is_taken_and_its_workflow_shows_a_large_result(
    client, plane: ControlPlane, hands: Hands
) -> None:
    answer = await client.post("/api/goals", json={"text": "Do it", "preferences": {"list": LARGE}})
    assert answer.status_code == 201
    (claimed,) = await hands.claim(ROOT, "coordinator-1")
    assert (await plane.values.get(claimed.spec.input))["preferences"] == {"list": LARGE}
    await hands.finish(claimed, await plane.values.put(LARGE, "the result"))
    workflow_id = answer.json()["workflow_id"]
    shown = (await client.get(f"/api/workflows/{workflow_id}")).json()
    assert (shown["result"], shown["goal"]["text"], shown["goal"]["preferences"]) == (LARGE, "Do it", {})
    for path in _files(plane):
        path.unlink()
    assert (await client.get(f"/api/workflows/{workflow_id}")).json()["result"]["bytes"] > INLINE_BYTES_MAX
