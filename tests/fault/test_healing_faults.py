"""Agents that die or stand still, and tasks that kill them: the fleet goes on, says so, and blames the right one."""

from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest
from host_bench import Bench, pool
from tests.fault.test_host_faults import host_process

from amas.agents.attempt import Seat
from amas.clock import new_id
from amas.controllers.recovering import Recovering, Warden
from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostRegistry
from amas.engine.queue import make_submission
from amas.engine.recoveries import Recoveries
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.healing import POISON, HealingSpec, Quarantine
from amas.model.states import AgentStatus, TaskState
from amas.model.task import RetryPolicy, TaskSpec

QUICK = HealingSpec(crashes=3, backoff_s=0.01, backoff_max_s=0.02, quarantine_s=600)


def crashers(bench: Bench, **changes: Any) -> PoolSpec:
    return pool(
        "crasher",
        **{
            "agent": "healing_agents:crasher",
            "isolation": "process",
            "options": {"ledger": str(bench.folder / "ledger")},
            "healing": QUICK,
            **changes,
        },
    )


async def quarantined(bench: Bench) -> dict[str, Quarantine]:
    return (await DesiredState(bench.engine).read()).quarantines


def done(value: object) -> Awaitable[object]:
    async def look() -> object:
        return value

    return look()


@pytest.mark.requirement("B8")
async def test_an_agent_that_keeps_dying_is_quarantined_and_its_pool_works_on(bench: Bench) -> None:
    # Only the first agent is on a host at first, so that all three tasks take it down.
    spec = crashers(bench, replicas=2)
    async with bench.host([spec], numbers={"crasher": [1]}) as host:
        ids = [await bench.submit("test.crasher", {"die": 1}) for _ in range(3)]
        held = await bench.until(lambda: quarantined(bench))
        assert host.seats["crasher-1"].agent.status is AgentStatus.ERROR
        assert list(held) == ["crasher-1"] and "crashed 3 times" in held["crasher-1"].why
        assert held["crasher-1"].by == "host h1" and held["crasher-1"].version == spec.version
        async with bench.host([spec], "h2", numbers={"crasher": [2]}):
            views = [await bench.ended(task_id) for task_id in ids]
        assert [view.result for view in views] == ["crasher-2"] * 3
    lines = bench.log_lines("h1")
    assert sum(line.get("event") == "agent_crashed" for line in lines) == 3
    assert sum(line.get("event") == "agent_quarantined" for line in lines) == 1


async def test_a_quarantine_outlives_its_host_and_is_lifted_by_a_person(bench: Bench) -> None:
    desired = DesiredState(bench.engine)
    held = Quarantine(by="ops", why="looks odd", at_ms=1)
    await desired.change([Wish("quarantine:crasher-1", held)], by="ops", why="looks odd")
    async with bench.host([crashers(bench)]) as host:
        await bench.until(lambda: done("crasher-1" in host._healer.quarantined))
        task_id = await bench.submit("test.crasher", "work")
        await desired.change([Wish("quarantine:crasher-1", None)], by="ops", why="it was the disk")
        assert (await bench.ended(task_id)).result == "crasher-1"
        assert host.seats["crasher-1"].agent.status is AgentStatus.IDLE


async def test_another_version_of_the_pool_is_let_go_at_once(bench: Bench) -> None:
    desired, recoveries = DesiredState(bench.engine), Recoveries(bench.engine)
    held = Quarantine(by="host h0", why="it crashed", at_ms=1, version="1")
    wishes = [Wish("quarantine:crasher-1", held), Wish("fleet", FleetSpec(name="f", pools=(crashers(bench, version="2"),)))]
    await desired.change(wishes, by="test", why="test")
    async with bench.host([crashers(bench, version="2")]):
        assert (await bench.ended(await bench.submit("test.crasher", "work"))).result == "crasher-1"
    await Warden(desired, recoveries).run_once()
    assert await quarantined(bench) == {}
    assert "version 2" in (await desired.history(limit=1))[0].why


@pytest.mark.requirement("B8")
async def test_a_task_that_takes_every_agent_down_is_poison_and_none_of_them_is_blamed(bench: Bench) -> None:
    spec = crashers(bench, replicas=4, healing=msgspec.structs.replace(QUICK, crashes=2))
    retry = RetryPolicy(retries=20, backoff_s=0.001, backoff_max_s=0.002)
    async with bench.host([spec]) as host:
        for _ in range(2):  # as much poison as an agent may crash
            view = await bench.ended(await bench.submit("test.crasher", {"die": 100}, retry=retry))
            assert view.state is TaskState.FAILED and view.failure is not None and view.failure.code == POISON
            assert "crashed 3 agents" in view.failure.message
            assert view.failures <= 4  # long before its retries are used up: each time by another agent
        await bench.until(lambda: done(not host._healer.healing))
        assert await quarantined(bench) == {}
        assert (await bench.ended(await bench.submit("test.crasher", "work"))).state is TaskState.SUCCEEDED


