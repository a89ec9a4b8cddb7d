"""How tasks ended, kept as sums by ten minutes and day, and by second: what `analytics.py` and `report.py` read instead of tasks.

A task counts as a whole, from the moment when it has ended: under its end in an `Outcome` of its capability, layer and pool, and
in the seconds in which it was accepted, waited, was worked on and ended. A task that goes on after its end is taken back, and
counts again with its next one. So every number is a sum over the tasks that ended, and each way to come to it gives the same:
task by task as the recorder writes them, or from the rows, as for what the sums don't reach back to (`recorder.summed_from_ms`).

How long tasks took is kept as counts by `bucket_of`, whose buckets are at most a thirty-second of what they hold wide, and exact
below 64 ms. How many tasks waited or were worked on in a second is kept as what changes from second to second. Since all that
began has ended, a second's number follows from the changes after it, and nothing from before a window is needed for it.

Called by `writing.py`, `packed.py`, `store.py` and the two readers. It must never read a clock.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from amas.records.ended import FOREVER_MS
from amas.records.fold import Batch, Known
from amas.records.sums import DAY_MS, pool_of
from amas.records.tables import attempts, tasks

FINE_MS = 600_000
"""What is left at the end of a window is read from the rows: at most of so long."""
SPANS_MS = (FINE_MS, DAY_MS)
MINUTE_S = 60
ACCEPTED, WORKED, ASKED, SUCCEEDED, FAILED = range(5)
"""What a second is told about: `WORKED` and `ASKED` are changes, the others counts."""
MEASURES = 5
AT_ONCE = 5000
"""Rows that are held at a time."""

_MINUTE = struct.Struct(f"<{MINUTE_S * MEASURES}i")
_EXACT_BITS = 6

Key = tuple[int, int, str, str, str]
"""A span's milliseconds and when it begins; a capability, a layer and a pool, empty for none."""
Minutes = dict[int, list[int]]
"""`MEASURES` numbers for each second, by the number of the minute."""


class Outcome(msgspec.Struct, array_like=True, gc=False):
    """What the tasks that ended within a span come to."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    took_ms: int = 0
    """From the start to the end, of those that succeeded."""
    busy_ms: int = 0
    """Of all attempts, by the pool that made them."""
    took: dict[int, int] = {}
    """How many of those that succeeded took how long, by bucket; without those that nobody began."""
    responses: dict[int, int] = {}
    """The same from when they could be claimed (one that was tried again: from its acceptance); of those that agents did."""

    def add(self, other: "Outcome") -> None:
        """Add another."""
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.took_ms += other.took_ms
        self.busy_ms += other.busy_ms
        for mine, more in ((self.took, other.took), (self.responses, other.responses)):
            for bucket, count in more.items():
                mine[bucket] = mine.get(bucket, 0) + count

    def encoded(self) -> bytes:
        """Return it as bytes, the same for the same numbers; empty for nothing."""
        self.took, self.responses = _in_order(self.took), _in_order(self.responses)
        if not any(getattr(self, name) for name in self.__struct_fields__):
            return b""
        return _encode(self)


_encode = msgspec.msgpack.Encoder().encode
decode_outcome = msgspec.msgpack.Decoder(Outcome).decode


def bucket_of(took_ms: int) -> int:
    """Return the number of the bucket that milliseconds fall into; they are in the order of what they hold."""
    extra = took_ms.bit_length() - _EXACT_BITS
    return took_ms if extra <= 0 else (extra << (_EXACT_BITS - 1)) + (took_ms >> extra)


def middle_ms(bucket: int) -> int:
    """Return the middle of a bucket: at most a sixty-fourth away from all that fall into it."""
    if bucket < 1 << _EXACT_BITS:
        return bucket
    extra = (bucket >> (_EXACT_BITS - 1)) - 1
    return ((bucket - (extra << (_EXACT_BITS - 1))) << extra) + ((1 << extra) - 1) // 2


def encode_minute(numbers: Sequence[int]) -> bytes:
    """Return a minute as bytes; empty for nothing."""
    return _MINUTE.pack(*numbers) if any(numbers) else b""


def decode_minute(stored: bytes) -> Sequence[int]:
    """Return a minute's numbers."""
    return _MINUTE.unpack(stored)


