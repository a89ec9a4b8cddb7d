"""Both servers for real: sockets, streams, ports that are taken, and an end in good order."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from amas.errors import PortInUse
from amas.server.plane import ControlPlane
from amas.server.serve import serve

from .conftest import WORK, Hands, make_plane


@asynccontextmanager
async def serving(plane: ControlPlane, *, limit_s: float = 120) -> AsyncIterator[tuple[int, int]]:
    """Serve for as long as the block lasts; give both ports."""
    ports: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve(plane, ready=lambda *found: ports.set_result(found)))
    try:
        async with asyncio.timeout(limit_s):
            yield await ports
    finally:
        running.cancel()
        async with asyncio.timeout(60):
            await asyncio.wait([running])
        assert running.cancelled()


@pytest.fixture
def served(plane: ControlPlane) -> ControlPlane:
    return make_plane(plane.engine, plane.records, plane.home, port=0, metrics_port=0)


@pytest.mark.requirement("A8", "A12")
async def test_a_stream_over_a_socket_tells_a_task_s_life_and_ends_with_the_server(served: ControlPlane) -> None:
    hands = Hands(served)
    await hands.register()
    kinds: list[str] = []
    async with httpx.AsyncClient(timeout=60) as client:
        async with serving(served) as (port, metrics_port):
            api = f"http://127.0.0.1:{port}"
            async with asyncio.timeout(60):
                await served.live.following.wait()
            assert (await client.get(f"{api}/ready/orchestration")).status_code == 200
            request = client.build_request("GET", f"{api}/api/events")
            stream = await client.send(request, stream=True)
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            await client.post(f"{api}/api/tasks", json={"capability": WORK})
            await hands.finish((await hands.claim())[0], "done")
            async for line in lines:
                if line.startswith("data: "):
                    kinds.append(line.partition('"kind":"')[2].partition('"')[0])
                if "succeeded" in line:
                    break
            page = await client.get(f"http://localhost:{metrics_port}/metrics", headers={"host": "localhost"})
            assert "orchestration_active_workflows 0.0" in page.text
        rest = [line async for line in lines]
        await stream.aclose()
    assert kinds == ["submit", "claim", "complete"]
    assert "event: dropped" in rest


@pytest.mark.requirement("A11")
async def test_without_metrics_nothing_listens_for_prometheus(served: ControlPlane) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        held = {"port": 0, "metrics_port": taken.getsockname()[1], "metrics": False}
        async with serving(make_plane(served.engine, served.records, served.home, **held)) as (port, metrics_port):
            assert metrics_port == 0
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://127.0.0.1:{port}/health/orchestration")).status_code == 200


async def test_a_port_in_use_is_one_sentence(served: ControlPlane) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for settings, variable in (
            ({"port": port, "metrics_port": 0}, "AMAS_PORT"),
            ({"port": 0, "metrics_port": port}, "AMAS_METRICS_PORT"),
        ):
            with pytest.raises(PortInUse) as refused:
                await serve(make_plane(served.engine, served.records, served.home, **settings))
            assert str(refused.value) == f"port {port} is taken by another program: stop that, or choose another with {variable}"


@pytest.mark.requirement("B10")
async def test_the_figures_are_followed_over_a_socket_and_the_feed_ends_with_the_server(served: ControlPlane) -> None:
    await Hands(served).register()
    async with httpx.AsyncClient(timeout=60) as client:
        async with serving(served) as (port, _):
            api = f"http://127.0.0.1:{port}"
            stream = await client.send(client.build_request("GET", f"{api}/api/live"), stream=True)
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.aiter_lines()
            async for line in lines:
                if line.startswith("data: "):
                    asked = (await client.get(f"{api}/api/metrics")).json()
                    assert json.loads(line.removeprefix("data: ")).keys() == asked.keys()
                    break
            await client.post(f"{api}/api/tasks", json={"capability": WORK})
            async for line in lines:
                if line.startswith("data: ") and json.loads(line.removeprefix("data: "))["tasks"]["queued"] == {WORK: 1}:
                    break
            refused = await client.get(f"{api}/api/live", headers={"last-event-id": "yesterday"})
            assert refused.json()["code"] == "request_invalid"
        assert "event: figures" not in [line async for line in lines][-2:]
        await stream.aclose()
    assert served.feed.listeners == 0
