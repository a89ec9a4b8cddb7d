"""Outcomes on their way to the engine. What is here is done work: it leaves only when the engine has answered.

No I/O of its own: the host's pump takes a parcel, sends it with its next claim, and puts it back when the engine didn't answer.
Sending twice is harmless, since the fence knows the attempt.
"""

from typing import NamedTuple

from amas.model.blob import blob_bytes
from amas.model.task import Completion, FailedAttempt

PARCEL_MAX = 512
"""Outcomes in one call: enough to spread its cost, few enough that the engine isn't held up for others."""
PARCEL_BYTES_MAX = 8 << 20
"""A result may have 64 KiB; a parcel of such goes out in several calls."""


class Parcel(NamedTuple):
    """What goes out in one call."""

    completions: list[Completion]
    failures: list[FailedAttempt]


class Outbox:
    """Outcomes by the order in which they came."""

    def __init__(self) -> None:
        self._completions: list[Completion] = []
        self._failures: list[FailedAttempt] = []

    def __len__(self) -> int:
        return len(self._completions) + len(self._failures)

    def complete(self, outcome: Completion) -> None:
        """Take a result."""
        self._completions.append(outcome)

    def fail(self, outcome: FailedAttempt) -> None:
        """Take a failure."""
        self._failures.append(outcome)

    def take(self) -> Parcel:
        """Take out what goes next; empty when there is nothing."""
        count = size = 0
        for outcome in self._completions[:PARCEL_MAX]:
            count += 1
            size += blob_bytes(outcome.result)
            if size > PARCEL_BYTES_MAX:
                break
        parcel = Parcel(self._completions[:count], self._failures[:PARCEL_MAX])
        del self._completions[:count], self._failures[:PARCEL_MAX]
        return parcel

    def put_back(self, parcel: Parcel) -> None:
        """Take back what the engine didn't acknowledge, to go first the next time."""
        self._completions[:0] = parcel.completions
        self._failures[:0] = parcel.failures

    def task_ids(self) -> set[str]:
        """Return the tasks whose outcome is still here."""
        return {outcome.id for outcome in self._completions} | {outcome.id for outcome in self._failures}
