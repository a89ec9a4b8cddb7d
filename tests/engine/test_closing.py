"""What a control plane does last: the records hold all that the engine said, or it is said what they lack."""

from collections.abc import AsyncIterator
from pathlib import Path

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
LIMIT_S = 60.0


@pytest.fixture
async def records(engine: Engine, tmp_path: Path) -> AsyncIterator[Records]:
    async with await Records.open(f"sqlite:///{tmp_path / 'records.sqlite3'}", cell=engine.prefix) as opened:
        yield opened


@pytest.fixture
async def busy(engine: Engine) -> Engine:
    """An engine with more in its journal than one sweep of a recorder takes."""
    for task_id in new_ids(TASKS):
        await TaskQueue(engine).submit([make_submission(task_id, TaskSpec(capability="work"))])
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
    apply, failures = Records.apply, 3

    async def away(self: Records, *given: object) -> object:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise RecordsError("the database is away")
        return await apply(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Records, "apply", away)
    assert (await close(busy, records, limit_s=LIMIT_S)).caught_up
    await TaskQueue(busy).submit([make_submission(new_ids(1)[0], TaskSpec(capability="work"))])
    failures = 1_000_000
    closing = await close(busy, records, limit_s=5.0)
    assert (closing.caught_up, closing.why) == (False, "the database is away")
    assert closing.lacks_s >= 0
