"""Attempts and their fence: batches refused in part, stale attempts, and answers that got lost and are asked for again."""

import pytest
from tests.engine.cell import WHY, Cell, failed, task

from amas.errors import DependencyUnknown, SubmissionError
from amas.model.blob import to_blob
from amas.model.journal import EntryKind, failed_attempts
from amas.model.task import Completion, FailedAttempt, JournaledStep


@pytest.mark.requirement("T6")
async def test_a_batch_of_completions_is_refused_item_by_item(cell: Cell) -> None:
    await cell.submit(*(task(f"t{n}") for n in range(4)))
    good, old, gone, again = await cell.claim(4)
    await cell.queue.give_back("h1", [(old.id, old.attempt)], now_ms=cell.now)
    await cell.run(old.id, host="h2")
    await cell.cancel(gone.id)
    await cell.complete(again)
    unknown = Completion("nobody", 1, to_blob(1))
    marker = await cell.journal.last_id()
    batch = [Completion(one.id, one.attempt, to_blob(one.id)) for one in (old, good, gone, again)]
    assert await cell.queue.complete("h1", [*batch, unknown], now_ms=cell.now) == {0: "stale", 2: "cancelled", 4: "unknown"}
    assert await cell.states("t0", "t1", "t2", "t3") == {
        good.id: "succeeded",
        old.id: "running",
        gone.id: "cancelled",
        again.id: "succeeded",
    }
    (entry,) = await cell.entries(marker)
    assert (entry.kind, entry.refused) == (EntryKind.COMPLETE, {0, 2, 3, 4})
    assert [change.task_id for change in await cell.changes(good.id, marker)] == [good.id]


async def test_a_batch_that_is_refused_whole_leaves_no_trace(cell: Cell) -> None:
    await cell.submit(task("t"))
    first = await cell.run("t")
    await cell.reap()
    await cell.run("t", host="h2")
    before = await cell.dump()
    assert await cell.complete(first) == {0: "stale"}
    assert await cell.fail(first) == {0: "stale"}
    assert await cell.queue.give_back("h1", [("t", 1)], now_ms=cell.now) == {0: "stale"}
    assert await cell.suspend(first, task("child", parent_id="t")) == "stale"
    assert await cell.queue.journal_steps([JournaledStep("t", 1, "s", to_blob(1))], now_ms=cell.now) == {0: "stale"}
    assert await cell.dump() == before


async def test_a_batch_of_failures_is_refused_item_by_item(cell: Cell) -> None:
    await cell.submit(task("a"), task("b"), task("c", retries=0))
    a, b, c = await cell.claim(3)
    await cell.complete(b)
    marker = await cell.journal.last_id()
    assert await cell.queue.fail("h1", [failed(a), failed(b), failed(c)], now_ms=cell.now) == {1: "stale"}
    assert await cell.states("a", "b", "c") == {"a": "delayed", "b": "succeeded", "c": "failed"}
    (entry,) = await cell.entries(marker)
    assert list(failed_attempts(entry)) == [("a", 1, WHY), ("c", 1, WHY)]


async def test_one_batch_may_name_a_task_twice(cell: Cell) -> None:
    await cell.submit(task("t"))
    attempt = await cell.run("t")
    batch = [Completion("t", 1, to_blob("first")), Completion("t", 1, to_blob("second"))]
    assert await cell.queue.complete("h1", batch, now_ms=cell.now) == {}
    assert (await cell.queue.outcomes(["t"]))["t"].result == "first"
    assert (await cell.queue.totals())["succeeded"] == 1
    assert await cell.fail(attempt) == {0: "stale"}


async def test_what_is_said_again_changes_nothing_and_is_not_refused(cell: Cell) -> None:
    await cell.submit(*(task(name) for name in ("done", "retried", "dead", "back", "split")))
    claimed = {got.id: got for got in await cell.claim(5)}

    async def say() -> list[object]:
        return [
            await cell.complete(claimed["done"]),
            await cell.fail(claimed["retried"]),
            await cell.fail(claimed["dead"], final=True),
            await cell.queue.give_back("h1", [("back", 1)], now_ms=cell.now),
            await cell.suspend(claimed["split"], task("split/1", queue="sub", parent_id="split")),
        ]

    assert await say() == [{}, {}, {}, {}, ""]
    before = await cell.dump()
    assert await say() == [{}, {}, {}, {}, ""]
    assert await cell.dump() == before


