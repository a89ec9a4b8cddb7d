"""The contract: what OpenAPI says is what comes back, errors above all; and who is let in."""

import re
from pathlib import Path

import msgspec
import pytest

from amas.server.contract import BYTES, SHAPES
from amas.server.guard import BODY_BYTES_MAX
from amas.server.patterns import WORDS
from amas.server.plane import ControlPlane
from amas.server.problems import Problem

from .conftest import WORK, client_of, make_plane

TOKEN = "a-secret-of-many-letters"


def problem_of(answer) -> Problem:
    assert answer.headers["content-type"] == "application/problem+json"
    found = msgspec.json.decode(answer.content, type=Problem)
    assert found.status == answer.status_code
    assert found.type == f"urn:amas:problem:{found.code}"
    assert found.title
    assert found.detail
    assert "Traceback" not in answer.text
    return found


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values())) if node else own
    return set().union(*map(references, node)) if isinstance(node, list) else set()


async def test_the_document_is_whole(client) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    components = document["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in references(document)} <= set(components)
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            where = f"{method} {path}"
            assert route["summary"], where
            assert route["description"], where
            for status, answer in route["responses"].items():
                if status in ("204", "304"):
                    continue
                if answer["content"] == BYTES:
                    continue
                (kind, body), *_ = answer["content"].items()
                name = body["schema"]["$ref"].rpartition("/")[2]
                if int(status) >= 400:
                    assert (kind, name) == ("application/problem+json", "Problem"), f"{where} {status}"
                if kind != "text/event-stream":
                    msgspec.convert(body["example"], SHAPES[name])
            if method == "post" and not path.endswith(
                ("cancel", "pause", "resume", "retry", "discard", "run", "profile", "test", "resend", "enable", "inputs")
            ):
                assert route["requestBody"]["content"]["application/json"]["example"], where


async def test_every_route_answers_as_documented(client, hands) -> None:
    """Walk the document: call each route with unknown ids and broken parameters; every answer is a documented one."""
    document = (await client.get("/openapi.json")).json()
    for template, methods in document["paths"].items():
        path = re.sub(r"\{\w+\}", "none", template)
        for method, route in methods.items():
            if template in ("/api/events", "/api/live"):  # they have no end
                continue
            queries = [{}] + [{one["name"]: "\x00nonsense"} for one in route.get("parameters", []) if one["in"] == "query"]
            for query in queries:
                answer = await client.request(method.upper(), path, params=query)
                where = f"{method} {path} {query}: {answer.status_code} {answer.text[:200]}"
                assert str(answer.status_code) in route["responses"], where
                if answer.status_code >= 400:
                    problem_of(answer)
                else:
                    body = route["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
                    msgspec.json.decode(answer.content, type=SHAPES[body["$ref"].rpartition("/")[2]])


def patterns(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
        return own.union(*map(patterns, node.values())) if node else own
    return set().union(*map(patterns, node)) if isinstance(node, list) else set()


async def test_nobody_is_shown_a_regular_expression(client) -> None:
    document = (await client.get("/openapi.json")).json()
    assert patterns(document) <= set(WORDS), "each pattern has its words"

    asked = {
        "name": await client.post("/api/keys", json={"name": "a b"}),
        "url": await client.post("/api/webhooks", json={"url": "ftp://hooks.example"}),
        "schedule": await client.delete("/api/schedules/-early"),
        "pool": await client.get("/api/rollouts/Code_Reviewer"),
        "agent": await client.delete("/api/quarantine/Coder_3"),
        "after": await client.get("/api/events", params={"after": "yesterday"}),
    }
    for what, answer in asked.items():
        assert answer.status_code == 422, (what, answer.text)
        detail = problem_of(answer).detail
        assert "must be" in detail, what
        assert "such as" in detail, what
        assert not any(pattern in answer.text for pattern in WORDS), what


async def test_what_is_not_there_is_a_problem_too(client) -> None:
    assert problem_of(await client.get("/api/nothing")).code == "route_unknown"
    assert problem_of(await client.delete("/api/tasks/batch")).code == "method_unknown"
    assert (await client.put("/api/goals")).headers["allow"] == "POST"


async def test_a_bug_of_ours_shows_no_traceback(client, plane: ControlPlane) -> None:
    await plane.engine.client.hset(plane.engine.key("t", "odd"), "s", "no such state")
    found = problem_of(await client.get("/api/tasks/odd"))
    assert (found.status, found.code) == (500, "internal_error")


async def test_a_body_over_the_limit_is_413(client) -> None:
    async def pieces():
        for _ in range(BODY_BYTES_MAX // (1 << 20) + 1):
            yield b" " * (1 << 20)

    headers = {"content-type": "application/json"}
    for body in (pieces(), b" " * (BODY_BYTES_MAX + 1)):
        answer = await client.post("/api/tasks/batch", content=body, headers=headers)
        assert problem_of(answer).code == "body_too_large"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "localhost.evil.example:8000"}, 421),
        ({"host": ""}, 421),
        ({"host": "LOCALHOST:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "127.0.0.1"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:8000"}, 200),
    ],
)
async def test_web_pages_of_others_stay_out(client, headers: dict[str, str], status: int) -> None:
    answer = await client.get("/api/workflows", headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    if status != 200:
        problem_of(answer)


@pytest.mark.requirement("A15")
async def test_a_token_opens_everything_but_is_not_asked_by_probes(plane: ControlPlane, tmp_path: Path) -> None:
    locked = make_plane(plane.engine, plane.records, tmp_path, host="0.0.0.0", token=TOKEN)
    async with client_of(locked) as client:
        for headers in (
            {},
            {"authorization": f"Basic {TOKEN}"},
            {"authorization": "Bearer wrong"},
            {"authorization": "Bearer ü"},
        ):
            encoded = {name: value.encode("latin-1") for name, value in headers.items()}
            answer = await client.post("/api/tasks", json={"capability": WORK}, headers=encoded)
            assert problem_of(answer).code == "token_needed"
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await client.get("/health/orchestration", headers={"host": "10.0.0.7:8000"})).status_code == 200
        mine = {"authorization": f"Bearer {TOKEN}", "host": "fleet.example"}
        assert (await client.post("/api/tasks", json={"capability": WORK}, headers=mine)).status_code == 201
        document = (await client.get("/openapi.json", headers=mine)).json()
    assert document["security"] == [{"token": []}, {"signed_in": []}]
    named = {
        name
        for methods in document["paths"].values()
        for each in methods.values()
        for one in each.get("security", ())
        for name in one
    }
    assert named | {"token", "signed_in"} == set(document["components"]["securitySchemes"])
    assert document["paths"]["/api/health"]["get"]["security"] == []
    assert document["paths"]["/api/keys"]["post"]["x-amas-roles"] == ["system-admin"]
