"""Two calls of a host under way at a time: neither waits for the other, and what runs is judged when all answers are there."""

import asyncio

import sample_agents
from host_bench import Bench, pool

from amas.agents.host import Host
from amas.clock import SERVER_CLOCK
from amas.engine.queue import Exchange, Exchanged, TaskQueue
from amas.model.states import TaskState


class HeldClaims(TaskQueue):
    """A host's own queue, whose next claim has been carried out and whose answer stays away until the test lets it come."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.engine)
        self.held, self.let_go = asyncio.Event(), asyncio.Event()

    async def exchange(self, host_id: str, said: Exchange, *, now_ms: int = SERVER_CLOCK) -> Exchanged:
        """Exchange, and keep the answer where tasks came with it."""
        answer = await super().exchange(host_id, said, now_ms=now_ms)
        if answer.claimed and not self.let_go.is_set():
            self.held.set()
            await self.let_go.wait()
        return answer


async def hold_the_next_claim(bench: Bench, host: Host) -> tuple[HeldClaims, str]:
    """Return the queue and a task that the engine has handed to the host, which doesn't know."""
    pump, queue = host._pump, HeldClaims(bench)

    async def sound() -> bool:  # it hears the bells, and has compared what runs with the engine for the first time
        return all(pool.rings for pool in pump._slots._pool_of.values()) and not (pump._in_doubt or pump._under_way)

    await bench.until(sound)
    pump._services = pump._services._replace(queue=queue)
    task_id = await bench.submit("test.echo", "handed out")
    async with asyncio.timeout(60):
        await queue.held.wait()
    return queue, task_id


async def test_an_outcome_goes_home_while_a_claim_is_under_way(bench: Bench) -> None:
    async with bench.host([pool("hold"), pool("echo")]) as host:
        long = await bench.submit("test.hold", "long")
        await sample_agents.begun.setdefault("long", asyncio.Event()).wait()
        queue, handed = await hold_the_next_claim(bench, host)
        sample_agents.release.set()
        assert (await bench.ended(long)).result == "held"
        assert not queue.let_go.is_set() and handed not in host._pump.running
        queue.let_go.set()
        assert (await bench.ended(handed)).attempt == 1


async def test_work_that_comes_while_a_claim_is_under_way_is_claimed_beside_it(bench: Bench) -> None:
    async with bench.host([pool("echo", replicas=2)], claim_batch=1) as host:
        queue, handed = await hold_the_next_claim(bench, host)
        second = await bench.submit("test.echo", "rings again")
        await bench.state(second, TaskState.RUNNING)  # its answer is held, too
        queue.let_go.set()
        assert {(await bench.ended(task_id)).attempt for task_id in (handed, second)} == {1}


async def test_what_is_handed_out_is_not_given_back_while_its_answer_is_under_way(bench: Bench) -> None:
    async with bench.host([pool("echo")]) as host:
        queue, handed = await hold_the_next_claim(bench, host)
        host._pump.listening()
        assert not await host._pump.run_once()
        view = await bench.queue.task(handed)
        assert view is not None and view.state is TaskState.RUNNING
        queue.let_go.set()
        assert (await bench.ended(handed)).attempt == 1
