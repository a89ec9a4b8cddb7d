"""A timer without a delay stands for its needs: it ends in the instant in which enough of them have."""

from tests.engine.cell import Cell, task


async def gate(cell: Cell, quorum: int) -> None:
    """Store three tasks, a gate for so many of them, and one behind it."""
    needs = ["a", "b", "c"]
    await cell.submit(
        *(task(need) for need in needs),
        task("gate", kind="timer", needs=needs, quorum=quorum),
        task("after", needs=["gate"]),
    )


async def test_a_gate_opens_when_enough_have_succeeded(cell: Cell) -> None:
    await gate(cell, 2)
    a, b, _ = await cell.claim(3)
    await cell.complete(a)
    assert (await cell.states("gate", "after")) == {"gate": "waiting", "after": "waiting"}
    await cell.complete(b)
    assert (await cell.states("gate", "after")) == {"gate": "succeeded", "after": "queued"}
    assert (await cell.told_states())["gate"] == "succeeded"


async def test_a_gate_fails_when_too_few_can_succeed(cell: Cell) -> None:
    await gate(cell, 2)
    a, b, _ = await cell.claim(3)
    await cell.fail(a, final=True)
    assert (await cell.states("gate"))["gate"] == "waiting"
    await cell.fail(b, final=True)
    assert (await cell.states("gate", "after")) == {"gate": "failed", "after": "failed"}
