"""Admission: so many workflows at a time, the others in turn, none refused and none lost."""

import os
import signal
from pathlib import Path

import pytest
from tests.engine.cell import Cell, task

from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.model.blob import to_blob
from amas.model.journal import WorkflowOpening
from amas.model.states import WorkflowState

pytestmark = pytest.mark.requirement("A4")

AT_A_TIME = 3


async def submit(cell: Cell, name: str, *, at_a_time: int = AT_A_TIME, tenant: str = "", resend: bool = False) -> None:
    """Submit the workflow `name` with its one root task `name-root`."""
    root = task(f"{name}-root", workflow_id=name, tenant=tenant)
    opening = WorkflowOpening(name, to_blob(None), f"{name}-root", None, at_a_time)
    await cell.queue.submit([root], workflow=opening, resend=resend, now_ms=cell.now)


async def states(cell: Cell, *names: str) -> list[str]:
    return [await cell.workflow_state(name) for name in names]


async def let_in(cell: Cell) -> list[str]:
    """Return whose root task a host with room for all of them gets."""
    return [got.id.removesuffix("-root") for got in await cell.claim(50)]


async def end(cell: Cell, name: str) -> None:
    assert await cell.queue.end_workflow(name, WorkflowState.CANCELLED, now_ms=cell.now)


async def test_never_more_than_so_many_are_open_and_all_get_their_turn_in_order(cell: Cell) -> None:
    names = [f"w{n}" for n in range(10)]
    for name in names:
        await submit(cell, name)
    assert await states(cell, *names) == ["running"] * AT_A_TIME + ["waiting"] * 7
    ended: list[str] = []
    running = await cell.claim(50)
    while running:
        assert len(running) <= AT_A_TIME
        first, *running = running
        assert await cell.complete(first) == {}
        ended.append(first.id.removesuffix("-root"))
        running += await cell.claim(50)
    assert ended == names
    assert set(await states(cell, *names)) == {"succeeded"}
    assert {name for name in await cell.keys() if name.startswith(("lobby", "admitted", "held", "wp:"))} == {"lobby:turns"}


async def test_one_that_waited_is_told_of_and_one_that_didnt_is_not(cell: Cell) -> None:
    await submit(cell, "w0", at_a_time=1)
    await submit(cell, "w1", at_a_time=1)
    await end(cell, "w0")
    told = [(news.workflow_id, news.state.value) for entry in await cell.entries() for news in entry.workflows]
    assert told == [("w1", "waiting"), ("w0", "cancelled"), ("w1", "running")]


async def test_tenants_take_turns_and_each_ones_go_in_order(cell: Cell) -> None:
    await submit(cell, "open", at_a_time=1)
    for n in range(4):
        await submit(cell, f"many-{n}", at_a_time=1, tenant="many")
    await submit(cell, "few-0", at_a_time=1, tenant="few")
    order, last = [], "open"
    assert await let_in(cell) == [last]
    for _ in range(5):
        await end(cell, last)
        (last,) = await let_in(cell)
        order.append(last)
    assert order == ["many-0", "few-0", "many-1", "many-2", "many-3"]


async def test_one_that_is_ended_while_it_waits_takes_nobodys_turn(cell: Cell) -> None:
    for n in range(4):
        await submit(cell, f"w{n}", at_a_time=1)
    await end(cell, "w1")
    await cell.cancel("w2-root")
    assert await states(cell, "w1", "w2", "w3") == ["cancelled", "cancelled", "waiting"]
    assert await let_in(cell) == ["w0"]
    await end(cell, "w0")
    assert await let_in(cell) == ["w3"]


async def test_pausing_and_resuming_gets_nobody_in(cell: Cell) -> None:
    for n in range(2):
        await submit(cell, f"w{n}", at_a_time=1)
    assert await cell.workflows.pause("w1", now_ms=cell.now)
    assert await cell.workflows.resume("w1", now_ms=cell.now)
    assert await cell.workflow_state("w1") == "waiting"
    assert await let_in(cell) == ["w0"]
    assert await cell.workflows.pause("w1", now_ms=cell.now)
    await end(cell, "w0")
    assert await let_in(cell) == []  # it is its turn, and it is paused
    assert await cell.workflows.resume("w1", now_ms=cell.now)
    assert await let_in(cell) == ["w1"]


async def test_a_higher_limit_holds_from_when_it_is_said_and_a_lower_one_stops_nobody(cell: Cell) -> None:
    for n in range(3):
        await submit(cell, f"w{n}", at_a_time=1)
    await submit(cell, "w3", at_a_time=3)
    assert await states(cell, "w0", "w1", "w2", "w3") == ["running", "running", "running", "waiting"]
    await submit(cell, "w4", at_a_time=1)
    await end(cell, "w0")
    await end(cell, "w1")
    assert await states(cell, "w2", "w3", "w4") == ["running", "waiting", "waiting"]
    await end(cell, "w2")
    assert await states(cell, "w3", "w4") == ["running", "waiting"]


async def test_said_again_it_has_the_place_that_it_had(cell: Cell) -> None:
    for n in (0, 1, 2, 1, 0):
        await submit(cell, f"w{n}", at_a_time=1, resend=True)
    assert (await cell.queue.totals())["waiting_workflows"] == 2
    await let_in(cell)
    await end(cell, "w0")
    assert await let_in(cell) == ["w1"]


async def test_one_that_is_opened_again_goes_on_and_counts(cell: Cell) -> None:
    await submit(cell, "w0", at_a_time=1)
    assert await let_in(cell) == ["w0"]
    await end(cell, "w0")
    await cell.workflows.rerun("w0", "w0-root", now_ms=cell.now)
    await submit(cell, "w1", at_a_time=1)
    assert await states(cell, "w0", "w1") == ["running", "waiting"]
    assert await let_in(cell) == ["w0"]


async def test_what_has_no_limit_neither_waits_nor_counts(cell: Cell) -> None:
    await submit(cell, "w0", at_a_time=1)
    await cell.submit(task("free", workflow_id="v"), workflow="v")
    assert await states(cell, "w0", "v") == ["running", "running"]
    assert set(await let_in(cell)) == {"w0", "free"}


async def test_an_engine_that_is_killed_loses_nobodys_turn(tmp_path: Path) -> None:
    server = EmbeddedEngine(tmp_path)
    await server.start()
    try:
        async with Engine(server.url) as engine:
            await engine.wait_until_ready(timeout_s=60, load=True)
            cell = Cell(engine)
            for n in range(5):
                await submit(cell, f"w{n}")
            await end(cell, "w0")
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await server.stop()
        await server.start()
        async with Engine(server.url) as engine:
            await engine.wait_until_ready(timeout_s=60, load=True)
            cell = Cell(engine)
            for n in range(5, 10):
                await submit(cell, f"w{n}")
            order, running = ["w0"], await cell.claim(50)
            while running:
                assert len(running) <= AT_A_TIME
                assert await cell.complete(running[0]) == {}
                order.append(running[0].id.removesuffix("-root"))
                running = [*running[1:], *await cell.claim(50)]
            assert order == [f"w{n}" for n in range(10)]
    finally:
        await server.stop()
