"""When `amas up` looks into the history for work that an engine lost."""

from pathlib import Path

import pytest

from amas.cli.lifecycle import has_past
from amas.platforms.local.home import Home


def test_a_history_that_begins_with_this_start_has_lost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMAS_RECORDS_URL", raising=False)
    assert not has_past(Home(tmp_path))
    (tmp_path / "records.sqlite3").touch()
    assert has_past(Home(tmp_path))


def test_a_history_elsewhere_may_hold_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMAS_RECORDS_URL", "postgresql://amas@records/amas")
    assert has_past(Home(tmp_path))
