"""What a control plane does last: the records hold all that the engine said, or it is said what they lack."""

import asyncio

import pytest

from amas.clock import new_ids
from amas.controllers.closing import close
from amas.engine.connection import Engine
from amas.engine.journal import Journal
from amas.engine.queue import TaskQueue, make_submission
from amas.errors import RecordsError
from amas.model.task import TaskSpec
from amas.records.store import Records

TASKS = 1200
AT_ONCE = 40
"""Submissions under way together, each an entry of its own: they share their waits for the disk."""
LIMIT_S = 60.0
HOUR_S = 3600.0


@pytest.fixture
async def busy(engine: Engine) -> Engine:
    """An engine with more in its journal than one sweep of a recorder takes."""
    queue, submissions = TaskQueue(engine), [make_submission(task_id, TaskSpec(capability="work")) for task_id in new_ids(TASKS)]
    for first in range(0, TASKS, AT_ONCE):
        await asyncio.gather(*(queue.submit([each]) for each in submissions[first : first + AT_ONCE]))
    return engine


@pytest.mark.requirement("M2")
async def test_all_that_the_engine_said_is_recorded_at_the_end(busy: Engine, records: Records) -> None:
    closing = await close(busy, records, limit_s=LIMIT_S)
    assert (closing.caught_up, closing.lacks_s, closing.why) == (True, 0.0, "")
    assert await records.position() == await Journal(busy).last_id()


async def test_what_the_records_lack_when_the_time_is_up_is_said(busy: Engine, records: Records) -> None:
    closing = await close(busy, records, limit_s=0.0)
    assert (closing.caught_up, closing.limit_s) == (False, 0.0)
    assert closing.why


async def test_a_database_that_is_away_is_named_and_tried_again(
    busy: Engine, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, timeout, failures = Records.apply, asyncio.timeout, 3
    ends: list[asyncio.Timeout] = []

    def limit(delay_s: float | None) -> asyncio.Timeout:
        made = timeout(delay_s)
        if delay_s == HOUR_S:
            ends.append(made)
        return made

    async def away(self: Records, *given: object) -> object:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            if failures == 1 and ends:  # it has failed before: the time is up now, however fast this machine is
                ends[0].reschedule(asyncio.get_running_loop().time())
            raise RecordsError("the database is away")
        return await apply(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Records, "apply", away)
    assert (await close(busy, records, limit_s=LIMIT_S)).caught_up
    await TaskQueue(busy).submit([make_submission(new_ids(1)[0], TaskSpec(capability="work"))])
    failures = 3
    monkeypatch.setattr(asyncio, "timeout", limit)
    closing = await close(busy, records, limit_s=HOUR_S)
    assert (closing.caught_up, closing.why) == (False, "the database is away")
    assert closing.lacks_s >= 0
