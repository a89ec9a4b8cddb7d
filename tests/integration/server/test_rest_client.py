"""The Python client of the REST API: whole, as the OpenAPI document says it, and over a real server."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from amas import rest
from amas.engine.connection import Engine
from amas.records.store import Records
from amas.records.views import EventRecord
from amas.rest import operations
from amas.rest.calls import Operation
from amas.server.contract import BYTES
from amas.server.once import SESSIONS
from amas.server.routes import inputs

from .conftest import WORK, Hands, make_plane
from .test_serve import serving

FOR_OTHERS = {
    # probes and the browser; streams, which `follow` reads or people do; and what only a profile of this process is for
    ("get", "/health"), ("get", "/health/orchestration"), ("get", "/ready"), ("get", "/ready/orchestration"),
    ("post", "/api/session"), ("delete", "/api/session"), ("get", "/api/live"), ("get", "/api/agents/{agent_id}/logs/stream"),
    ("get", "/api/events"), ("get", "/api/workflows/{workflow_id}/events"), ("post", "/api/diagnostics/profile"),
    # their query would be a body's: by whom
    ("delete", "/api/agents/{agent_id}"), ("delete", "/api/quarantine/{agent_id}"),
}  # fmt: skip


def declared() -> Iterator[Operation[Any, Any]]:
    for _, part in inspect.getmembers(operations, inspect.isclass):
        yield from (each for each in vars(part).values() if isinstance(each, Operation))


def answered(content: dict[str, Any]) -> str:
    """Return the name of what an answer is read as."""
    if content in ({}, BYTES):
        return "bytes" if content else "NoneType"
    name: str = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return name


async def test_it_has_every_operation_as_the_document_says_it(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    told = {(method, path): route for path, methods in document["paths"].items() for method, route in methods.items()}
    wanted = {key for key in told if key not in FOR_OTHERS and not key[1].startswith(SESSIONS + "sessions")}
    made = {(each.method.lower(), each.path): each for each in declared()}
    assert set(made) == wanted
    for key, each in made.items():
        route = told[key]
        assert each.matches == ("If-Match" in {one["name"] for one in route.get("parameters", ())}), key
        answer = next(route["responses"][status] for status in sorted(route["responses"]) if status < "300")
        assert answered(answer.get("content", {})) == each.answer.__name__, key
        body = route.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in body:
            assert body["$ref"].rpartition("/")[2] == each.given.__name__, key
            continue
        if route.get("requestBody", {}).get("content") == BYTES:
            assert next(iter(inspect.signature(each.given).parameters.values())).annotation is bytes
            continue
        queries = {one["name"] for one in route.get("parameters", ()) if one["in"] == "query"}
        takes = inspect.signature(each.given).parameters.values()
        named = {one.name for one in takes if one.kind is inspect.Parameter.KEYWORD_ONLY}
        more = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes)
        assert named == queries or body or (more and named < queries), key


@pytest.fixture
async def url(engine: Engine, records: Records, tmp_path: Path) -> AsyncIterator[tuple[str, Hands]]:
    served = make_plane(engine, records, tmp_path, port=0, metrics_port=0)
    hands = Hands(served)
    await hands.register()
    async with serving(served) as (port, _):
        yield f"http://127.0.0.1:{port}", hands


async def test_both_clients_do_the_same(url: tuple[str, Hands], monkeypatch: pytest.MonkeyPatch) -> None:
    where, hands = url
    monkeypatch.setattr(inputs.socket, "gethostname", lambda: "here")  # where the hands are

    def waiting_client() -> tuple[list[str], list[str]]:
        with rest.Client(where) as client:
            made = client.tasks.submit_batch([operations.shapes.NewTask(capability=WORK, input=n) for n in range(5)])
            with pytest.raises(rest.NotFound) as unknown:
                client.tasks.get("none")
            assert unknown.value.code == "task_unknown"
            with pytest.raises(rest.Invalid) as wrong:
                client.tasks.submit(capability="no.such")
            assert wrong.value.status == 422
            with pytest.raises(rest.Invalid, match=r"^Expected `str`, got `int` \(#/capability\)$"):
                client.tasks.submit(capability=3)  # type: ignore[arg-type]
            return made.ids, [client.tasks.get(task_id).state for task_id in made.ids]

    ids, states = await asyncio.to_thread(waiting_client)
    assert states == ["queued"] * 5
    async with rest.AsyncClient(where) as client:
        one = await client.tasks.submit(capability=WORK, input={"path": "a/b?c"})
        for claimed in await hands.claim(limit=6):
            await hands.finish(claimed, "done")
        await hands.record()
        assert (await client.tasks.result(one.id, wait=5)).result == "done"
        made = await client.inputs.add()
        assert await client.inputs.put(made.id, "src/a b.py", b"a = 1\n") is None
        assert (Path(made.folder) / "src/a b.py").read_bytes() == b"a = 1\n"
        listed = [task.id async for task in client.each(client.tasks.list, state="succeeded", limit=2)]
        assert listed == sorted([*ids, one.id], reverse=True)
        flow = {"name": "f", "tasks": [{"key": "go", "approval": "Is it good?"}]}
        opened = await client.workflows.start(flow=msgspec.convert(flow, operations.shapes.NewWorkflow.__annotations__["flow"]))
        (asked,) = (await client.workflows.approvals()).items
        await client.workflows.answer(asked.task_id, approved=True, by="ada")
        await hands.record()
        seen = [each async for each in client.follow(opened.workflow_id)]
        assert seen[-1].event.workflow_state == "succeeded"
        with pytest.raises(rest.NotFound, match=r"no file 'src/report\.html'"):
            await client.workflows.deliverable(opened.workflow_id, "src/report.html")
        again = [each.id async for each in client.follow(opened.workflow_id, after=seen[0].id)]
        assert again == [each.id for each in seen[1:]]


async def test_what_somebody_else_has_changed_meanwhile_is_left_alone(url: tuple[str, Hands]) -> None:
    where, _ = url
    nightly = {"cron": "0 4 * * *", "task": operations.shapes.NewScheduledTask(capability=WORK, input=1)}
    hourly = nightly | {"cron": "0 * * * *"}

    def waiting_client() -> None:
        with rest.Client(where) as client:
            seen = client.schedules.get.tagged("nightly")
            assert seen.value.schedule.cron == "0 4 * * *"
            client.schedules.put.matching(seen.etag)("nightly", **hourly)
            with pytest.raises(rest.Conflict) as late:
                client.schedules.drop.matching(seen.etag)("nightly")
            assert late.value.status == 412
            with pytest.raises(TypeError, match="doesn't go by an ETag"):
                client.schedules.pause.matching(seen.etag)
            with pytest.raises(TypeError, match="no ETag was given"):
                client.schedules.drop.matching("")

    async with rest.AsyncClient(where) as client:
        await client.schedules.put("nightly", **nightly)
        await asyncio.to_thread(waiting_client)
        seen = await client.schedules.get.tagged("nightly")
        assert seen.value.schedule.cron == "0 * * * *", "a refused change changes nothing"
        dropped = await client.schedules.drop.matching(seen.etag)("nightly")
        assert dropped is not None
        with pytest.raises(rest.NotFound):
            await client.schedules.get("nightly")


async def test_what_is_busy_is_tried_again_under_one_key_and_what_is_gone_is_said(plane: Any) -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        match len(keys):
            case 1:
                return httpx.Response(503, headers={"retry-after": "0"}, json={"code": "engine_unreachable"})
            case 2:
                raise httpx.ConnectError("away")
            case 3:
                return httpx.Response(409, json={"code": "request_under_way"})
            case _:
                return httpx.Response(201, json={"id": "t1"})

    with rest.Client("http://fleet", transport=httpx.MockTransport(answer)) as client:
        assert client.tasks.submit(capability="x").id == "t1"
    assert len(keys) == 4 and len(set(keys)) == 1
    keys.clear()
    async with rest.AsyncClient("http://fleet", patience_s=0, transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(rest.Busy):
            await client.tasks.submit(capability="x")
        with pytest.raises(rest.Unreachable, match="http://fleet"):
            await client.tasks.submit(capability="x")


def change(number: int, title: str) -> bytes:
    return msgspec.json.encode(EventRecord(id=f"{number}-0", kind=title, at_ms=number, tasks=[]))


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A stream that breaks off."""

    def __init__(self, *pieces: bytes, whole: bool = False) -> None:
        self._pieces, self._whole = pieces, whole

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if not self._whole:
            raise httpx.ReadError("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


async def test_a_stream_that_breaks_off_is_resumed_after_the_last_whole_event() -> None:
    titles = ["one", "two\u2028lines\x85\x1c", "three"]
    sent = [f"id: {n}\r\nevent: change\r\ndata: ".encode() + change(n, title) + b"\r\n\r\n" for n, title in enumerate(titles, 1)]
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("last-event-id", ""))
        assert request.url.raw_path == b"/api/workflows/a%2Fb/events"
        match len(asked):
            case 1:
                return httpx.Response(503, json={"code": "engine_unreachable"})
            case 2:  # within a character, after the id of what isn't whole
                return httpx.Response(200, stream=Broken(b": here\n\n", sent[0][:9], sent[0][9:] + sent[1][:60]))
            case 3:
                raise httpx.ConnectError("away")
            case _:
                rest_of_it = sent[1] + sent[2] + b"event: end\ndata: {}\n\n"
                return httpx.Response(200, stream=Broken(*(bytes([byte]) for byte in rest_of_it), whole=True))

    transport = httpx.MockTransport(answer)
    with rest.Client("http://fleet", transport=transport) as client:
        assert [each.event.kind for each in client.follow("a/b")] == titles
    assert asked == ["", "", "1", "1"]
    asked.clear()
    async with rest.AsyncClient("http://fleet", transport=transport) as others:
        assert [each.event.kind async for each in others.follow("a/b")] == titles


async def test_what_never_comes_is_not_waited_for() -> None:
    where = "http://127.0.0.1:1"
    async with asyncio.timeout(60):
        async with rest.AsyncClient(where, patience_s=0.1) as client:
            with pytest.raises(rest.Unreachable, match=where):
                _ = [each async for each in client.follow("w1")]
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for url, token in ((f"http://127.0.0.1:{port}", "a-secret\nand more"), ("localhost:8000", "")):
            async with rest.AsyncClient(url, token=token, patience_s=3600) as client:
                with pytest.raises(rest.Unreachable, match="can't be sent over HTTP") as refused:
                    await client.fleet.health()
                assert "a-secret" not in str(refused.value)
        server.close()
    page = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>sign in"))
    with (
        rest.Client("http://fleet", transport=page, timeout=5) as waiting,
        pytest.raises(rest.RestError, match="isn't what the API"),
    ):
        waiting.tasks.get("t1")
