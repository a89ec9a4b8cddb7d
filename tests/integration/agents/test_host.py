"""A host on a real engine: tasks in, outcomes out, and what happens to them in between."""

import asyncio
from typing import Any

import pytest
import sample_agents
from host_bench import Bench, pool

from amas.agents.host import HostState
from amas.agents.lease import HELD_UP_S
from amas.clock import new_id, now_ms
from amas.engine.hosts import HostRegistry
from amas.engine.journal import START, Journal
from amas.engine.queue import make_submission
from amas.model.healing import HealingSpec
from amas.model.journal import progress_notes
from amas.model.states import AgentStatus, TaskState
from amas.model.task import RetryPolicy, TaskSpec


async def begun(gate: str) -> None:
    async with asyncio.timeout(60):
        await sample_agents.begun.setdefault(gate, asyncio.Event()).wait()


async def test_a_task_goes_in_and_its_result_comes_out(bench: Bench) -> None:
    async with bench.host([pool("echo", replicas=3)]) as host:
        assert host.state is HostState.WORKING
        view = await bench.ended(await bench.submit("test.echo", {"a": [1, None]}))
        assert view.state is TaskState.SUCCEEDED
        assert view.result["echo"] == {"a": [1, None]}
        assert view.host_id == "h1"
        assert host.seats[view.agent_id].agent.tasks_succeeded == 1
        assert host.seats[view.agent_id].agent.status is AgentStatus.IDLE
    assert host.state is HostState.LEFT
    assert await HostRegistry(bench.engine).all() == []


async def test_many_tasks_spread_over_agents(bench: Bench) -> None:
    batch = [make_submission(new_id(), TaskSpec(capability="test.echo", input=number)) for number in range(700)]
    await bench.queue.submit(batch)
    async with bench.host([pool("echo", replicas=10, tasks_per_agent=3)]) as host:
        await bench.until(lambda: _all_done(bench, [task.id for task in batch]))
        assert sum(seat.agent.tasks_succeeded for seat in host.seats.values()) == 700
        assert min(seat.agent.tasks_succeeded for seat in host.seats.values()) > 30


async def _all_done(bench: Bench, ids: list[str]) -> bool:
    return all(outcome.state is TaskState.SUCCEEDED for outcome in (await bench.queue.outcomes(ids)).values())


async def test_results_of_needs_arrive_under_their_keys(bench: Bench) -> None:
    first, skipped, last = new_id(), new_id(), new_id()
    await bench.queue.submit(
        [
            make_submission(first, TaskSpec(capability="test.echo", input="x")),
            make_submission(skipped, TaskSpec(capability="test.fail", input="give up"), on_failure="skip"),
            make_submission(last, TaskSpec(capability="test.echo", needs=(first, skipped), need_keys=("one", "two"))),
        ]
    )
    async with bench.host([pool("echo"), pool("fail")]):
        view = await bench.ended(last)
    assert view.result["results"]["one"]["echo"] == "x"
    assert view.result["failures"] == ["two"]


@pytest.mark.parametrize(
    ("value", "code", "failures"),
    [
        ("give up", "no_way", 1),
        ("large", "payload_too_large", 1),
        ("no json", "submission_error", 1),
        ("later", "retry_later", 3),
        ("exit", "agent_exited", 3),
        ("cancel", "agent_cancelled", 3),
        ("else", "agent_error", 3),
    ],
)
async def test_a_failure_is_retried_where_it_helps_and_then_a_dead_letter(
    bench: Bench, value: str, code: str, failures: int
) -> None:
    bench.payload_bytes = 1 << 20
    async with bench.host([pool("fail", retry=RetryPolicy(backoff_s=0.001))]) as host:
        view = await bench.ended(await bench.submit("test.fail", value))
        assert (await bench.queue.totals())["dead_letters"] == 1
        assert host.seats["fail-1"].agent.tasks_failed == failures
    assert view.state is TaskState.FAILED and view.failures == failures
    assert view.failure is not None and view.failure.code == code
    if code == "agent_error":
        assert view.failure.message == "ValueError: attempt 3"
        assert "raise ValueError" in view.failure.detail
    lines = [line for line in bench.log_lines("h1") if line.get("event") == "attempt_failed"]
    assert len(lines) == failures and lines[0]["agent_id"] == "fail-1" and lines[0]["host_id"] == "h1"


