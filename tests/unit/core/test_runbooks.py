"""What comes next in a run, and which runs alerts start."""

import msgspec
import pytest

from amas.core.runbooks import (
    Act,
    Cause,
    Transition,
    begun,
    cancelled,
    confirmed,
    due,
    filled,
    following,
    mistaken,
    settled,
    started,
)
from amas.model.alerts import Alert, Reading, Readings, parsed
from amas.model.desired import Desired
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.runbook import Run, RunBook, Step

START = 1_800_000_000_000


def step(do: str = "cordon", **more: object) -> Step:
    return Step(**{"do": do, "name": do, "host": "$host" if do == "cordon" else "", **more})


CHECK = step("check", that=parsed("host_lag_s{host=$host} < 5"), timeout_s=30)


def run_of(*steps: Step) -> Run:
    return begun(RunBook(name="book", steps=steps), {"host": "h1"}, Cause("me", "test"), run_id="r1", now_ms=START).run


def readings(at_s: float, lag_s: float, host: str = "h1") -> Readings:
    return Readings(at_ms=START + round(at_s * 1000), values=(Reading("host_lag_s", lag_s, {"host": host}),))


def further(found: Transition | Act | None) -> Run:
    assert isinstance(found, Transition)
    return found.run


def running(run: Run, at_s: float = 0.0) -> Run:
    return started(run, {}, START + round(at_s * 1000)).run


def test_a_step_is_prepared_then_carried_out_and_the_last_one_ends_the_run() -> None:
    run = run_of(step(), step())
    assert following(run, None, START) == Act("prepare", run.book.steps[0])
    run = started(run, {"host": "h1"}, START).run
    assert run.steps[0].memo == {"host": "h1"}
    assert following(run, None, START) == Act("carry_out", run.book.steps[0])
    run = settled(run, ok=True, outcome="done", now_ms=START).run
    assert (run.at, run.status) == (1, "running")
    run = settled(running(run), ok=True, outcome="done", now_ms=START).run
    assert run.status == "succeeded" and not run.is_open


def test_a_check_waits_for_a_look_after_it_began_and_for_its_figure_until_its_time_is_up() -> None:
    run = running(run_of(CHECK))
    assert following(run, readings(0, 1.0), START) is None, "an old look says nothing"
    assert following(run, readings(10, 9.0), START + 10_000) is None
    assert further(following(run, readings(10, 1.0), START + 10_000)).status == "succeeded"
    failed = following(run, readings(30, 9.0), START + 30_000)
    assert further(failed).status == "failed"
    assert isinstance(failed, Transition) and failed.line.outcome == "host_lag_s is 9, not < 5, after 30 s"
    gone = further(following(run, readings(30, 1.0, host="other"), START + 30_000))
    assert gone.steps[0].outcome == "there is no host_lag_s of host h1, after 30 s"


def test_the_sum_of_no_readings_is_none_at_all() -> None:
    run = running(run_of(step("check", that=parsed("sum(host_lost{host=$host}) == 0"))))
    assert further(following(run, Readings(at_ms=START + 1), START + 1)).status == "succeeded"


def test_a_step_whose_condition_does_not_hold_is_left_out() -> None:
    run = run_of(msgspec.structs.replace(CHECK, when=parsed("host_lag_s{host=$host} >= 5")), step())
    assert following(run, None, START) is None, "nothing was read yet"
    after = further(following(run, readings(0, 1.0), START))
    assert (after.at, after.steps[0].status) == (1, "skipped")


@pytest.mark.parametrize(
    ("on_failure", "at", "status", "pages"),
    [("stop", 0, "failed", False), ("continue", 1, "running", False), ("page", 0, "failed", True)],
)
def test_what_a_failed_step_means_is_said_by_the_step(on_failure: str, at: int, status: str, pages: bool) -> None:
    found = settled(running(run_of(step(on_failure=on_failure), step())), ok=False, outcome="no", now_ms=START)
    assert (found.run.at, found.run.status, bool(found.page)) == (at, status, pages)


def test_a_step_may_end_the_run_when_it_succeeds() -> None:
    assert settled(running(run_of(step(on_success="end"), step())), ok=True, outcome="", now_ms=START).run.status == "succeeded"


def test_a_step_that_a_person_confirms_waits_asks_and_names_who_said_yes() -> None:
    asked = following(run_of(step(confirm="person", confirm_within_s=60)), None, START)
    run = further(asked)
    assert run.status == "asking" and isinstance(asked, Transition) and "amas runbook confirm r1" in asked.page
    assert following(run, None, START + 59_999) is None
    yes = confirmed(run, by="ada", refuse=False, comment="go", now_ms=START + 1000)
    assert yes is not None and (yes.line.what, yes.line.by) == ("confirmed", "ada")
    assert following(yes.run, None, START + 1000) == Act("prepare", run.book.steps[0])
    assert started(yes.run, {}, START + 2000).line.by == "ada"
    assert confirmed(yes.run, by="bob", refuse=False, comment="", now_ms=START) is None, "nothing asks any more"


def test_a_step_that_nobody_confirms_or_somebody_refuses_fails() -> None:
    run = further(following(run_of(step(confirm="person", confirm_within_s=60)), None, START))
    late = further(following(run, None, START + 60_000))
    assert (late.status, late.steps[0].outcome) == ("failed", "nobody confirmed it within 60 s")
    no = confirmed(run, by="ada", refuse=True, comment="not now", now_ms=START)
    assert no is not None and (no.run.status, no.line.what, no.line.outcome) == ("failed", "refused", "ada refused: not now")


