"""`Idempotency-Key` on every POST that makes or starts something: done once, answered as the first time, each caller's own."""

import asyncio
from typing import Any

import httpx
import pytest

from amas.engine.once import Once
from amas.server import once
from amas.server.guard import NOBODY
from amas.server.once import BY_THEMSELVES, DoneOnce, takes_key
from amas.server.plane import ControlPlane

from .conftest import WORK, client_of
from .test_access import bearer, make, problem_of

KEY = {"idempotency-key": "7f1a0c4e-once"}
NEW_KEY = {"name": "ada", "role": "viewer"}


async def keys(client: httpx.AsyncClient, headers: Any) -> list[str]:
    return [key["name"] for key in (await client.get("/api/keys", headers=headers)).json()["items"]]


@pytest.fixture
async def admin(client: httpx.AsyncClient) -> dict[str, str]:
    return bearer((await make(client, "root", "system-admin"))["key"])


async def test_what_is_sent_again_is_answered_as_the_first_time(
    client: httpx.AsyncClient, admin: Any, plane: ControlPlane
) -> None:
    first = await client.post("/api/keys", json=NEW_KEY, headers=admin | KEY)
    again = await client.post("/api/keys", json=NEW_KEY, headers=admin | KEY)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true" and again.headers["cache-control"] == "no-store"
    assert "idempotency-replayed" not in first.headers
    assert (await keys(client, admin)).count("ada") == 1
    other = problem_of(await client.post("/api/keys", json=NEW_KEY | {"name": "bob"}, headers=admin | KEY))
    assert (other.status, other.code) == (409, "idempotency_conflict")
    held = [
        await plane.engine.client.hgetall(name) async for name in plane.engine.client.scan_iter(f"{plane.engine.prefix}:idem:*")
    ]
    assert len(held) == 1 and first.json()["key"].encode() not in held[0][b"answer"], "no secret lies in the engine"


async def test_what_was_refused_leaves_its_key(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/keys", json={"name": "x", "role": "nobody"}, headers=KEY)).status_code == 422
    assert (await client.post("/api/keys", json=NEW_KEY, headers=KEY)).status_code == 201


async def test_a_key_is_its_caller_s_and_its_path_s_own(client: httpx.AsyncClient, admin: Any) -> None:
    other = bearer((await make(client, "second", "system-admin", admin))["key"])
    made = [(await client.post("/api/keys", json=NEW_KEY, headers=who | KEY)).json() for who in (admin, other)]
    assert made[0]["key"] != made[1]["key"]
    silence = {"alert": "*", "for_s": 60, "by": "ada", "why": "a test"}
    assert (await client.post("/api/silences", json=silence, headers=admin | KEY)).status_code == 201


async def test_what_is_under_way_is_not_begun_again(client: httpx.AsyncClient, plane: ControlPlane, monkeypatch: Any) -> None:
    began, go_on, end = asyncio.Event(), asyncio.Event(), Once.end

    async def slowly(self: Once, *said: Any) -> None:
        began.set()
        await go_on.wait()
        await end(self, *said)

    monkeypatch.setattr(Once, "end", slowly)
    admin = bearer((await make(client, "root", "system-admin"))["key"])
    first = asyncio.create_task(client.post("/api/keys", json=NEW_KEY, headers=admin | KEY))
    async with asyncio.timeout(60):
        await began.wait()
    async with client_of(plane) as another:
        assert problem_of(await another.post("/api/keys", json=NEW_KEY, headers=admin | KEY)).code == "request_under_way"
        go_on.set()
        assert (await first).status_code == 201
        assert (await another.post("/api/keys", json=NEW_KEY, headers=admin | KEY)).json() == (await first).json()


async def test_what_takes_long_keeps_its_key(plane: ControlPlane, monkeypatch: Any) -> None:
    monkeypatch.setattr(once, "RENEW_EVERY_S", 0.01)
    keys, runs, said = f"{plane.engine.prefix}:idem:*", list[bytes](), list[Any]()

    async def route(scope: Any, receive: Any, send: Any) -> None:
        """Take long: what is left of its time is cut short, and given again."""
        (key,) = [name async for name in plane.engine.client.scan_iter(keys)]
        runs.append(key)
        await plane.engine.client.pexpire(key, 60_000)
        while await plane.engine.client.pttl(key) <= 60_000:
            await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    scope: Any = {"type": "http", "method": "POST", "path": "/api/keys", "query_string": b"", "state": {"caller": NOBODY}}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in KEY.items()]
    done = DoneOnce(route, plane.engine)
    async with asyncio.timeout(60):
        await done(scope, receive, send)
        await done(scope, receive, send)
    assert [message.get("body") for message in said] == [None, b"done"] * 2
    assert len(runs) == 1
    digest = await plane.engine.client.hget(runs[0], "digest")
    await Once(plane.engine).renew(runs[0].decode().rpartition(":")[2], digest.decode())
    assert await plane.engine.client.pttl(runs[0]) > 60 * 60_000, "an answer is kept for its day"


async def test_every_post_that_makes_or_starts_something_takes_a_key(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    takes = {
        path
        for path, methods in paths.items()
        for each in methods.get("post", {}).get("parameters", ())
        if each["name"] == "Idempotency-Key"
    }
    posts = {path for path, methods in paths.items() if "post" in methods}
    assert {
        "/api/tasks",
        "/api/goals",
        "/api/workflows",
        "/api/webhooks",
        "/api/keys",
        "/api/messages",
        "/api/agents",
        "/api/schedules/{name}/run",
    } <= takes
    assert posts - takes == {path for path in posts if not takes_key(path)}
    for path in takes - BY_THEMSELVES:  # whatever it is asked, it is asked under a key
        long = await client.post(path.replace("{", "").replace("}", ""), headers={"idempotency-key": "k" * 201})
        assert problem_of(long).errors[0].parameter == "idempotency-key", path


async def test_a_submission_s_key_is_each_caller_s_own(client: httpx.AsyncClient, admin: Any) -> None:
    other = bearer((await make(client, "second", "operator", admin))["key"])
    ids = [
        (await client.post("/api/tasks", json={"capability": WORK}, headers=who | KEY)).json()["id"]
        for who in (admin, admin, other)
    ]
    assert ids[0] == ids[1] != ids[2]


async def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one(plane: ControlPlane) -> None:
    came: list[Any] = [
        {"type": "http.request", "body": b"name: ada\n", "more_body": True},
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"name: ada\nrole: viewer\n", "more_body": False},
        {"type": "http.disconnect"},
    ]
    said: list[Any] = []

    async def receive() -> Any:
        return came.pop(0)

    async def send(message: Any) -> None:
        said.append(message)

    async def route(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        seen.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    seen: list[Any] = []
    scope: Any = {"type": "http", "method": "POST", "path": "/api/keys", "query_string": b"", "state": {"caller": NOBODY}}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in KEY.items()]
    done = DoneOnce(route, plane.engine)
    await done(scope, receive, send)
    assert (seen, said) == ([], []), "what came of it is a whole document to whoever can't tell"
    await done(scope, receive, send)
    assert seen == [b"name: ada\nrole: viewer\n", "http.disconnect"]
    assert came == [], "a route hears when its caller goes away, and not before"