async def test_attempts_that_start_together_leave_each_other_alone(bench: Bench) -> None:
    kinds = ["variable", "own limit", "cancel self", "raise", "wait", "nothing"]
    tasks = {new_id(): kinds[number % len(kinds)] for number in range(120)}
    await bench.queue.submit(
        [make_submission(task_id, TaskSpec(capability="test.mixed", input=kind)) for task_id, kind in tasks.items()]
    )
    async with bench.host([pool("mixed", replicas=4, tasks_per_agent=30)]) as host:
        views = {task_id: await bench.ended(task_id) for task_id in tasks}
        assert all(seat.running == 0 for seat in host.seats.values())
    for task_id, kind in tasks.items():
        view = views[task_id]
        assert view.attempt == 1
        assert view.state is (TaskState.FAILED if kind == "raise" else TaskState.SUCCEEDED), kind
        if kind != "raise":
            assert view.result == {"before": "nothing", **({"limit": True} if kind == "own limit" else {})}


async def test_cancelling_reaches_a_running_agent(bench: Bench) -> None:
    async with bench.host([pool("wait")]) as host:
        task_id = await bench.submit("test.wait", {"gate": "c"})
        await begun("c")
        await bench.queue.cancel([task_id])
        await bench.until(lambda: _is(sample_agents.ended == ["c"]))
        await bench.until(lambda: _is(host.seats["wait-1"].agent.status is AgentStatus.IDLE))
        other = await bench.submit("test.wait", {"gate": "d"})
        await begun("d")
        assert (await bench.state(other, TaskState.RUNNING)).attempt == 1
        assert host.seats["wait-1"].agent.tasks_failed == 0


async def _is(found: bool) -> bool:
    return found


async def test_an_attempt_has_a_time_limit_and_a_deadline(bench: Bench) -> None:
    async with bench.host([pool("wait", replicas=2, timeout_s=600)]):
        limited = await bench.submit("test.wait", {"gate": "t"}, timeout_s=0.05)
        late = await bench.submit("test.wait", {"gate": "u"}, deadline_ms=now_ms() + 1500)  # it is claimed before
        view = await bench.ended(limited)
        assert view.failure is not None and view.failure.code == "timed_out" and view.failures == 3
        view = await bench.ended(late)
        assert view.failure is not None and view.failure.code == "deadline_passed" and view.failures == 1


async def test_an_agent_that_ignores_its_stop_is_reported_without_it_and_keeps_its_slot(bench: Bench) -> None:
    async with bench.host([pool("stubborn")]) as host:
        view = await bench.ended(await bench.submit("test.stubborn", {"gate": "s"}, timeout_s=0.05, retry=RetryPolicy(retries=0)))
        assert view.state in {TaskState.DELAYED, TaskState.FAILED}
        assert host.seats["stubborn-1"].running == 1
        sample_agents.release.set()
        await bench.until(lambda: _is(host.seats["stubborn-1"].running == 0))


async def test_blocking_functions_run_in_threads_and_hear_of_a_stop(bench: Bench) -> None:
    sample_agents.begun["hang"] = asyncio.Event()
    async with bench.host([pool("thread", replicas=2)], threads=1) as host:
        view = await bench.ended(await bench.submit("test.thread"))
        assert view.result == {"thread": "agent-1", "here": "agent-1"}
        view = await bench.ended(await bench.submit("test.thread", "hang", timeout_s=0.05, retry=RetryPolicy(retries=0)))
        assert view.failure is not None and view.failure.code == "timed_out"
        await bench.until(lambda: _is("hang" in sample_agents.ended))
        await bench.until(lambda: _is(all(seat.running == 0 for seat in host.seats.values())))
        await bench.until(lambda: _noted(bench, 0.5))


