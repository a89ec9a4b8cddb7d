"""Who is let in, with what, to do what; and that nobody else is. On a real engine."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.routing import Route

from amas.clock import now_ms
from amas.engine.access import ApiKeys
from amas.model.access import ApiKey, Role, digest_of, new_key
from amas.server import guard, identity
from amas.server.access import MAY, RULES, Rule, rule_for
from amas.server.app import create_app
from amas.server.guard import HEADER_BYTES_MAX
from amas.server.plane import ControlPlane

from .conftest import WORK, client_of, make_plane
from .test_contract import TOKEN, problem_of
from .test_serve import serving

SAME_ORIGIN = {"origin": "http://localhost:8000", "host": "localhost:8000"}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def make(
    client: httpx.AsyncClient, name: str, role: str, headers: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    answer = await client.post("/api/keys", json={"name": name, "role": role, **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
async def admin(client: httpx.AsyncClient) -> dict[str, str]:
    """The headers of a system administrator; from now on nobody is let in without showing something."""
    return bearer((await make(client, "root", "system-admin"))["key"])


def walked(routes: list[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if inner := getattr(route, "original_router", None):
            yield from walked(inner.routes, prefix + route.include_context.prefix)
        elif isinstance(route, Route):
            yield from ((method, prefix + route.path) for method in route.methods or () if method != "HEAD")
        else:
            raise AssertionError(f"{route} can't be walked: tell this test how")


def routes_of(plane: ControlPlane) -> set[tuple[str, str]]:
    return {("GET", "/metrics"), *walked(create_app(plane).routes)}  # that one is on a port of its own


async def test_every_route_has_a_rule_and_every_rule_a_route(plane: ControlPlane) -> None:
    routes = routes_of(plane)
    found = {rule_for(method, re.sub(r"{(\w+)(:\w+)?}", r"x-\1", path)) for method, path in routes}
    assert not [rule for rule in found if rule not in RULES], "say in server/access.py who may use this"
    assert not set(RULES) - found, "no route answers to this rule"


@pytest.mark.parametrize(
    "path", ["/", "//", "/api", "/api/", "/api/tasks/", "/api/tasks//cancel", "/api/tasks/x/y/z", "/API/tasks", "/api/nothing"]
)
def test_what_nobody_listed_is_an_administrator_s_alone(path: str) -> None:
    rule = rule_for("POST", path)
    assert MAY[rule.right] == {Role.SYSTEM_ADMIN}
    assert rule.audited
    assert not rule.tenants


def test_a_rule_is_found_by_the_path_alone() -> None:
    assert rule_for("GET", "/api/tasks/batch").path == "/api/tasks/{task_id}"
    assert rule_for("POST", "/api/tasks/batch").path == "/api/tasks/batch"
    assert rule_for("HEAD", "/api/tasks") == rule_for("GET", "/api/tasks")
    assert rule_for("POST", "/api/remote/sessions/s/tasks/t/fail").right == "session"
    assert rule_for("POST", "/api/remote/sessions").right == "join"


async def allowed(client: httpx.AsyncClient, rule: Rule, key: str) -> bool:
    answer = await client.request(rule.method, re.sub(r"{\w+}", "none", rule.path).replace("*", "none"), headers=bearer(key))
    return not (answer.status_code == 403 and problem_of(answer).code == "role_insufficient")


@pytest.mark.requirement("A15", "M8")
async def test_each_role_may_what_the_table_says(client, admin, plane: ControlPlane) -> None:
    """Every route, asked by every role: forbidden is what the table forbids, and nothing else."""
    for role in Role:
        key = (await make(client, f"a-{role}", role, admin))["key"]
        for rule in RULES:
            if rule.path in ("/metrics", "/api/events", "/api/live") or (role is Role.SYSTEM_ADMIN and rule.method != "GET"):
                continue  # another port; an endless answer; what an administrator does would be done
            wanted = role in MAY[rule.right]
            if rule.method == "GET" or not wanted:
                assert await allowed(client, rule, key) is wanted, (role, rule)
    assert not await allowed(client, Rule("GET", "/api/nothing", "look"), key)


@pytest.mark.requirement("A15")
async def test_the_door_is_open_on_loopback_until_the_first_key_is_made(client, plane: ControlPlane) -> None:
    who = (await client.get("/api/session")).json()
    assert (who["name"], who["role"]) == ("local", "system-admin")
    assert (await client.get("/api/tasks")).status_code == 200
    made = await make(client, "ada", "viewer")
    assert problem_of(await client.get("/api/tasks")).code == "token_needed"
    assert (await client.get("/api/session")).json() == {"name": "", "role": "", "tenant": "", "sign_in": ["key"]}
    assert (await client.get("/health")).status_code == 200
    await ApiKeys(plane.engine).revoke(made["prefix"])
    await asyncio.sleep(0)
    plane.identity.keys.forget()
    assert problem_of(await client.get("/api/tasks")).code == "token_needed", "it doesn't open again by revoking"


@pytest.mark.requirement("A15")
async def test_the_home_s_key_and_the_token_open_everything(plane: ControlPlane) -> None:
    home_key = "k" * 64
    async with client_of(make_plane(plane.engine, plane.records, plane.home)) as client:
        await make(client, "ada", "viewer")
    locked = make_plane(plane.engine, plane.records, plane.home, token=TOKEN)
    for made, key, name in ((locked, TOKEN, "admin"), (plane, home_key, "local")):
        if made is plane:
            made = ControlPlane(plane.engine, plane.records, plane.fleet, plane.settings, plane.home, home_key=home_key)
        async with client_of(made) as client:
            assert (await client.get("/api/keys", headers=bearer(key))).status_code == 200
            assert (await client.get("/api/session", headers=bearer(key))).json()["name"] == name
            assert problem_of(await client.get("/api/keys", headers=bearer(key[:-1]))).code == "token_needed"


async def test_a_key_is_shown_once_and_kept_as_a_digest(client, admin, plane: ControlPlane) -> None:
    made = await make(client, "ada", "operator", admin, scopes=["tasks", "workflows:read"])
    listed = (await client.get("/api/keys", headers=admin)).text
    assert made["prefix"] in listed
    secret = made["key"].rpartition("_")[2] if "_" not in made["key"][18:] else made["key"][18:]
    assert secret not in listed
    async for key in plane.engine.client.scan_iter(f"{plane.engine.prefix}:*"):
        if await plane.engine.client.type(key) == b"hash":
            assert all(secret.encode() not in value for value in (await plane.engine.client.hgetall(key)).values())
    assert secret not in (plane.home / "audit" / "audit.jsonl").read_text()


async def test_a_scoped_key_opens_its_part_alone(client, admin) -> None:
    key = bearer((await make(client, "ci", "operator", admin, scopes=["tasks", "workflows:read"]))["key"])
    assert (await client.post("/api/tasks", json={"capability": WORK}, headers=key)).status_code == 201
    assert (await client.get("/api/workflows", headers=key)).status_code == 200
    assert (await client.get("/api/session", headers=key)).json()["name"] == "ci"
    for method, path in (
        ("POST", "/api/goals"),
        ("POST", "/api/workflows/none/cancel"),
        ("GET", "/api/pools"),
        ("GET", "/api/keys"),
    ):
        assert problem_of(await client.request(method, path, headers=key)).code == "role_insufficient"
    refused = await client.post("/api/keys", json={"name": "x", "scopes": ["nonsense"]}, headers=admin)
    assert refused.status_code == 422
    assert "workflows" in problem_of(refused).detail


def forged(key: str) -> list[str]:
    prefix = key.split("_")[1]
    return [
        "",
        key[:-1],
        key + "x",
        key.upper(),
        f"amas_{prefix}_{'A' * 43}",
        f"amas_{'0' * 12}_{key.split('_', 2)[2]}",
        f"amas_{prefix}_",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290Iiwicm9sZSI6InN5c3RlbS1hZG1pbiJ9.",  # a token that says it needs no signature
        "amas_" + "a" * 5000,
        "\x7f\x80",
    ]


@pytest.mark.requirement("A15", "B12")
async def test_forged_expired_and_revoked_keys_open_nothing(client, admin, plane: ControlPlane) -> None:
    made = await make(client, "ada", "operator", admin)
    assert (await client.get("/api/pools", headers=bearer(made["key"]))).status_code == 200
    for text in forged(made["key"]):
        answer = await client.get("/api/pools", headers={b"authorization": b"Bearer " + text.encode("latin-1")})
        assert problem_of(answer).code == ("token_forged" if text.startswith("eyJ") else "token_needed"), text
        assert "ada" not in answer.text
    prefix, text = new_key()
    expired = ApiKey(
        prefix=prefix, name="old", role=Role.OPERATOR, digest=digest_of(text), created_ms=1, expires_ms=now_ms() - 1, by="root"
    )
    await plane.identity.keys.kept.add(expired)
    plane.identity.keys.forget()
    assert problem_of(await client.get("/api/pools", headers=bearer(text))).code == "token_needed"
    assert (await client.delete(f"/api/keys/{made['prefix']}", headers=admin)).json()["revoked_ms"] > 0
    assert problem_of(await client.get("/api/pools", headers=bearer(made["key"]))).code == "token_needed"
    assert problem_of(await client.delete("/api/keys/000000000000", headers=admin)).code == "key_unknown"


async def test_a_revoked_key_is_soon_known_to_another_control_plane(client, admin, plane: ControlPlane) -> None:
    made = await make(client, "ada", "viewer", admin)
    async with client_of(make_plane(plane.engine, plane.records, plane.home)) as other, asyncio.timeout(60):
        assert (await other.get("/api/tasks", headers=bearer(made["key"]))).status_code == 200
        await client.delete(f"/api/keys/{made['prefix']}", headers=admin)
        while (await other.get("/api/tasks", headers=bearer(made["key"]))).status_code == 200:
            await asyncio.sleep(0.05)


async def test_too_large_headers_are_refused(client) -> None:
    answer = await client.get("/api/tasks", headers={"x-large": "x" * HEADER_BYTES_MAX})
    assert (answer.status_code, problem_of(answer).code) == (431, "headers_too_large")


async def test_of_a_field_that_comes_twice_the_first_counts(client, admin) -> None:
    ada = (await make(client, "ada", "viewer", admin))["key"]
    shown = [("authorization", f"Bearer {ada}"), ("Authorization", f"Bearer {ada[:-1]}")]
    asked = [httpx.Request("GET", "http://localhost/api/tasks", headers=each) for each in (shown, shown[::-1])]
    said = [await client.send(each) for each in asked]
    assert (said[0].status_code, problem_of(said[1]).code) == (200, "token_needed")


@asynccontextmanager
async def browser(plane: ControlPlane, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(plane) as client:
        answer = await client.post("/api/session", json={"key": key}, headers=SAME_ORIGIN)
        assert answer.status_code == 200, answer.text
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        yield client


async def test_a_browser_signs_in_and_out(client, admin, plane: ControlPlane) -> None:
    made = await make(client, "ada", "operator", admin)
    async with browser(plane, made["key"]) as page:
        assert (await page.get("/api/session")).json()["name"] == "ada"
        assert (await page.post("/api/tasks", json={"capability": WORK}, headers=SAME_ORIGIN)).status_code == 201
        kept = dict(page.cookies)
        assert (await page.delete("/api/session", headers=SAME_ORIGIN)).status_code == 200
        page.cookies = kept  # a stolen copy
        assert problem_of(await page.get("/api/tasks")).code == "token_needed"
    async with browser(plane, made["key"]) as page:
        await client.delete(f"/api/keys/{made['prefix']}", headers=admin)
        assert problem_of(await page.get("/api/tasks")).code == "token_needed", "the session ends with its key"
        refused = await page.post("/api/session", json={"key": made["key"]}, headers=SAME_ORIGIN)
        assert (refused.status_code, problem_of(refused).code) == (401, "key_refused")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost:3000"},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_another_page_s_request_with_the_cookie_changes_nothing(client, admin, plane, headers: dict[str, str]) -> None:
    made = await make(client, "ada", "operator", admin)
    async with browser(plane, made["key"]) as page:
        for method, path in (("POST", "/api/tasks"), ("DELETE", "/api/session"), ("POST", "/api/session")):
            answer = await page.request(method, path, json={"capability": WORK}, headers=headers)
            assert problem_of(answer).code == "origin_refused"
        assert (await page.get("/api/session")).json()["name"] == "ada"


async def test_a_rotated_token_ends_the_sessions_that_it_opened(plane: ControlPlane) -> None:
    old = make_plane(plane.engine, plane.records, plane.home, token=TOKEN)
    async with browser(old, TOKEN) as page:
        assert (await page.get("/api/tasks")).status_code == 200
        kept = dict(page.cookies)
    async with client_of(make_plane(plane.engine, plane.records, plane.home, token=TOKEN + "-new"), cookies=kept) as page:
        assert problem_of(await page.get("/api/tasks")).code == "token_needed"


@pytest.mark.requirement("A15")
async def test_a_key_s_name_wins_over_what_the_body_says(client, admin, hands, plane: ControlPlane) -> None:
    key = bearer((await make(client, "ada", "operator", admin))["key"])
    body = {"by": "somebody else", "why": "it is odd"}
    assert (await client.put("/api/quarantine/worker-1", json=body, headers=key)).status_code == 200
    assert (await client.get("/api/quarantine", headers=key)).json()["items"][0]["by"] == "ada"
    await client.delete("/api/quarantine/worker-1?by=somebody", headers=key)
    assert {change.by for change in await plane.desired.history(limit=2)} == {"ada"}


def audit_of(plane: ControlPlane) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (plane.home / "audit" / "audit.jsonl").read_bytes().splitlines()]


@pytest.mark.requirement("A15")
async def test_administrative_acts_are_in_the_audit(client, admin, hands, plane: ControlPlane, tmp_path: Path) -> None:
    made = await make(client, "eve", "viewer", admin)
    viewer = bearer(made["key"])
    (first,) = (key["prefix"] for key in (await client.get("/api/keys", headers=admin)).json()["items"] if key["name"] != "eve")
    await client.post("/api/tasks", json={"capability": WORK}, headers=admin)
    await client.put("/api/quarantine/worker-1", json={"why": "odd"}, headers=admin)
    await client.put("/api/quarantine/worker-1", json={"why": "odd"}, headers=viewer)
    await client.put("/api/quarantine/worker-1", json={"why": "odd"})
    await client.post("/api/session", json={"key": viewer["authorization"].split()[1]}, headers=SAME_ORIGIN)
    said = [(line["who"], line["act"], line["on"], line["outcome"]) for line in audit_of(plane)]
    assert said == [
        ("local", "POST /api/keys", f"/api/keys/{first}", 201),
        ("root", "POST /api/keys", f"/api/keys/{made['prefix']}", 201),
        ("root", "PUT /api/quarantine/{agent_id}", "/api/quarantine/worker-1", 200),
        ("eve", "PUT /api/quarantine/{agent_id}", "/api/quarantine/worker-1", 403),
        ("eve", "POST /api/session", "/api/session", 200),
    ]
    page = (await client.get("/api/audit?limit=2", headers=admin)).json()
    assert [line["seq"] for line in page["items"]] == [5, 4]
    rest = (await client.get(f"/api/audit?before={page['next']}", headers=admin)).json()
    assert ([line["seq"] for line in rest["items"]], rest["next"]) == ([3, 2, 1], None)


async def test_the_audit_says_whom_a_body_names(client, admin, hands, plane: ControlPlane) -> None:
    for body in ({"pool": "worker", "why": "odd"}, {"agent": "wroker-1", "why": "odd"}, {"lift": True}):
        await client.post("/api/kill", json=body, headers=admin)
    await client.post("/api/breakers/reset", json={"name": "payments-api"}, headers=admin)
    assert [(line["on"], line["outcome"]) for line in audit_of(plane)[-4:]] == [
        ("/api/kill worker killed", 200),
        ("/api/kill wroker-1 killed", 404),
        ("/api/kill all lifted", 200),
        ("/api/breakers/reset payments-api", 404),
    ]


async def test_without_an_audit_nothing_is_changed(client, hands, plane: ControlPlane) -> None:
    (plane.home / "audit").write_text("a file where the folder should be")
    answer = await client.put("/api/quarantine/worker-1", json={"why": "odd"})
    assert (answer.status_code, problem_of(answer).code) == (503, "audit_error")
    assert not (await client.get("/api/quarantine")).json()["items"]
    assert (await client.post("/api/tasks", json={"capability": WORK})).status_code == 201


async def test_a_stream_ends_with_the_key_that_opened_it(plane: ControlPlane) -> None:
    served = make_plane(plane.engine, plane.records, plane.home, port=0, metrics_port=0)
    async with serving(served) as (port, _), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        admin = bearer((await make(client, "root", "system-admin"))["key"])
        eve = await make(client, "eve", "viewer", admin)
        async with asyncio.timeout(60):
            await served.live.following.wait()
            async with client.stream("GET", "/api/events", headers=bearer(eve["key"])) as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "retry: 2000"
                await client.delete(f"/api/keys/{eve['prefix']}", headers=admin)
                await client.post("/api/tasks", json={"capability": WORK, "title": "a secret"}, headers=admin)
                assert "a secret" not in "".join([line async for line in lines])


async def test_a_long_poll_ends_with_the_key_that_waits(client, admin, hands, plane: ControlPlane, monkeypatch) -> None:
    """What it waited for is told to nobody whose key was revoked, or has expired, meanwhile; others are answered."""
    monkeypatch.setattr(guard, "WAITED_S", 0.0)
    task_id = (await client.post("/api/tasks", json={"capability": WORK}, headers=admin)).json()["id"]
    (claimed,) = await hands.claim()
    gone, stays = [await make(client, name, "viewer", admin) for name in ("gone", "stays")]
    short = await make(client, "short", "viewer", admin, expires_days=1)
    polls = []
    for key in (gone, short, stays):
        got = client.get(f"/api/tasks/{task_id}/result?wait=30", headers=bearer(key["key"]))
        asked = client.post("/api/tasks/outcomes?wait=30", json={"ids": [task_id]}, headers=bearer(key["key"]))
        polls += [asyncio.create_task(got), asyncio.create_task(asked)]
    async with asyncio.timeout(60):
        while len(plane.live._waiters.get(task_id, ())) < 3:
            await asyncio.sleep(0.01)
        await client.delete(f"/api/keys/{gone['prefix']}", headers=admin)
        monkeypatch.setattr(identity, "now_ms", lambda: now_ms() + 2 * 86_400_000)
        await hands.finish(claimed, "a secret")
        answers = await asyncio.gather(*polls)
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 200, 200]
    assert ["a secret" in answer.text for answer in answers] == [False] * 4 + [True] * 2


async def test_what_was_done_is_answered_however_long_it_took(client, admin, monkeypatch) -> None:
    monkeypatch.setattr(guard, "WAITED_S", 0.0)
    own = await make(client, "ada", "system-admin", admin)
    answer = await client.delete(f"/api/keys/{own['prefix']}", headers=bearer(own["key"]))
    assert (answer.status_code, answer.json()["revoked_ms"] > 0) == (200, True)
