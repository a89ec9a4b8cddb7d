"""Outcomes on their way: bounded parcels, in order, and nothing lost when one comes back."""

from amas.agents.outbox import PARCEL_BYTES_MAX, PARCEL_MAX, Outbox
from amas.model.blob import to_blob
from amas.model.task import Completion, FailedAttempt, Failure

ROW = to_blob(None)


def test_a_parcel_that_comes_back_goes_first() -> None:
    outbox = Outbox()
    outbox.complete(Completion("1", 1, ROW))
    outbox.fail(FailedAttempt("2", 1, to_blob(Failure("c", "m")), 0))
    parcel = outbox.take()
    assert not outbox
    outbox.complete(Completion("3", 1, ROW))
    outbox.put_back(parcel)
    assert outbox.task_ids() == {"1", "2", "3"}
    again = outbox.take()
    assert [outcome.id for outcome in again.completions] == ["1", "3"] and [outcome.id for outcome in again.failures] == ["2"]


def test_a_parcel_is_bounded_in_number_and_size() -> None:
    outbox = Outbox()
    for number in range(PARCEL_MAX + 1):
        outbox.complete(Completion(str(number), 1, ROW))
    assert len(outbox.take().completions) == PARCEL_MAX
    assert len(outbox.take().completions) == 1
    large = to_blob("x" * (1 << 20))
    for number in range(20):
        outbox.complete(Completion(str(number), 1, large))
    assert len(outbox.take().completions) == PARCEL_BYTES_MAX // (1 << 20)
    assert len(outbox) == 20 - PARCEL_BYTES_MAX // (1 << 20)