async def _noted(bench: Bench, fraction: float) -> bool:
    entries = await Journal(bench.engine).read(START)
    return any(note.fraction == fraction for entry in entries for note in progress_notes(entry))


async def test_a_suspended_parent_goes_on_on_another_host(bench: Bench) -> None:
    async with bench.host([pool("parent")], "h1"):
        task_id = await bench.submit("test.parent")
        await bench.state(task_id, TaskState.WAITING)
    async with bench.host([pool("parent"), pool("echo")], "h2"):
        view = await bench.ended(task_id)
    assert view.host_id == "h2" and view.attempt == 2
    assert view.result["states"] == ["succeeded", "succeeded"]
    assert view.result["b"]["results"]["a"]["echo"] == 1


async def test_an_agent_may_spawn_inside_a_task_group(bench: Bench) -> None:
    async with bench.host([pool("grouped"), pool("echo")]) as host:
        view = await bench.ended(await bench.submit("test.grouped"))
        assert view.result == "g" and view.attempt == 2
        await bench.until(lambda: _is(host.seats["grouped-1"].running == 0))


async def test_sub_tasks_with_one_key_are_refused(bench: Bench) -> None:
    async with bench.host([pool("twins")]):
        view = await bench.ended(await bench.submit("test.twins"))
    assert view.failure is not None and view.failure.code == "submission_error" and view.failures == 1


async def test_a_sick_agent_gets_no_tasks_until_it_is_well(bench: Bench) -> None:
    choosy = pool("Choosy", name="choosy", capabilities=("test.choosy",))
    async with bench.host([choosy]) as host:
        task_id = await bench.submit("test.choosy")
        await bench.until(lambda: _is(host.seats["choosy-1"].agent.status is AgentStatus.ERROR))

        async def told() -> bool:
            (view,) = await HostRegistry(bench.engine).all()
            return view.figures.troubled == ("choosy-1",)

        await bench.until(told)
        assert (await bench.state(task_id, TaskState.QUEUED)).attempt == 0
        sample_agents.healthy.set()
        assert (await bench.ended(task_id)).result == "worked"
        assert host.seats["choosy-1"].agent.status is AgentStatus.IDLE
    (told_why,) = (line for line in bench.log_lines("h1") if line.get("event") == "agent_unhealthy")
    assert told_why["why"] == "its health check says no"


@pytest.mark.requirement("A11", "M7", "B2")
async def test_an_idle_agent_that_falls_ill_is_found_out_before_its_next_task(bench: Bench) -> None:
    sample_agents.healthy.set()
    healing = HealingSpec(check_every_s=0.05, backoff_s=0.05)
    choosy = pool("Choosy", name="choosy", capabilities=("test.choosy",), healing=healing)
    async with bench.host([choosy]) as host:
        agent_id = "choosy-1"
        assert (await bench.ended(await bench.submit("test.choosy"))).result == "worked"
        sample_agents.healthy.clear()
        await bench.until(lambda: _is(host._health.troubled == {agent_id}))
        task_id = await bench.submit("test.choosy")
        sample_agents.healthy.set()
        assert (await bench.ended(task_id)).attempt == 1, "nobody tried it while the agent was ill"
        await bench.until(lambda: _is(host.seats[agent_id].agent.status is AgentStatus.IDLE))
        sample_agents.healthy.clear()
        await bench.until(lambda: _is(host._health.troubled == {agent_id}))


@pytest.mark.requirement("B2")
async def test_what_agents_tell_of_themselves_is_added_up_by_pool(bench: Bench) -> None:
    counting = pool("Counting", name="counting", capabilities=("test.counting",), replicas=2)
    async with bench.host([counting, pool("echo")]) as host:
        await bench.ended(await bench.submit("test.echo"))
        words = ["a", "bc", "def", "ghij"]
        by = {(await bench.ended(await bench.submit("test.counting", word))).result for word in words}
        assert by <= {"counting-1", "counting-2"}

        async def told() -> bool:
            (view,) = await HostRegistry(bench.engine).all()
            return view.figures.own == {"counting": {"letters": 10.0}}

        await bench.until(told)
        await bench.ended(await bench.submit("test.counting", "K"))
        host._health.figures.look()
        assert host._health.figures.told["counting"].get("letters", 0) < 11, "who tells nonsense tells nothing"
    assert [line["event"] for line in bench.log_lines("h1") if line.get("event") == "agent_mute"] == ["agent_mute"]


