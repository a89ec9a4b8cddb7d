"""The kill switch on a real host: all that the killed have under way ends, and what they say later counts for nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sample_agents
from host_bench import Bench, pool

from amas.agents.tools import sandbox
from amas.engine.desired import DesiredState, Wish
from amas.model.desired import FLEET_KILLED, Kill
from amas.model.fleet import PoolSpec
from amas.model.states import TaskState
from amas.model.tools import Parameter, ShellTool, ToolSpec

from .test_isolation import _lives as lives
from .test_isolation import isolated
from .test_model_agents import model_pool, spec_file
from .test_sandbox import command_line
from .test_tools import pool as tool_pool

pytestmark = pytest.mark.requirement("B12")

MARKER = "31536017"
"""Seconds that the tool would sleep; stands on its processes' command lines and on no others."""
SLEEP = ToolSpec(shell=ShellTool(command=("sleep", "{seconds}")), parameters={"seconds": Parameter()})


async def kill(bench: Bench, target: str) -> None:
    wish = Wish(f"kill:{target}", Kill(by="ann", why="a test", at_ms=1))
    await DesiredState(bench.engine).change([wish], by="ann", why="stop")


class SilentModel:
    """A model's server that takes requests and never answers; says who has hung up."""

    def __init__(self) -> None:
        self.url = ""
        self.asked, self.hung_up = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["SilentModel"]:
        async with await asyncio.start_server(self._take, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            yield self

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            self.asked.set()
        self.hung_up.set()
        writer.close()


def sleepers() -> list[bytes]:
    return [line for line in map(command_line, Path("/proc").glob("[0-9]*/cmdline")) if MARKER.encode() in line]


async def begun(bench: Bench, *tasks: str) -> None:
    for task_id in tasks:
        await bench.state(task_id, TaskState.RUNNING)


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_all_that_the_killed_have_under_way_ends(bench: Bench, tmp_path: Path, isolation: Any) -> None:
    if why := await sandbox.reason_missing():
        pytest.skip(f"no sandbox here: {why}")
    pids = tmp_path / "pids"
    async with SilentModel().serving() as model:
        pools: list[PoolSpec] = [
            pool("wait"),
            isolated(options={"pids": str(pids)}),
            tool_pool("use", "sleep", isolation=isolation),
            model_pool(spec_file(tmp_path, model), isolation=isolation),  # type: ignore[arg-type]  it has a url
        ]
        async with bench.host(pools, tools={"sleep": SLEEP}):
            tasks = [
                await bench.submit("test.wait", {"gate": "g"}),
                await bench.submit("test.isolated", "hang"),
                await bench.submit("test.use", {"uses": [["sleep", {"seconds": MARKER}]]}),
                await bench.submit("test.model", "Write."),
            ]
            await begun(bench, *tasks)
            await sample_agents.begun.setdefault("g", asyncio.Event()).wait()
            await model.asked.wait()

            async def at_work() -> bool:
                return bool(sleepers()) and pids.exists() and bool(pids.read_text())

            await bench.until(at_work)
            children = pids.read_text().split()
            await kill(bench, FLEET_KILLED)

            async def over() -> bool:
                return (
                    not sleepers()
                    and not any(lives(pid) for pid in children)
                    and sample_agents.ended == ["g"]
                    and model.hung_up.is_set()
                )

            await bench.until(over)
            for task_id in tasks:
                view = await bench.queue.task(task_id)
                assert view is not None
                assert (view.state, view.attempt, view.failures) == (TaskState.QUEUED, 1, 0), "taken back, and nobody's fault"


@pytest.mark.parametrize("target", ["wait-1", "wait"])
async def test_others_work_on(bench: Bench, target: str) -> None:
    async with bench.host([pool("wait"), pool("echo")]):
        task_id = await bench.submit("test.wait", {"gate": "g"})
        await begun(bench, task_id)
        await kill(bench, target)

        async def stopped() -> bool:
            return sample_agents.ended == ["g"]

        await bench.until(stopped)
        view = await bench.ended(await bench.submit("test.echo", 1))
        assert view.state is TaskState.SUCCEEDED
        left = await bench.queue.task(task_id)
        assert left is not None
        assert left.state is TaskState.QUEUED
