"""The look at all that figures need is what the single looks say, and the desired state in it is never an old one."""

from tests.engine.cell import Cell, task

from amas.engine.bounds import QueueBounds
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.engine.figures import FiguresLook
from amas.engine.journal import START, Journal


async def test_one_call_says_what_the_single_looks_do(engine: Engine, cell: Cell) -> None:
    await cell.host()
    await QueueBounds(engine).set({"work": 10})
    await cell.submit(task("a"), task("b"), task("c", queue="other"))
    await cell.complete(await cell.run("a"))
    found, _ = await FiguresLook(engine).read(START)
    totals = await cell.queue.totals()
    there = {
        "open_workflows": found.workflows_open,
        "waiting_workflows": found.workflows_waiting,
        "delayed": found.delayed,
        "dead_letters": found.dead_letters,
    }
    assert {**found.totals, **there} == totals and found.totals["succeeded"] == 1
    assert found.queued == {"other": 1, "work": 1} and (await cell.queue.depths()).items() >= found.queued.items()
    assert found.bounds == {"work": 10}
    (first, *_), journal = await cell.entries(), Journal(engine)
    assert found.unrecorded_ms == first.at_ms
    last = await journal.last_id()
    assert (await FiguresLook(engine).read(last))[0].unrecorded_ms == 0
    assert (await FiguresLook(engine).read())[0].unrecorded_ms == 0


async def test_the_desired_state_is_the_one_that_stands(engine: Engine) -> None:
    look, desired = FiguresLook(engine), DesiredState(engine)
    assert (await look.read())[1] == await desired.read()
    for stage in (1, 2):
        await desired.change([Wish("stage", stage)], by="ada")
        assert (await look.read())[1] == await desired.read()
        assert (await look.read())[1].stage == stage
    await engine.client.delete(engine.key("desired"))  # as in an engine that was lost
    assert (await look.read())[1] == await desired.read()
