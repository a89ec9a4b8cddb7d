"""A list shows the beginning of a reason, however long its agent made it."""

import pytest

from amas.cli import flows
from amas.cli.api import Api
from amas.cli.output import WHY_CHARS


@pytest.mark.parametrize(("message", "shown"), [("a b\nc", "a b c"), ("x" * WHY_CHARS, "x" * WHY_CHARS)])
def test_a_reason_that_fits_is_shown_whole(message: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(message, monkeypatch) == shown


def test_a_long_reason_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed("y" * 50_000_000, monkeypatch) == "y" * WHY_CHARS + " …"


def listed(message: str, monkeypatch: pytest.MonkeyPatch) -> str:
    letter = {"task_id": "t", "at_ms": 0, "capability": "c", "key": "", "attempt": 1, "failure": {"message": message}}
    rows: list[list[str]] = []

    class Answering:
        def get(self, path: str, **asked: object) -> dict[str, object]:
            assert path == "/api/dead-letters"
            return {"items": [letter]}

    monkeypatch.setattr(Api, "of", lambda _: Answering())
    monkeypatch.setattr(flows, "home_at", lambda _: None)
    monkeypatch.setattr(flows, "print_page", lambda page, names, found, **_: rows.extend(found))
    flows.dead_letters("", None, limit=10, as_json=False)
    return rows[0][-1]