def test_an_action_that_is_not_done_in_time_fails_and_a_wait_is_over_in_time() -> None:
    assert further(following(running(run_of(step(timeout_s=10))), None, START + 10_000)).status == "failed"
    waits = running(run_of(step("wait", wait_s=20)))
    assert following(waits, None, START + 19_999) is None
    assert further(following(waits, None, START + 20_000)).status == "succeeded"


def test_a_run_can_be_cancelled_once() -> None:
    run = run_of(step())
    ended = cancelled(run, by="ada", comment="", now_ms=START)
    assert ended is not None and ended.run.status == "cancelled"
    assert cancelled(ended.run, by="ada", comment="", now_ms=START) is None


def test_a_cancelled_run_shows_none_of_its_steps_at_work() -> None:
    asking = further(following(run_of(step(confirm="person"), step()), None, START))
    for run in (running(run_of(step(), step())), asking):
        ended = cancelled(run, by="ada", comment="by hand", now_ms=START + 5)
        assert ended is not None
        assert [state.status for state in ended.run.steps] == ["cancelled", "todo"]
        assert (ended.run.steps[0].outcome, ended.run.steps[0].since_ms) == ("ada cancelled the run", START + 5)


WORKERS = PoolSpec(name="worker", agent="x:y", capabilities=("work",), replicas=3)
WANTED = Desired(fleet=FleetSpec(name="small", pools=(WORKERS,)))


@pytest.mark.parametrize(
    ("about", "subject", "said"),
    [
        ("host", {"host": "host-1"}, ""),
        ("host", {}, "book is about a host: say which, as host=NAME"),
        ("host", {"host": ""}, "book is about a host: say which, as host=NAME"),
        ("host", {"host": "host-9"}, "there is no host 'host-9' (did you mean 'host-2'?)"),
        ("host", {"host": "host-1", "pool": "worker"}, "book is about a host alone: leave pool=worker out"),
        ("pool", {"pool": "worker"}, ""),
        ("pool", {"pool": "worcker"}, "there is no pool 'worcker' (did you mean 'worker'?)"),
        ("agent", {"agent": "worker-3"}, ""),
        ("agent", {"agent": "worker-4"}, "this fleet declares no agent 'worker-4': worker has 3 agents, and"),
        ("agent", {"agent": "worker"}, "this fleet declares no agent 'worker': an agent is called by its pool"),
        ("", {"host": "host-1"}, "book is about nothing that could be named: leave host=host-1 out"),
        ("queue", {"queue": "whatever"}, ""),
    ],
)
def test_what_a_run_is_said_to_be_about_must_be_there(about: str, subject: dict[str, str], said: str) -> None:
    book = RunBook(name="book", steps=(step("page", say=f"look at ${about}" if about else "look"),))
    found = mistaken(book, subject, WANTED, {"host-1", "host-2"})
    assert found.startswith(said) if said else found == ""


def alert(name: str = "HostIdle", *, host: str = "h1", fired_s: float = 0, **more: object) -> Alert:
    fired_ms = START + round(fired_s * 1000)
    return Alert(
        **{
            "fingerprint": f"{name}-{host}",
            "rule": name,
            "severity": "critical",
            "status": "firing",
            "labels": {"host": host},
            "value": 1.0,
            "reason": "why",
            "since_ms": fired_ms,
            "seen_ms": fired_ms,
            "fired_ms": fired_ms,
            "runbook": "book",
            **more,
        }
    )


BOOKS = {"book": RunBook(name="book", steps=(step(),), cooldown_s=600)}


def starts(alerts: list[Alert], runs: list[Run], at_s: float = 0) -> list[Run]:
    return [each.run for each in due(alerts, BOOKS, runs, now_ms=START + round(at_s * 1000))]


def test_each_firing_starts_one_run_and_whoever_starts_it_gives_it_the_same_id() -> None:
    (run,) = starts([alert()], [])
    assert starts([alert()], [])[0].id == run.id
    assert (run.subject, run.by) == ({"host": "h1"}, "alert HostIdle")
    ended = msgspec.structs.replace(run, status="succeeded")
    assert starts([alert()], [run]) == starts([alert()], [ended], at_s=10_000) == []


def test_no_run_begins_too_soon_after_another_for_the_same_subject() -> None:
    (run,) = starts([alert()], [])
    ended = msgspec.structs.replace(run, status="failed")
    again = alert(fired_s=100)
    assert starts([again], [ended], at_s=599) == []
    assert len(starts([again], [ended], at_s=600)) == 1
    assert len(starts([alert(host="h2")], [ended], at_s=1)) == 1
    assert len(starts([alert(), alert("HostStalled")], [])) == 1, "two alerts of one host are one trouble"


@pytest.mark.parametrize("not_now", [{"silenced_by": "s"}, {"status": "pending"}, {"runbook": ""}, {"labels": {}}])
def test_what_is_silenced_or_does_not_fire_or_names_no_subject_starts_nothing(not_now: dict[str, object]) -> None:
    assert starts([alert(**not_now)], []) == []


def test_names_in_texts_are_filled_longest_first() -> None:
    assert filled("$host of $hosts", {"host": "a", "hosts": "b"}) == "a of b"
