"""What a claim that finds nothing costs the engine: on a fleet that is half busy most claims do."""

from tests.engine.cell import Cell, task

from amas.engine.workflows import SLICE
from amas.model.states import WorkflowState

SEVERAL = ("work", "@pool", "more")


async def commands(cell: Cell) -> dict[str, int]:
    """Return how often each command ran so far in the engine, by name."""
    found = await cell.engine.client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(of["calls"]) for name, of in found.items()}


async def test_an_empty_claim_looks_once_for_all_that_is_seldom_there(cell: Cell) -> None:
    await cell.host()
    assert await cell.claim(3, queues=SEVERAL) == []
    before = await commands(cell)
    assert await cell.claim(3, queues=SEVERAL) == []
    ran = {name: count - before.get(name, 0) for name, count in (await commands(cell)).items()}
    assert {name: count for name, count in ran.items() if count and name != "info"} == {
        "fcall": 1,
        "zscore": 1,  # the host's lease
        "exists": 1,  # a pause, a kill, a task with wishes, a limit, a chore
        "hget": 1,  # routes
        "zrange": len(SEVERAL),  # its queues
    }


async def test_a_claim_that_finds_nothing_still_goes_on_with_what_is_left_to_do(cell: Cell) -> None:
    """Chores are among what it looks for."""
    await cell.submit(*(task(f"t{n}", workflow_id="w") for n in range(3 * SLICE)), workflow="w")
    await cell.host()
    await cell.queue.end_workflow("w", WorkflowState.CANCELLED, now_ms=cell.now)
    assert "chores" in await cell.keys()
    for _ in range(9):
        assert await cell.claim(3) == []
    assert "chores" not in await cell.keys()