async def test_a_broken_pool_is_quarantined_and_its_tasks_are_not_taken_for_poison(bench: Bench) -> None:
    spec = pool("quitter", agent="healing_agents:quitter", replicas=3, healing=QUICK)
    retry = RetryPolicy(retries=100, backoff_s=0.001, backoff_max_s=0.002)
    async with bench.host([spec]):
        batch = [make_submission(new_id(), TaskSpec(capability="test.quitter", retry=retry)) for _ in range(3)]
        await bench.queue.submit(batch)

        async def all_held() -> bool:
            return len(await quarantined(bench)) == 3

        await bench.until(all_held)
        outcomes = await bench.queue.outcomes([task.id for task in batch])
        assert [each for each in outcomes.values() if each.state.terminal] == []


async def recovered(bench: Bench, cause: str) -> Any:
    recovering = Recovering(Recoveries(bench.engine), engine="here")

    async def look() -> Any:
        await recovering.run_once()
        return next((each for each in await Recoveries(bench.engine).newest() if each.cause == cause), None)

    return await bench.until(look)


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_an_attempt_without_progress_is_stopped_and_done_elsewhere(bench: Bench, isolation: str) -> None:
    stuck_s = 4.0  # a child takes its time to start, and an attempt that works on may meet a slow moment
    spec = pool(
        "hanger",
        agent="healing_agents:hanger",
        isolation=isolation,
        replicas=2,
        healing=msgspec.structs.replace(QUICK, stuck_after_s=stuck_s),
    )
    async with bench.host([spec]) as host:
        task_id = await bench.submit("test.hanger")
        running = await bench.state(task_id, TaskState.RUNNING)
        stopped = running.agent_id

        async def seat() -> Seat | None:  # the engine says that it runs a moment before the host does
            return host.seats.get(stopped)

        old = (await bench.until(seat)).agent
        view = await bench.ended(task_id)
        assert view.state is TaskState.SUCCEEDED and view.attempt == 2 and view.failures == 1
        assert view.result != stopped
        found = await recovered(bench, "agent_stuck")
        assert (found.subject, found.tasks) == (stopped, 1)
        assert found.duration_ms >= stuck_s * 1000  # from its last progress, not from when it was stopped
        await bench.until(lambda: done(not host._healer.healing))
        if isolation == "shared":
            assert host.seats[stopped].agent is not old
    assert [line["code"] for line in bench.log_lines("h1") if line.get("event") == "attempt_failed"] == ["stuck"]


async def test_a_thread_without_progress_is_told_to_stop(bench: Bench) -> None:
    spec = pool(
        "hanger",
        agent="healing_agents:quiet_hanger",
        capabilities=("test.quiet_hanger",),
        healing=msgspec.structs.replace(QUICK, stuck_after_s=2.0),
    )
    async with bench.host([spec]):
        view = await bench.ended(await bench.submit("test.quiet_hanger"))
    assert view.state is TaskState.SUCCEEDED and view.attempt == 2


async def test_an_agent_that_died_is_healing_until_it_takes_tasks_again(bench: Bench) -> None:
    spec = crashers(bench, healing=msgspec.structs.replace(QUICK, backoff_s=0.5, backoff_max_s=1.0))
    async with bench.host([spec]) as host:
        task_id = await bench.submit("test.crasher", {"die": 1})
        await bench.until(lambda: done(host._figures(0.0).healing == ("crasher-1",)))
        assert host.seats["crasher-1"].agent.status is AgentStatus.HEALING
        assert (await bench.ended(task_id)).result == "crasher-1"
        found = await recovered(bench, "agent_crashed")
        assert found.subject == "crasher-1" and found.duration_ms >= 250
        assert host._figures(0.0).healing == ()


async def test_a_killed_hosts_recovery_counts_from_its_last_beat_until_its_tasks_run_again(bench: Bench) -> None:
    registry = HostRegistry(bench.engine)
    spec = {"pool": {"options": {"ledger": str(bench.folder / "ledger"), "steps": 2000}, "replicas": 2}}
    async with host_process(bench, "h1", "ledger", **spec) as h1:
        ids = [await bench.submit("test.ledger") for _ in range(2)]
        for task_id in ids:
            await bench.state(task_id, TaskState.RUNNING)
        h1.kill()
        assert (await bench.until(registry.reap)).id == "h1"
        recovering = Recovering(Recoveries(bench.engine), engine="here")
        await recovering.run_once()
        (lost,) = await Recoveries(bench.engine).under_way()
        assert lost.cause == "host_lost" and sorted(lost.task_ids) == sorted(ids)
        async with bench.host([pool("ledger", options=spec["pool"]["options"], replicas=2)], "h2"):
            found = await recovered(bench, "host_lost")
            states = [(await bench.queue.task(task_id)).state for task_id in ids]
    assert (found.subject, found.tasks) == ("h1", 2) and TaskState.QUEUED not in states
    assert found.duration_ms >= 900  # most of its lease
    assert await Recoveries(bench.engine).under_way() == []


async def test_a_host_that_leaves_in_good_order_is_no_recovery(bench: Bench) -> None:
    async with bench.host([pool("echo")]):
        await bench.ended(await bench.submit("test.echo"))
    assert await Recoveries(bench.engine).under_way() == []
