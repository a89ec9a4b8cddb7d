"""A host's agents come and go while it works: nothing is lost, nothing fails, and code that runs ends with what it began with."""

import asyncio
from collections import Counter

import mail_agents
import sample_agents
from host_bench import Bench, pool

from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostFigures, HostRegistry
from amas.messages.fleet_bus import fleet_bus
from amas.model.blob import to_blob
from amas.model.desired import Seats
from amas.model.fleet import FleetSpec
from amas.model.gate import GateSpec
from amas.model.healing import Quarantine
from amas.model.message import MessageType
from amas.model.states import Layer, TaskState
from amas.model.task import Completion
from amas.settings import MessageSettings

ECHO, WAIT, STUBBORN = pool("echo"), pool("wait"), pool("stubborn")
SECRET = MessageSettings(secret="a-secret-of-the-fleet", claim_s=0.3, retries=2)


def seats(**numbers: int) -> list[Seats]:
    """Return seats for so many agents of each pool."""
    return [Seats(name, ((1, count),)) for name, count in numbers.items()]


async def begun(gate: str) -> None:
    event = sample_agents.begun.setdefault(gate, asyncio.Event())
    async with asyncio.timeout(60):
        await event.wait()


async def told(bench: Bench) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return what the engine knows of the one host's agents."""
    (view,) = await HostRegistry(bench.engine).all()
    return {card.pool: card.numbers for card in view.about.pools}


async def test_a_host_without_agents_takes_what_it_is_given_and_gives_it_up_again(bench: Bench) -> None:
    async with bench.host([]) as host:
        assert await told(bench) == {}
        task_id = await bench.submit("test.echo", 1)
        await host.reseat([ECHO, WAIT], seats(echo=3), revision=7)
        assert (await bench.ended(task_id)).state is TaskState.SUCCEEDED
        assert await told(bench) == {"echo": ((1, 3),)}
        (view,) = await HostRegistry(bench.engine).all()
        assert view.about.revision == 7
        await host.reseat([ECHO, WAIT], [Seats("echo", ((2, 2), (9, 9)))], revision=8)
        agents = Counter([(await bench.ended(await bench.submit("test.echo", n))).agent_id for n in range(8)])
        assert set(agents) == {"echo-2", "echo-9"}
        await host.reseat([], [], revision=9)
        assert await told(bench) == {}
        left = await bench.submit("test.echo", 2)
        await asyncio.sleep(0)
        assert (await bench.state(left, TaskState.QUEUED)).attempt == 0
        assert host.seats == {}


async def test_an_agent_that_goes_finishes_what_it_runs_and_takes_no_more(bench: Bench) -> None:
    async with bench.host([STUBBORN, ECHO], numbers={"stubborn": [1]}) as host:
        task_id = await bench.submit("test.stubborn", {"gate": "go"})
        await begun("go")
        (attempt,) = host._pump.running.values()
        await host.reseat([STUBBORN, ECHO], seats(echo=1))
        assert await told(bench) == {"echo": ((1, 1),)}
        other = await bench.submit("test.stubborn", {"gate": "never"})
        assert (await bench.ended(await bench.submit("test.echo"))).agent_id == "echo-1"
        sample_agents.release.set()
        attempt.task.cancel()  # its own way to an end: it ignores this and returns
        assert (await bench.ended(task_id)).result == "late"
        assert (await bench.state(other, TaskState.QUEUED)).attempt == 0
        assert "stubborn-1" not in host.seats
        await host.reseat([STUBBORN], seats(stubborn=1))
        await begun("never")


async def test_an_agent_whose_pool_changed_is_made_anew_when_its_attempt_has_ended(bench: Bench) -> None:
    old = pool("stubborn", capabilities=("test.stubborn",), version="1")
    new = pool("stubborn", agent="sample_agents:echo", capabilities=("test.echo",), version="2", tasks_per_agent=2)
    async with bench.host([old], numbers={"stubborn": [1]}) as host:
        first = await bench.submit("test.stubborn", {"gate": "old"})
        await begun("old")
        (attempt,) = host._pump.running.values()
        waiting = await bench.submit("test.echo", "new")
        await host.reseat([new], seats(stubborn=2))
        view = await bench.ended(waiting)
        assert (view.agent_id, view.result["echo"]) == ("stubborn-2", "new")  # which had nothing to wait for
        assert "stubborn-1" not in {one.agent_id async for one in _several(bench, 8)}
        sample_agents.release.set()
        attempt.task.cancel()
        assert (await bench.ended(first)).result == "late"
        seen = {one.agent_id async for one in _several(bench, 8)}
        assert seen == {"stubborn-1", "stubborn-2"}
        (card,) = (await HostRegistry(bench.engine).all())[0].about.pools
        assert (card.version, card.slots) == ("2", 2)


