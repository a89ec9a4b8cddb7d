"""Tasks that need only so many of their needs."""

import pytest
from tests.engine.cell import Cell, task

NEEDS = ["a", "b", "c"]


async def waiting(cell: Cell, quorum: int, **options: object) -> None:
    await cell.submit(*(task(name, queue=name, **options) for name in NEEDS), task("t", needs=NEEDS, quorum=quorum))


async def end(cell: Cell, name: str, *, well: bool) -> None:
    (got,) = await cell.claim(queues=[name])
    await (cell.complete(got) if well else cell.fail(got, final=True))


@pytest.mark.parametrize(
    ("quorum", "endings", "state"),
    [
        (1, "a+", "queued"),
        (1, "a- b-", "waiting"),
        (1, "a- b- c+", "queued"),
        (1, "a- b- c-", "failed"),
        (2, "a+", "waiting"),
        (2, "a+ b-", "waiting"),
        (2, "a+ b- c+", "queued"),
        (2, "a- b-", "failed"),
        (3, "a+ b+ c+", "queued"),
        (3, "b-", "failed"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_quorum_decides_as_soon_as_it_can(cell: Cell, quorum: int, endings: str, state: str, when: str) -> None:
    if when == "after":
        await waiting(cell, quorum)
    else:
        await cell.submit(*(task(name, queue=name) for name in NEEDS))
    for name, sign in endings.split():
        await end(cell, name, well=sign == "+")
    if when == "before":
        await cell.submit(task("t", needs=NEEDS, quorum=quorum))
    assert await cell.states("t") == {"t": state}
    assert (await cell.told_states())["t"] == state
    rest = [name for name in NEEDS if name not in endings]
    assert set((await cell.states(*rest)).values()) <= {"queued"}  # they go on
    if state == "failed":
        failure = (await cell.queue.outcomes(["t"]))["t"].failure
        assert failure is not None and failure.code == "dependency_failed"


async def test_a_failure_that_may_be_skipped_is_no_success(cell: Cell) -> None:
    await waiting(cell, 3, on_failure="skip")
    await end(cell, "a", well=False)
    assert await cell.states("t") == {"t": "failed"}


async def test_needs_that_end_later_change_nothing(cell: Cell) -> None:
    await waiting(cell, 1)
    await end(cell, "a", well=True)
    await cell.suspend(await cell.run("t"), task("child", queue="child", parent_id="t"))
    await end(cell, "b", well=True)
    await end(cell, "c", well=False)
    assert await cell.states("t") == {"t": "waiting"}  # for its child, and no longer for these
    await end(cell, "child", well=True)
    assert (await cell.run("t")).attempt == 2
    assert not [name for name in await cell.keys() if name.startswith("d:")]
