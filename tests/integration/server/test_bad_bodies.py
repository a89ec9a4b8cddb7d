"""Bodies and queries that mean no good: nested without end, truncated, too slow ever to end, with names that nobody knows."""

import asyncio
import json

import pytest

from amas.server import patience
from amas.server.plane import ControlPlane

from .conftest import WORK
from .test_serve import served, serving  # noqa: F401  a fixture

LIMIT_S = 60
HEAD = "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"


async def answer(port: int, sent: bytes, *, end: bool = False) -> bytes:
    """Send bytes, and end the sending side or not; return all that comes until the server closes."""
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        if end:
            writer.write_eof()
        found = await reader.read()
        writer.close()
        return found


def status(found: bytes) -> int:
    return int(found.split(b" ", 2)[1])


async def post(port: int, path: str, body: bytes) -> bytes:
    head = HEAD.format(path, len(body)).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")
    return await answer(port, head.encode() + body)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
async def test_what_is_nested_without_end_is_refused(
    served: ControlPlane,  # noqa: F811
    opening: bytes,
    closing: bytes,
) -> None:
    async with serving(served) as (port, _):
        for depth in (100_000, 2_000):
            bomb = opening * depth + b"1" + closing * depth
            bodies = {
                "/api/tasks": b'{"capability": "%s", "input": %s}' % (WORK.encode(), bomb),
                "/api/tasks/batch": b'[{"capability": "%s", "input": %s}]' % (WORK.encode(), bomb),
                "/api/goals": bomb,
            }
            for path, body in bodies.items():
                found = await post(port, path, body)
                assert status(found) in (400, 422), found[:300]
                assert b"internal_error" not in found
        task = json.dumps({"capability": WORK, "input": [[[[[[[["eight deep"]]]]]]]]}).encode()
        assert status(await post(port, "/api/tasks", task)) == 201
    assert await served.queue.depths() == {WORK: 1}, "of all these only the last was stored"


async def test_a_truncated_request_stores_nothing_and_is_no_fault_of_ours(served: ControlPlane) -> None:  # noqa: F811
    body = json.dumps({"capability": WORK}).encode()
    async with serving(served) as (port, _):
        for path in ("/api/tasks", "/api/tasks/batch"):
            await answer(port, HEAD.format(path, len(body) + 1).encode() + body, end=True)
            await answer(port, HEAD.format(path, 10**9).encode() + body, end=True)
        assert status(await post(port, "/api/tasks", body)) == 201
    counted = {
        tuple(sample.labels.values())[1:]: sample.value
        for family in served.metrics.http.collect()
        for sample in family.samples
        if sample.name.endswith("_count")
    }
    assert not [key for key in counted if key[1] == "500"], counted
    assert await served.queue.depths() == {WORK: 1}


async def test_a_body_that_does_not_come_is_given_up(served: ControlPlane, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(patience, "BODY_S", 0.2)
    async with serving(served) as (port, _):
        found = await answer(port, HEAD.format("/api/tasks", 100).encode() + b"{")
    assert status(found) == 408
    assert b"urn:amas:problem:request_overdue" in found


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nhost: loc"])
async def test_a_head_that_does_not_come_is_given_up(served: ControlPlane, monkeypatch, sent: bytes) -> None:  # noqa: F811
    monkeypatch.setattr(patience, "HEAD_S", 0.2)
    async with serving(served) as (port, _):
        whole = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n" if sent else b""
        found = await answer(port, whole + sent)
    assert found.count(b"HTTP/1.1 200") == (1 if whole else 0)


TASKS_TAKE = "it takes agent_id, cursor, limit, state, workflow_id"


@pytest.mark.parametrize(
    ("query", "wrong", "said"),
    [
        ("/api/tasks?status=failed", ["status"], f"there is no 'status' here (did you mean 'state'?); {TASKS_TAKE}"),
        ("/api/pools?limit=5", ["limit"], "there is no 'limit' here; it takes no query"),
        ("/api/agents?colour=red&limit=1&shape=round", ["colour", "shape"], "there is no 'colour' here"),
    ],
)
async def test_a_query_that_a_route_does_not_take_is_refused(client, query: str, wrong: list[str], said: str) -> None:
    answer = await client.get(query)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "request_invalid")
    assert problem["detail"].startswith(said)
    assert [fault["parameter"] for fault in problem["errors"]] == wrong


async def test_every_query_that_the_document_tells_of_is_taken(client) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        names = [each["name"] for each in operations.get("get", {}).get("parameters", []) if each["in"] == "query"]
        if not names or "{" in path or path in ("/api/live", "/api/events") or not path.startswith("/api/"):
            continue
        answer = await client.get(path, params=dict.fromkeys(names, "x"))
        assert "there is no" not in answer.text, (path, answer.text)