async def _several(bench: Bench, count: int):
    ids = [await bench.submit("test.echo", n) for n in range(count)]
    for task_id in ids:
        yield await bench.ended(task_id)


async def test_no_task_is_lost_or_fails_while_agents_come_and_go_all_the_time(bench: Bench) -> None:
    pools = [pool("echo", version=str(n % 2), tasks_per_agent=1 + n % 3) for n in range(6)]
    async with bench.host([], claim_batch=7) as host:
        ids = []
        for n, each in enumerate(pools):
            ids += [await bench.submit("test.echo", {"round": n, "task": m}) for m in range(30)]
            await host.reseat([each, WAIT], [Seats("echo", ((1 + n, 4 + n), (20, 20 + n)))], revision=n + 1)
        for task_id in ids:
            view = await bench.ended(task_id)
            assert (view.state, view.attempt) == (TaskState.SUCCEEDED, 1)
        assert await told(bench) == {"echo": ((6, 9), (20, 25))}

        async def beat() -> HostFigures | None:
            (view,) = await HostRegistry(bench.engine).all()
            return view.figures if view.figures.succeeded else None

        figures = await bench.until(beat)
        assert set(figures.succeeded) == {"echo"} and not figures.failed


async def test_one_agent_is_restarted_and_its_task_is_done_by_whoever_is_free(bench: Bench) -> None:
    async with bench.host([WAIT], numbers={"wait": [1, 2]}) as host:
        tasks = {gate: await bench.submit("test.wait", {"gate": gate}) for gate in ("restart/a", "restart/b")}
        for gate in tasks:
            await begun(gate)
        agents = {gate: (await bench.state(task_id, TaskState.RUNNING)).agent_id for gate, task_id in tasks.items()}
        objects = {gate: host.seats[agent_id].agent for gate, agent_id in agents.items()}
        sample_agents.begun["restart/a"].clear()
        asked = {agents["restart/a"]: bench.engine.now_ms() + 1}
        for _ in range(2):  # what was carried out isn't again
            await host.reseat([WAIT], seats(wait=2), restarts=asked)
            await begun("restart/a")
        view = await bench.state(tasks["restart/a"], TaskState.RUNNING)
        assert (view.attempt, view.failures) == (2, 0)
        assert sample_agents.ended.count("restart/a") == 1 and "restart/b" not in sample_agents.ended
        assert host.seats[agents["restart/a"]].agent is not objects["restart/a"]
        assert host.seats[agents["restart/b"]].agent is objects["restart/b"]
        late = await bench.queue.complete("h1", [Completion(tasks["restart/a"], 1, to_blob("late"))])
        assert late == {0: "stale"}


async def test_nothing_is_lost_or_fails_while_agents_are_restarted_all_the_time(bench: Bench) -> None:
    hold = pool("hold")
    async with bench.host([hold], numbers={"hold": [1, 2, 3]}, claim_batch=2) as host:
        ids = [await bench.submit("test.hold", f"held/{n}") for n in range(6)]
        restarts: dict[str, int] = {}

        async def at_work() -> bool:
            return bool(host._pump.running)

        for n in range(12):
            await bench.until(at_work)
            restarts[f"hold-{1 + n % 3}"] = bench.engine.now_ms() + n + 1
            await host.reseat([hold], seats(hold=3), restarts=dict(restarts))
        sample_agents.release.set()
        views = [await bench.ended(task_id) for task_id in ids]
    assert [(view.state, view.failures) for view in views] == [(TaskState.SUCCEEDED, 0)] * 6
    assert sum(view.attempt for view in views) > 6, "some were given back"


async def test_a_pool_that_can_not_be_imported_keeps_the_agents_that_it_has(bench: Bench) -> None:
    async with bench.host([ECHO]) as host:
        await host.reseat([pool("echo", agent="nowhere:echo"), WAIT], seats(echo=2, wait=1))
        assert (await bench.ended(await bench.submit("test.echo"))).agent_id == "echo-1"
        assert await told(bench) == {"echo": ((1, 1),), "wait": ((1, 1),)}
    (line,) = [line for line in bench.log_lines("h1") if line.get("event") == "pool_unmade"]
    assert line["pool"] == "echo" and "nowhere" in line["why"]


