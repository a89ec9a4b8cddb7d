"""When a back-up is due, of which kind, and which have had their time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amas.core.backups import can_follow, newest_at, next_due_ms, next_kind, outlived
from amas.model.backup import BackupSpec, Kind, Manifest

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SPEC = BackupSpec(to="/x")


def made(at_ms: int, kind: Kind = "incremental", **more: str) -> Manifest:
    fields = {"cell": "local", "engine": "mark", "tables": "0003", "position": "5-0", **more}
    return Manifest(
        id=f"b{at_ms}", at_ms=at_ms, kind=kind, amas="0", catalog=(), size=0, stored=0, chunks=0, new_chunks=0, **fields
    )


def test_the_first_is_due_at_once_and_full() -> None:
    assert next_due_ms([], SPEC) == 0
    assert next_kind([], SPEC, now_ms=5) == "full"
    assert next_kind([made(1)], SPEC, now_ms=5) == "full"


def test_one_an_hour_and_a_full_one_a_day() -> None:
    held = [made(0, "full")]
    for hour in range(1, 24):
        assert next_due_ms(held, SPEC) == hour * HOUR_MS
        assert next_kind(held, SPEC, now_ms=hour * HOUR_MS) == "incremental"
        held.append(made(hour * HOUR_MS))
    assert next_kind(held, SPEC, now_ms=DAY_MS) == "full"


@pytest.mark.requirement("M9")
def test_m9s_three_schedules_are_one_declaration() -> None:
    spec, held = BackupSpec(to="/x", keep_full_s=90 * 86_400.0), list[Manifest]()
    for hour in range(120 * 24):
        now_ms = hour * HOUR_MS
        assert next_due_ms(held, spec) <= now_ms
        held.append(made(now_ms, next_kind(held, spec, now_ms=now_ms)))
        gone = set(outlived(held, spec, now_ms=now_ms))
        held = [each for each in held if each.id not in gone]
    last_ms = (120 * 24 - 1) * HOUR_MS
    ages = {kind: [last_ms - each.at_ms for each in held if each.kind == kind] for kind in ("full", "incremental")}
    assert len([each for each in held if last_ms - each.at_ms <= 7 * DAY_MS]) == 7 * 24 + 1, "the state of every hour of a week"
    assert (len(ages["full"]), max(ages["full"]) // DAY_MS) == (90, 89), "all that there is, of every day of a quarter"
    assert max(ages["incremental"]) <= 7 * DAY_MS


def test_hourly_ones_stay_a_week_and_full_ones_a_month() -> None:
    held = [made(0, "full"), made(HOUR_MS), made(7 * DAY_MS + 1), made(31 * DAY_MS, "full")]
    assert outlived(held, SPEC, now_ms=7 * DAY_MS) == []
    assert outlived(held, SPEC, now_ms=7 * DAY_MS + HOUR_MS + 1) == [f"b{HOUR_MS}"]
    assert outlived(held, SPEC, now_ms=31 * DAY_MS) == ["b0", f"b{HOUR_MS}", f"b{7 * DAY_MS + 1}"]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["full", "incremental"])), min_size=1, unique_by=lambda one: one[0]),
    st.integers(0, 10_000),
)
def test_the_newest_and_the_newest_full_one_stay_however_old(times: list[tuple[int, Kind]], now_h: int) -> None:
    held = [made(hour * HOUR_MS, kind) for hour, kind in times]
    gone = set(outlived(held, SPEC, now_ms=now_h * HOUR_MS))
    assert max(held, key=lambda each: each.at_ms).id not in gone
    fulls = [each for each in held if each.kind == "full"]
    assert not fulls or max(fulls, key=lambda each: each.at_ms).id not in gone
    for each in held:
        assert each.id not in gone or now_h * HOUR_MS - each.at_ms > SPEC.keep_s * 1000


def test_the_newest_at_a_time() -> None:
    held = [made(10), made(30), made(20)]
    assert newest_at(held, 25) == held[2]
    assert newest_at(held, 30) == held[1]
    assert newest_at(held, 9) is None


@pytest.mark.parametrize(
    ("changed", "follows"),
    [
        ({}, True),
        ({"engine": "another"}, False),
        ({"cell": "another"}, False),
        ({"tables": "0002"}, False),
        ({"position": "6-1"}, False),
        ({"position": "6-0"}, True),
    ],
)
def test_what_an_incremental_one_may_follow(changed: dict[str, str], follows: bool) -> None:
    parent = made(1, **changed)
    assert can_follow(parent, cell="local", engine="mark", position=(6, 0), tables="0003") is follows
    assert not can_follow(None, cell="local", engine="mark", position=(6, 0), tables="0003")