async def test_a_drained_host_lets_work_finish(bench: Bench) -> None:
    async with bench.host([pool("stubborn")], drain_s=20.0) as host:
        task_id = await bench.submit("test.stubborn", {"gate": "f"})
        await begun("f")
        (attempt,) = host._pump.running.values()
        host.drain()
        await bench.until(lambda: _is(host.state is HostState.DRAINING))
        sample_agents.release.set()
        attempt.task.cancel()  # its own way to an end: it ignores this and returns
    view = await bench.ended(task_id)
    assert view.state is TaskState.SUCCEEDED and view.result == "late"


async def test_a_drained_host_gives_back_what_does_not_finish(bench: Bench) -> None:
    async with bench.host([pool("wait")], drain_s=0.05):
        task_id = await bench.submit("test.wait", {"gate": "g"})
        await begun("g")
    view = await bench.state(task_id, TaskState.QUEUED)
    assert view.failures == 0
    assert sample_agents.ended == ["g"]


async def test_an_agent_that_blocks_the_loop_is_named_in_the_log(bench: Bench) -> None:
    async with bench.host([pool("block")]):
        task_id = await bench.submit("test.block", 2 * HELD_UP_S)
        await bench.ended(task_id)
    lines = [line for line in bench.log_lines("h1") if line.get("event") == "host_held_up"]  # a slow moment is no agent's
    assert [(line["task_id"], "sample_agents.py" in line["stack"]) for line in lines if line.get("agent_id")] == [(task_id, True)]


async def test_an_agent_that_blocks_the_loop_does_not_lose_the_lease(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    beats, renew = list[bool](), HostRegistry.renew

    async def noted(self: HostRegistry, *given: Any, **named: Any) -> bool:
        held = await renew(self, *given, **named)
        beats.append(held and sample_agents.blocking.is_set())
        return held

    monkeypatch.setattr(HostRegistry, "renew", noted)
    async with bench.host([pool("block")], lease_s=600, beat_every_s=0.1) as host:
        view = await bench.ended(await bench.submit("test.block", 1.0))
        assert (view.state, view.attempt) == (TaskState.SUCCEEDED, 1)
        assert any(beats), "it beats meanwhile"
        assert host.state is HostState.WORKING


async def test_a_lost_lease_stops_everything_and_the_host_goes_on(bench: Bench) -> None:
    async with bench.host([pool("wait")]) as host:
        task_id = await bench.submit("test.wait", {"gate": "l"})
        await begun("l")
        registry = HostRegistry(bench.engine)
        assert await registry.reap(now_ms=now_ms() + 60_000)  # as if the host had been silent for a minute
        await bench.until(lambda: _is("l" in sample_agents.ended))
        view = await bench.state(task_id, TaskState.RUNNING)  # the same host, registered anew
        assert view.attempt == 2
        assert host.seats["wait-1"].agent.tasks_failed == 0


async def test_what_a_predecessor_of_the_same_name_left_is_given_back(bench: Bench) -> None:
    registry = HostRegistry(bench.engine)
    async with bench.host([pool("echo")]):
        pass
    task_id = await bench.submit("test.echo", "again")
    from amas.engine.hosts import HostAbout
    from amas.engine.queue import Slots

    await registry.register("h1", HostAbout(1, "m", "0", ()), lease_s=60)
    claimed = await bench.queue.claim("h1", [Slots(("test.echo",), ["echo-1"])])
    assert claimed and claimed[0].id == task_id
    async with bench.host([pool("echo")]):
        view = await bench.ended(task_id)
    assert view.attempt == 2 and view.result["echo"] == "again"
