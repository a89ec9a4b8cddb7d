"""A compressed day: kills, a bad roll-out, a drained host, a back-up, a restore; nothing is lost, and the report says so."""

import os
from pathlib import Path

import pytest
from benchmarks.day.run import Day
from tests.fault.test_chaos import drawn_seed

FULL = os.environ.get("AMAS_SOAK") == "full"
SECONDS, PER_S = (600.0, 40.0) if FULL else (45.0, 15.0)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 1200)
@pytest.mark.requirement("B8", "M9", "N5", "N7", "T6")
async def test_a_day_ends_with_nothing_lost_and_a_report_that_says_so(tmp_path: Path) -> None:
    day = Day(tmp_path, seed=drawn_seed(), seconds=SECONDS, per_s=PER_S)
    checks = await day.run()
    print(day.found()["counts"])
    assert [(check.name, check.found) for check in checks if not check.holds and not check.timed] == []