class Outcomes:
    """What tasks that ended at `from_ms` or later come to; older ones are passed over."""

    def __init__(self, from_ms: int = 0) -> None:
        self._from_ms = from_ms
        self._groups: dict[tuple[Any, ...], list[tuple[int, int, int, int]]] = {}
        """When tasks that are alike were created and could be claimed, began and ended."""
        self._fine: dict[Key, Outcome] = {}
        self._minutes: Minutes = {}

    def add(self, row: Sequence[Any], times: int = 1) -> None:
        """Count a task: its agent, or None, and the values of `TASK`; `times` 1 or -1."""
        agent_id, capability, layer, state, attempt, created_ms, ready_ms, started_ms, finished_ms = row
        if finished_ms < self._from_ms:
            return
        pool, span_ms = pool_of(agent_id or ""), finished_ms - finished_ms % FINE_MS
        group = span_ms, capability, layer, pool, state, attempt == 1, started_ms is not None, times
        when = created_ms, ready_ms, started_ms or 0, finished_ms
        held = self._groups.get(group)
        if held is None:
            self._groups[group] = [when]
        else:
            held.append(when)
            if len(held) >= AT_ONCE:
                self._settle(group, self._groups.pop(group))

    def add_attempt(self, row: Sequence[Any], times: int = 1) -> None:
        """Count an attempt at a task that was tried more than once: the values of `ATTEMPT`."""
        capability, layer, agent_id, state, is_last, ready_ms, started_ms, finished_ms, ended_ms = row
        if ended_ms < self._from_ms:
            return
        finished_ms = ended_ms if finished_ms is None else finished_ms
        self._outcome(ended_ms, capability, layer, pool_of(agent_id or "")).busy_ms += times * (finished_ms - started_ms)
        first, last = started_ms // 1000, finished_ms // 1000
        if state == "lost":
            self._stretch(ASKED, first + 1, last - 1, times)
        else:
            self._stretch(WORKED, first, last, times)
        if is_last:
            self._stretch(ASKED, -(-ready_ms // 1000), first - 1, times)

    def settled(self) -> tuple[dict[Key, Outcome], Minutes]:
        """Return the sums by `FINE_MS`, and the minutes."""
        for group, when in self._groups.items():
            self._settle(group, when)
        self._groups.clear()
        return self._fine, self._minutes

    def _settle(self, group: tuple[Any, ...], when: list[tuple[int, int, int, int]]) -> None:
        """Count tasks that are alike, measure by measure, since that is much cheaper than one after the other."""
        span_ms, capability, layer, pool, state, is_first, began, times = group
        outcome, number = self._outcome(span_ms, capability, layer, pool), times * len(when)
        for second, many in Counter([created // 1000 for created, _, _, _ in when]).items():
            self._second(second, ACCEPTED, times * many)
        if is_first and began:
            outcome.busy_ms += times * sum([finished - started for _, _, started, finished in when])
            worked = [(started // 1000, finished // 1000) for _, _, started, finished in when]
            asked = [(-(-ready // 1000), started // 1000 - 1) for _, ready, started, _ in when]
            for measure, stretches in ((WORKED, worked), (ASKED, asked)):
                for (first, last), many in Counter(stretches).items():
                    self._stretch(measure, first, last, times * many)
        if state == "succeeded":
            outcome.succeeded += number
            self._ends(SUCCEEDED, when, times)
            if began:
                took = [finished - started for _, _, started, finished in when]
                outcome.took_ms += times * sum(took)
                _count(outcome.took, [max(0, each) for each in took], times)
            if pool:
                responses = [finished - (ready if is_first else created) for created, ready, _, finished in when]
                _count(outcome.responses, [each for each in responses if each >= 0], times)
        elif state == "failed":
            outcome.failed += number
            self._ends(FAILED, when, times)
        else:
            outcome.cancelled += number

    def _ends(self, measure: int, when: list[tuple[int, int, int, int]], times: int) -> None:
        for second, many in Counter([finished // 1000 for _, _, _, finished in when]).items():
            self._second(second, measure, times * many)

    def _outcome(self, at_ms: int, capability: str, layer: str | None, pool: str) -> Outcome:
        key = FINE_MS, at_ms - at_ms % FINE_MS, capability, layer or "", pool
        found = self._fine.get(key)
        if found is None:
            found = self._fine[key] = Outcome()
        return found

    def _stretch(self, measure: int, first: int, last: int, times: int) -> None:
        if first <= last:
            self._second(first, measure, times)
            self._second(last + 1, measure, -times)

    def _second(self, second: int, measure: int, times: int) -> None:
        minute, at = divmod(second, MINUTE_S)
        numbers = self._minutes.get(minute)
        if numbers is None:
            numbers = self._minutes[minute] = [0] * (MINUTE_S * MEASURES)
        numbers[at * MEASURES + measure] += times


def with_days(fine: Mapping[Key, Outcome]) -> dict[Key, Outcome]:
    """Return the sums with those of their days."""
    found = dict(fine)
    for (_, at_ms, *names), outcome in fine.items():
        key: Any = DAY_MS, at_ms - at_ms % DAY_MS, *names
        found.setdefault(key, Outcome()).add(outcome)
    return found


def tally(batch: Batch, known: Mapping[str, Known], from_ms: int) -> tuple[Outcomes, list[str], list[str]]:
    """Return what a batch adds, but for those tasks of which the database must be asked: before it is written, and afterwards."""
    found, before, after = Outcomes(from_ms), list[str](), list[str]()
    for task_id, task in batch.tasks.items():
        row, held = task.row, known.get(task_id)
        if held is not None and held.finished_ms is not None:
            before.append(task_id)
            after.append(task_id)
        elif (finished_ms := row.get("finished_ms")) is None:
            continue
        elif task.attempt > 1:
            after.append(task_id)
        else:
            if held is None:
                layer, agent_id, created_ms = row.get("layer"), row.get("agent_id"), row["created_ms"]
            else:
                layer, agent_id, created_ms = held.layer, row.get("agent_id") or held.agent_id, held.created_ms
            ready_ms = created_ms if task.ready_ms is None else task.ready_ms
            named = agent_id, task.capability, layer, task.state, task.attempt
            found.add((*named, created_ms, ready_ms, task.started_ms, finished_ms))
    return found, before, after


_READY_MS = sa.func.coalesce(tasks.c.queued_ms, tasks.c.created_ms)
TASK = (
    *(tasks.c.capability, tasks.c.layer, tasks.c.state, tasks.c.attempt),
    *(tasks.c.created_ms, _READY_MS, tasks.c.started_ms, tasks.c.finished_ms),
)
ATTEMPT = (
    *(tasks.c.capability, tasks.c.layer, attempts.c.agent_id, attempts.c.state, attempts.c.attempt == tasks.c.attempt),
    *(_READY_MS, attempts.c.started_ms, attempts.c.finished_ms, tasks.c.finished_ms),
)
_ENDED = tasks.c.finished_ms >= sa.bindparam("from_ms", type_=sa.BigInteger)
_BEFORE = tasks.c.finished_ms < sa.bindparam("until_ms", type_=sa.BigInteger)
_AMONG = tasks.c.id.in_(sa.bindparam("task_ids", expanding=True))
_of_tasks = sa.select(tasks.c.agent_id, *TASK)
_of_attempts = sa.select(*ATTEMPT).join_from(tasks, attempts, attempts.c.task_id == tasks.c.id).where(tasks.c.attempt > 1)
_SPAN = _of_tasks.where(_ENDED, _BEFORE), _of_attempts.where(_ENDED, _BEFORE)
_THESE = (each.where(_AMONG, tasks.c.finished_ms.is_not(None)) for each in (_of_tasks, _of_attempts))
_TASKS_AMONG, _ATTEMPTS_AMONG = _THESE


def add_rows(connection: sa.Connection, found: Outcomes, from_ms: int, until_ms: int = FOREVER_MS) -> None:
    """Count the tasks that ended from one time until before another, as the database has them."""
    if from_ms >= until_ms:
        return
    given = {"from_ms": from_ms, "until_ms": until_ms}
    for query, add in zip(_SPAN, (found.add, found.add_attempt), strict=True):
        for row in _fetched(connection.execute(query, given, execution_options={"yield_per": AT_ONCE})):
            add(row)


def add_tasks(connection: sa.Connection, found: Outcomes, task_ids: Sequence[str], *, times: int) -> None:
    """Count those of these tasks that have ended, as the database has them now, `times` 1 or -1."""
    for query, add in ((_TASKS_AMONG, found.add), (_ATTEMPTS_AMONG, found.add_attempt)):
        for row in _fetched(connection.execute(query, {"task_ids": task_ids})):
            add(row, times)


def _fetched(rows: sa.CursorResult[Any]) -> Iterator[tuple[Any, ...]]:
    return map(tuple, rows)


def _count(counts: dict[int, int], took_ms: Iterable[int], times: int) -> None:
    for milliseconds, many in Counter(took_ms).items():
        bucket = bucket_of(milliseconds)
        counts[bucket] = counts.get(bucket, 0) + times * many


def _in_order(counts: Mapping[int, int]) -> dict[int, int]:
    return {bucket: count for bucket, count in sorted(counts.items()) if count}
