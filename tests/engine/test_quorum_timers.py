"""A timer without a delay stands for its needs: it ends in the instant in which enough of them have."""

from tests.engine.cell import Cell, task


async def store(cell: Cell, quorum: int) -> None:
    """Store three tasks, a timer for so many of them, and one behind it."""
    needs = ["a", "b", "c"]
    await cell.submit(
        *(task(need) for need in needs),
        task("timer", kind="timer", needs=needs, quorum=quorum),
        task("after", needs=["timer"]),
    )


async def test_it_ends_when_enough_have_succeeded(cell: Cell) -> None:
    await store(cell, 2)
    a, b, _ = await cell.claim(3)
    await cell.complete(a)
    assert (await cell.states("timer", "after")) == {"timer": "waiting", "after": "waiting"}
    await cell.complete(b)
    assert (await cell.states("timer", "after")) == {"timer": "succeeded", "after": "queued"}
    assert (await cell.told_states())["timer"] == "succeeded"


async def test_it_fails_when_too_few_can_succeed(cell: Cell) -> None:
    await store(cell, 2)
    a, b, _ = await cell.claim(3)
    await cell.fail(a, final=True)
    assert (await cell.states("timer"))["timer"] == "waiting"
    await cell.fail(b, final=True)
    assert (await cell.states("timer", "after")) == {"timer": "failed", "after": "failed"}
