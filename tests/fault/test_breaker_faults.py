"""A dependency of two hosts that fails, and comes back: its breaker opens for all of them, one probes, it closes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from host_bench import Bench, pool

from amas.engine.breakers import Breakers
from amas.model.breaker import BreakerSpec, BreakerState, BreakerView
from amas.model.states import TaskState
from amas.model.task import RetryPolicy

API = "payments-api"
TASKS = 6


class Server:
    """An HTTP server that works, fails or keeps its clients waiting, as the test says."""

    def __init__(self) -> None:
        self.up, self.requests = False, 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        await self.answers.wait()
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" if self.up else b"HTTP/1.0 500 Broken\r\n\r\n")
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]


async def breaker(bench: Bench) -> BreakerView:
    return next(view for view in await Breakers(bench.engine).all() if view.name == API)


@pytest.mark.requirement("M5")
@pytest.mark.parametrize(("agent", "isolation"), [("payer", "shared"), ("sync_payer", "shared"), ("sync_payer", "process")])
async def test_a_breaker_opens_for_all_hosts_lets_one_probe_and_closes(bench: Bench, agent: str, isolation: str) -> None:
    server = Server()
    await Breakers(bench.engine).declare({API: BreakerSpec(errors=3, open_s=0.5)})
    retry = RetryPolicy(retries=3, backoff_s=0.001, backoff_max_s=0.002)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(server.running())
        spec = pool(agent, agent=f"healing_agents:{agent}", isolation=isolation, replicas=2, options={"port": port})
        for number in (1, 2):
            await stack.enter_async_context(bench.host([spec], f"h{number}", numbers={agent: [number]}))
        ids = [await bench.submit(f"test.{agent}", retry=retry) for _ in range(TASKS)]

        async def opened_again() -> bool:
            return (await breaker(bench)).opened >= 2  # the first probe failed, too

        await bench.until(opened_again)
        asked = server.requests
        server.answers.clear()  # at once, so that no probe comes in between
        server.up = True
        # One may have been under way; then a probe each time, and one whose failure the breaker hasn't heard of yet.
        assert asked <= 3 + 1 + (await breaker(bench)).opened

        async def probing() -> bool:
            return server.requests > asked

        await bench.until(probing)
        probed = server.requests
        attempts = {task_id: (await bench.queue.task(task_id)).attempt for task_id in ids}

        async def others_were_turned_away() -> bool:
            now = [(await bench.queue.task(task_id)).attempt for task_id in ids]
            return sum(now) > sum(attempts.values()) + 1

        await bench.until(others_were_turned_away)
        assert server.requests == probed
        assert (await breaker(bench)).state is BreakerState.HALF_OPEN
        server.answers.set()
        views = [await bench.ended(task_id) for task_id in ids]
        assert [view.state for view in views] == [TaskState.SUCCEEDED] * TASKS
        assert sum(view.failures for view in views) == asked  # each failure was a request; waiting cost nobody a retry
        found = await breaker(bench)
        assert (found.state, found.errors) == (BreakerState.CLOSED, 0)
    lines = [line for host in ("h1", "h2") for line in bench.log_lines(host)]
    assert sum(line.get("event") == "breaker_opened" for line in lines) == found.opened
    assert sum(line.get("event") == "breaker_closed" for line in lines) == 1


async def test_without_breakers_every_use_is_let_through(bench: Bench) -> None:
    server = Server()
    await Breakers(bench.engine).declare({API: BreakerSpec(errors=1, open_s=600)})
    async with server.running() as port:
        spec = pool("payer", agent="healing_agents:payer", options={"port": port})
        async with bench.host([spec], breakers=False):
            view = await bench.ended(await bench.submit("test.payer"))
    assert view.state is TaskState.FAILED and server.requests == view.failures == 3
    assert (await breaker(bench)).opened == 0
