"""`isolation: process`: attempts in children of their own, however they end."""

import os
from pathlib import Path
from typing import Any

import pytest
from host_bench import Bench, pool

from amas.engine.hosts import HostRegistry
from amas.model.desired import Seats
from amas.model.fleet import PoolSpec, ProcessLimits
from amas.model.scaling import ScalingSpec, VerticalSpec
from amas.model.states import TaskState
from amas.model.task import RetryPolicy


def isolated(**changes: Any) -> PoolSpec:
    return pool("isolated", **{"isolation": "process", "limits": ProcessLimits(memory_mb=1024), **changes})


ONCE = RetryPolicy(retries=0)


async def test_an_attempt_has_a_process_and_a_session_of_its_own(bench: Bench) -> None:
    async with bench.host([isolated()]):
        result = (await bench.ended(await bench.submit("test.isolated", "pid"))).result
    assert result["pid"] == result["group"] != result["parent"]
    assert not Path(f"/proc/{result['pid']}").exists()


@pytest.mark.requirement("B8")
async def test_attempts_are_forked_from_one_warmed_parent_which_ends_with_its_host(bench: Bench) -> None:
    async with bench.host([isolated(replicas=3)]):
        tasks = [await bench.submit("test.isolated", "pid") for _ in range(6)]
        results = [(await bench.ended(task)).result for task in tasks]
        (parent,) = {result["parent"] for result in results}
        assert len({result["pid"] for result in results}) == 6
        assert parent != os.getpid()
        assert Path(f"/proc/{parent}/status").exists()
    assert not Path(f"/proc/{parent}").exists()


@pytest.mark.requirement("B8")
async def test_a_warmed_parent_that_dies_takes_its_attempts_with_it_and_others_are_made(bench: Bench) -> None:
    pids = bench.folder / "pids"
    async with bench.host([isolated(replicas=2, options={"pids": str(pids)})]) as host:
        task_id = await bench.submit("test.isolated", "hang", retry=RetryPolicy(backoff_s=0.001, retries=0))

        async def begun() -> bool:
            return pids.exists()

        await bench.until(begun)
        first = host._nursery._parent
        assert first is not None
        first._process.kill()
        lost = await bench.ended(task_id)
        assert lost.failure is not None and lost.failure.code == "process_crashed"
        again = (await bench.ended(await bench.submit("test.isolated", "pid"))).result
        assert again["parent"] not in {first._process.pid, os.getpid()}
        assert first.gone


async def test_a_child_has_its_whole_context(bench: Bench) -> None:
    async with bench.host([isolated()]) as host:
        view = await bench.ended(await bench.submit("test.isolated", "step"))
        assert view.state is TaskState.SUCCEEDED, view.failure
        assert view.result[0] == view.result[1]  # the second call got the first one's journaled result
        assert host._home.artifacts.get(view.result[2]) == b"x"
    assert (bench.folder / "work" / "tasks" / view.id / "file").read_text() == "kept"
    (line,) = [line for line in bench.log_lines("h1") if line.get("event") == "test"]
    assert line["message"] == "in a child" and line["task_id"] == view.id and line["path"] == "x"


async def test_a_child_spawns_and_goes_on(bench: Bench) -> None:
    async with bench.host([isolated(), pool("echo")]):
        view = await bench.ended(await bench.submit("test.isolated", "spawn"))
    assert view.result == {"attempt": 2, "child": "c"}


async def test_a_plain_function_runs_isolated_too(bench: Bench) -> None:
    async with bench.host([pool("isolated_sync", isolation="process")]):
        view = await bench.ended(await bench.submit("test.isolated_sync"))
    assert view.result is True


@pytest.mark.parametrize(
    ("value", "code", "message", "detail"),
    [
        ("segv", "process_crashed", "SIGSEGV", "last words"),
        ("exit", "process_crashed", "exit code 7", ""),
        ("memory", "memory_limit", "memory", ""),
        ("cpu", "cpu_limit", "1 s of CPU", ""),
        ("raise", "agent_error", "ValueError: from afar", 'raise ValueError("from afar")'),
        ("object", "submission_error", "not a JSON value", ""),
    ],
)
async def test_a_crash_is_a_failure_and_never_the_hosts_own(
    bench: Bench, value: str, code: str, message: str, detail: str
) -> None:
    async with bench.host([isolated(limits=ProcessLimits(memory_mb=1024, cpu_s=1), retry=ONCE)]):
        view = await bench.ended(await bench.submit("test.isolated", value, retry=RetryPolicy(backoff_s=0.001, retries=0)))
    assert view.failure is not None
    assert view.failure.code == code
    assert message in view.failure.message
    assert detail in view.failure.detail


async def test_cancelling_kills_the_child_and_what_it_started(bench: Bench) -> None:
    pids = bench.folder / "pids"
    async with bench.host([isolated(options={"pids": str(pids)})]):
        task_id = await bench.submit("test.isolated", "hang")

        async def written() -> list[str]:
            return pids.read_text().split() if pids.exists() else []

        started = await bench.until(written)
        await bench.queue.cancel([task_id])

        async def gone() -> bool:
            return not any(_lives(pid) for pid in started)

        await bench.until(gone)


def _lives(pid: str) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()  # init reaps orphans in its own time
    except OSError:
        return False


async def test_a_timed_out_child_is_killed(bench: Bench) -> None:
    pids = bench.folder / "pids"
    async with bench.host([isolated(options={"pids": str(pids)})]):
        view = await bench.ended(await bench.submit("test.isolated", "hang", timeout_s=6.0, retry=ONCE))
    assert view.failure is not None and view.failure.code == "timed_out"
    assert not any(_lives(pid) for pid in pids.read_text().split())


FOLLOWING = ScalingSpec(min=1, max=1, vertical=VerticalSpec(step_mb=1024, max_mb=4096))


async def test_what_children_take_is_told_and_a_new_limit_holds_for_the_next_attempt(bench: Bench) -> None:
    """What runs when the limit changes goes on, and succeeds."""
    gate = bench.folder / "gate"
    before = isolated(scaling=FOLLOWING)
    after = isolated(scaling=FOLLOWING, limits=ProcessLimits(memory_mb=2048))
    registry = HostRegistry(bench.engine)

    async def told() -> int:
        (view,) = await registry.all()
        return view.figures.memory_mb.get("isolated", 0)

    async with bench.host([before]) as host:
        running = await bench.submit("test.isolated", {"take_mb": 400, "until": str(gate)})

        async def takes() -> bool:
            return await told() >= 400

        await bench.until(takes)
        await host.reseat([after], [Seats("isolated", ((1, 1),))], revision=2)
        later = await bench.submit("test.isolated", {"take_mb": 1200, "until": ""})
        gate.touch()
        first, second = await bench.ended(running), await bench.ended(later)

        async def took() -> bool:
            return await told() >= 1200

        await bench.until(took)
    assert (first.state, first.attempt, first.result["limit_mb"]) == (TaskState.SUCCEEDED, 1, 1024)
    assert (second.state, second.attempt, second.result["limit_mb"]) == (TaskState.SUCCEEDED, 1, 2048)


async def test_who_asked_for_more_than_the_limit_took_all_of_it(bench: Bench) -> None:
    async with bench.host([isolated(scaling=FOLLOWING, retry=ONCE)]):
        view = await bench.ended(await bench.submit("test.isolated", "memory", retry=ONCE))
        assert view.failure is not None and view.failure.code == "memory_limit"

        async def told() -> bool:
            (host,) = await HostRegistry(bench.engine).all()
            return host.figures.memory_mb == {"isolated": 1024}

        await bench.until(told)