async def test_an_agent_that_can_not_be_made_fails_its_task_and_not_its_host(bench: Bench) -> None:
    async with bench.host([pool("Unmakeable", name="unmakeable", capabilities=("test.unmakeable",)), ECHO]) as host:
        view = await bench.ended(await bench.submit("test.unmakeable"))
        assert view.failure is not None
        assert (view.failure.code, view.failure.message) == (
            "agent_unmade",
            "the agent can't be made: ValueError: no such server",
        )
        assert (await bench.ended(await bench.submit("test.echo"))).state is TaskState.SUCCEEDED
        assert "unmakeable-1" not in host.seats


async def test_a_new_agent_is_asked_how_it_is_before_its_first_task(bench: Bench) -> None:
    choosy = pool("Choosy", name="choosy", capabilities=("test.choosy",))
    async with bench.host([]) as host:
        task_id = await bench.submit("test.choosy")
        await host.reseat([choosy], seats(choosy=3))

        async def troubled() -> bool:
            (view,) = await HostRegistry(bench.engine).all()
            return view.figures.troubled == ("choosy-1", "choosy-2", "choosy-3")

        await bench.until(troubled)
        await host.reseat([choosy], seats(choosy=1))
        assert host._health.troubled == {"choosy-1"}
        assert (await bench.state(task_id, TaskState.QUEUED)).attempt == 0
        sample_agents.healthy.set()
        assert (await bench.ended(task_id)).agent_id == "choosy-1"


async def test_mail_goes_with_its_agent(bench: Bench) -> None:
    chief = pool("chief", agent="mail_agents:read", capabilities=("mail.read",), layer=Layer.EXECUTIVE)
    noter = pool("noter", agent="mail_agents:noter", capabilities=("mail.noter",), lead="chief")
    spec = FleetSpec(name="talk", pools=(chief, noter))
    bench.bus = lambda engine, agents: fleet_bus(engine, spec, SECRET, agents=agents)
    bus = fleet_bus(bench.engine, spec, SECRET)

    async def write(text: str) -> None:
        await bus.send_message(sender_id="chief-1", recipient_id="noter-1", message_type=MessageType.SHARE_CONTEXT, payload=text)

    async def noted(text: str) -> bool:
        return ("noter-1", text) in mail_agents.noted

    async with bench.host([], "h1") as one, bench.host([], "h2") as two:
        await one.reseat(spec.pools, seats(noter=1))
        await write("first")
        await bench.until(lambda: noted("first"))
        await one.reseat(spec.pools, [])
        await write("second")  # waits in its inbox
        assert not await noted("second")
        await two.reseat(spec.pools, seats(noter=1, chief=1))
        await bench.until(lambda: noted("second"))


async def test_the_hierarchy_and_the_gate_follow(bench: Bench) -> None:
    chief = pool("echo", name="chief", capabilities=("test.echo",), layer=Layer.EXECUTIVE)
    async with bench.host([]) as host:
        await host.reseat([chief, pool("wait", lead="chief")], seats(chief=1))
        assert set(host._services.hierarchy.members) == {"chief", "wait"}
        flow = host._flow
        await host.reseat([chief], seats(chief=1), gate=GateSpec(threshold=0.5))
        assert set(host._services.hierarchy.members) == {"chief"}
        assert host._flow is not flow and host._flow.pool.options["gate"]["threshold"] == 0.5
        assert await told(bench) == {"chief": ((1, 1),)}


async def test_a_host_whose_lease_is_gone_says_what_it_has_when_it_registers(bench: Bench) -> None:
    async with bench.host([]) as host:
        await HostRegistry(bench.engine).leave("h1")
        await host.reseat([ECHO], seats(echo=2), revision=3)

        async def known() -> bool:
            views = await HostRegistry(bench.engine).all()
            return [(view.about.agents, view.about.revision) for view in views] == [(2, 3)]

        await bench.until(known)
        assert (await bench.ended(await bench.submit("test.echo"))).state is TaskState.SUCCEEDED


async def test_an_agent_in_quarantine_gets_no_task_when_it_comes_to_another_host(bench: Bench) -> None:
    held = Quarantine(by="host h9", why="it crashed 2 times", at_ms=bench.engine.now_ms())
    wish = Wish("quarantine:echo-1", held)
    revision = await DesiredState(bench.engine).change([wish], by="host h9")
    async with bench.host([]) as host:
        ids = [await bench.submit("test.echo", n) for n in range(6)]
        await host.reseat([ECHO], seats(echo=2), revision=revision, quarantines={"echo-1": held})
        assert {(await bench.ended(task_id)).agent_id for task_id in ids} == {"echo-2"}
        assert set(host._healer.quarantined) == {"echo-1"}