async def test_a_failure_said_again_after_the_next_claim_is_stale(cell: Cell) -> None:
    await cell.submit(task("t"))
    first = await cell.run("t")
    await cell.fail(first)
    await cell.promote()
    second = await cell.run("t", host="h2")
    assert (second.attempt, second.failures) == (2, 1)
    assert await cell.fail(first) == {0: "stale"}
    assert (await cell.held("t"))["f"] == "1"


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_the_last_attempt_goes_to_the_dead_letters(cell: Cell, retries: int) -> None:
    await cell.submit(task("t", retries=retries))
    for _ in range(retries):
        assert await cell.fail(await cell.run("t")) == {}
        assert await cell.states("t") == {"t": "delayed"}
        await cell.promote()
    assert await cell.fail(await cell.run("t")) == {}
    outcome = (await cell.queue.outcomes(["t"]))["t"]
    assert (outcome.state, outcome.failure) == ("failed", WHY)
    totals = await cell.queue.totals()
    assert (totals["dead_letters"], totals.get("retried", 0), totals["claimed"]) == (1, retries, retries + 1)


async def test_a_success_after_a_failure_carries_no_failure(cell: Cell) -> None:
    await cell.submit(task("t"))
    await cell.fail(await cell.run("t"))
    assert (await cell.queue.outcomes(["t"]))["t"].failure == WHY
    await cell.promote()
    await cell.complete(await cell.run("t"))
    outcome = (await cell.queue.outcomes(["t"]))["t"]
    assert (outcome.state, outcome.result, outcome.failure) == ("succeeded", "done", None)


async def test_a_backoff_lasts_as_long_as_the_caller_said(cell: Cell) -> None:
    await cell.submit(task("t"))
    await cell.run("t")
    await cell.queue.fail("h1", [FailedAttempt("t", 1, to_blob(WHY), 777)], now_ms=cell.now)
    assert (await cell.changes("t"))[-1].due_ms == cell.now + 777
    assert await cell.queue.promote(now_ms=cell.now + 776) == (0, cell.now + 777)
    assert await cell.queue.promote(now_ms=cell.now + 777) == (1, 0)


async def test_the_first_result_of_a_step_stands_for_later_attempts(cell: Cell) -> None:
    await cell.submit(task("t"))
    await cell.run("t")
    steps = [JournaledStep("t", 1, "fetch", to_blob("one")), JournaledStep("t", 1, "fetch", to_blob("two"))]
    assert await cell.queue.journal_steps([*steps, JournaledStep("x", 1, "fetch", to_blob(0))], now_ms=cell.now) == {2: "unknown"}
    await cell.reap()
    second = await cell.run("t", host="h2")
    assert second.resumed
    assert await cell.queue.steps("t") == {"fetch": bytes(to_blob("one"))[5:]}
    late = [JournaledStep("t", 1, "late", to_blob(0))]
    assert await cell.queue.journal_steps(late, now_ms=cell.now) == {0: "stale"}


async def test_a_host_without_a_lease_gets_nothing(cell: Cell) -> None:
    await cell.submit(task("t"))
    before = await cell.dump()
    assert await cell.queue.claim("stranger", [], now_ms=cell.now) is None
    assert await cell.dump() == before


async def test_a_submission_said_again_finds_its_first(cell: Cell) -> None:
    async def say() -> None:
        await cell.submit(task("a", workflow_id="w"), task("b", workflow_id="w", needs=["a"]), workflow="w", resend=True)

    await say()
    await cell.complete(await cell.run("a"))
    before, told = await cell.counts("w"), await cell.told_states()
    await say()
    assert await cell.counts("w") == before
    assert await cell.told_states() == told == {"a": "succeeded", "b": "queued"}
    await cell.complete(await cell.run("b"))
    assert await cell.workflow_state("w") == "succeeded"
    await say()  # all of it has ended, the workflow too: still an acknowledgement, not a refusal
    assert await cell.told_states() == {"a": "succeeded", "b": "succeeded"}
    assert (await cell.queue.totals())["submitted"] == 2


async def test_a_submission_said_again_may_bring_what_never_arrived(cell: Cell) -> None:
    await cell.submit(task("a"))
    await cell.run("a")
    await cell.submit(task("a"), task("b", needs=["a"]), resend=True)
    assert await cell.states("a", "b") == {"a": "running", "b": "waiting"}
    assert await cell.told_states() == {"a": "running", "b": "waiting"}


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        ([task("a"), task("b", needs=["nobody"])], DependencyUnknown),
        ([task("a"), task("a")], SubmissionError),
        ([task("a"), task("b", workflow_id="unopened")], SubmissionError),
    ],
)
@pytest.mark.parametrize("workflow", ["", "w"])
async def test_a_refused_submission_stores_nothing(
    cell: Cell, batch: list[object], error: type[Exception], workflow: str
) -> None:
    with pytest.raises(error):
        await cell.submit(*batch, workflow=workflow)
    assert await cell.keys() == set()


async def test_an_ended_workflow_takes_no_tasks(cell: Cell) -> None:
    await cell.submit(task("a", workflow_id="w"), workflow="w")
    await cell.complete(await cell.run("a"))
    with pytest.raises(SubmissionError, match="'w' has ended"):
        await cell.submit(task("b", workflow_id="w"))


async def test_a_claim_with_no_work_writes_nothing(cell: Cell) -> None:
    await cell.host()
    before = await cell.dump()
    assert await cell.claim(3) == []
    assert await cell.dump() == before
