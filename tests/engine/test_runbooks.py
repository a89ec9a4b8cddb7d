"""Run-books on a real engine: followed by whoever leads, each step in the audit, and persons asked."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from amas.artifacts.store import ArtifactStore
from amas.backup.make import Sources
from amas.clock import new_id
from amas.controllers.actions import Actions, Parts
from amas.controllers.alerts import Alerts, Latest
from amas.controllers.backup import FleetBackups
from amas.controllers.figures import Figures
from amas.controllers.readings import Meter
from amas.controllers.runbooks import ASKED_MAX, RunBooks, answer, read_runs, start
from amas.engine.alerts import AlertStore
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostAbout, HostFigures, HostRegistry, PoolCard
from amas.engine.queue import Slots, TaskQueue, make_submission
from amas.errors import AlertsChanged, EngineError, RunBookRefused
from amas.fleet.alerts import load_runbooks
from amas.model.alert_defaults import DEFAULT_RULES
from amas.model.alerts import AlertsSpec
from amas.model.backup import BackupSpec
from amas.model.blob import to_blob
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.healing import Quarantine
from amas.model.journal import WorkflowOpening
from amas.model.runbook import AuditLine, Run, RunBook, Step
from amas.model.task import TaskSpec
from amas.records.store import Records

START = 1_800_000_000_000
LIMIT_S = 60.0
SHIPPED = load_runbooks()
WORKERS = PoolSpec(name="worker", agent="x:y", capabilities=("work",), replicas=3)


def fleet_of(*books: RunBook) -> FleetSpec:
    spec = AlertsSpec(rules=tuple(rule for rule in DEFAULT_RULES if rule.name in {"HostIdle", "HostLost", "WorkLost"}))
    return FleetSpec(name="small", pools=(WORKERS,), hosts=1, alerts=spec, runbooks=books or tuple(SHIPPED.values()))


class Leader:
    """One control plane's duties."""

    def __init__(self, engine: Engine, records: Records, fleet: FleetSpec) -> None:
        self.engine, self.store, self.latest, self.figures = engine, AlertStore(engine), Latest(fleet), Figures()
        self.hosts, self.desired = HostRegistry(engine), DesiredState(engine)
        self.alerts = Alerts(self.store, Meter(engine, records, self.figures, fleet), self.latest)
        self.runbooks = RunBooks(self.store, Parts(engine, records), self.latest, patience_s=LIMIT_S)

    async def host(self, host_id: str = "h1", *, at_s: float = 0) -> None:
        cards = (PoolCard("worker", "specialist", "", "", "1", 1, ((1, 3),)),)
        about = HostAbout(1, "here", "1", cards)
        await self.hosts.register(host_id, about, lease_s=20.0, now_ms=START + round(at_s * 1000))

    async def beat(self, *, at_s: float, lag_s: float = 0.0, troubled: tuple[str, ...] = ()) -> None:
        figures = HostFigures(loop_lag_s=lag_s, troubled=troubled)
        assert await self.hosts.renew("h1", figures, lease_s=20.0, now_ms=START + round(at_s * 1000))

    async def lose_the_host(self) -> None:
        await self.host(at_s=-30)
        lost = await self.hosts.reap(now_ms=START)
        assert lost is not None and lost.id == "h1"

    async def sweep(self, at_s: float) -> None:
        """Look at the figures, then go on with run-books."""
        now_ms = START + round(at_s * 1000)
        await self.alerts.look(now_ms=now_ms)
        await self.runbooks.sweep(now_ms)

    async def only(self) -> Run:
        (run,) = await read_runs(self.store, limit=10)
        return run

    async def audit(self) -> list[str]:
        """Return what was done, oldest first."""
        lines = await self.store.audit(AuditLine, limit=100)
        return [f"{line.what} {line.step}".strip() for line in reversed(lines)]


async def test_a_host_that_beats_but_does_nothing_is_started_anew(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of())
    await leader.host()
    await TaskQueue(engine).submit([make_submission(new_id(), TaskSpec(capability="work"))])
    for at_s in range(0, 96, 5):
        await leader.beat(at_s=at_s)
        await leader.sweep(at_s)
    run = await leader.only()
    assert (run.book.name, run.subject, run.by, run.status) == ("agent-unresponsive", {"host": "h1"}, "alert HostIdle", "running")
    assert "host_idle_s is 95 s" in run.why
    order = (await leader.desired.read()).orders["h1"]
    assert (order.cordoned, order.restarts) == (True, 1)
    after = Leader(engine, records, fleet_of())  # the control plane is killed, another takes over
    await after.host(at_s=100)  # the platform has started it anew
    await after.beat(at_s=100)
    for at_s in (100, 105, 110, 115, 184, 185, 190):
        await after.beat(at_s=at_s)
        await after.sweep(at_s)
    assert (await after.only()).at == 7, "work still waits, and it still does nothing"
    assert await TaskQueue(engine).claim("h1", [Slots(("work",), ["worker-1"])], now_ms=START + 190_000)
    await after.sweep(195)
    run = await after.only()
    assert (run.status, run.steps[-1].outcome) == ("succeeded", "max(host_idle_s) is 0, as < 60")
    order = (await after.desired.read()).orders["h1"]
    assert (order.cordoned, order.restarts) == (False, 1), "it was started anew once, whoever led"
    assert await after.audit() == [
        "began",
        "skipped 1 it recovers by itself",
        *(f"{what} {step}" for step in ("2 give it no more agents", "3 start it anew") for what in ("started", "succeeded")),
        *(f"{what} {step}" for step in ("4 it has started anew", "5 it answers") for what in ("started", "succeeded")),
        *(
            f"{what} {step}"
            for step in ("6 let it have agents again", "7 give it time to take work")
            for what in ("started", "succeeded")
        ),
        "started 8 it works",
        "succeeded 8 it works",
    ]
    lines = await after.store.audit(AuditLine, limit=100)
    assert all(line.run == run.id and line.at_ms and line.by for line in lines)
    assert {line.by for line in lines} == {"amas", "alert HostIdle"}
    history = await after.desired.history()
    assert [(change.by, change.fields) for change in history] == [("run-book agent-unresponsive", ("order:h1",))] * 3


async def test_a_lost_host_that_does_not_come_back_is_ordered_anew_and_then_a_person_is_told(
    engine: Engine, records: Records
) -> None:
    leader = Leader(engine, records, fleet_of())
    await leader.lose_the_host()
    for at_s in range(0, 201, 5):
        await leader.sweep(at_s)
    run = await leader.only()
    assert (run.book.name, run.status) == ("host-lost", "failed")
    assert [state.status for state in run.steps] == ["failed", "succeeded", "failed", "failed"]
    assert (await leader.desired.read()).orders["h1"].restarts == 1
    told = [each.notice for each in await leader.store.queued("log", limit=10)]
    assert [(notice.status, notice.alert.rule) for notice in told] == [("firing", "HostLost"), ("page", "RunBook")]
    assert told[1].alert.labels == {"host": "h1", "runbook": "host-lost", "run": run.id}
    assert told[1].alert.reason.startswith("'enough hosts live without it' failed: hosts_missing is 1, not == 0")


async def test_a_lost_host_that_comes_back_needs_nothing(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of())
    await leader.lose_the_host()
    await leader.sweep(0)
    await leader.host(at_s=3)
    await leader.sweep(5)
    run = await leader.only()
    assert (run.status, run.at) == ("succeeded", 0)
    assert (await leader.desired.read()).orders == {}


def book_of(*steps: Step) -> RunBook:
    return RunBook(name="book", steps=steps)


ASKS = book_of(
    Step(do="pause_workflows", name="hold", confirm="person", confirm_within_s=60),
    Step(do="resume_workflows", name="go on", confirm="person", confirm_within_s=60),
)


ASKS_TOO = RunBook(name="too", steps=ASKS.steps)


async def open_workflow(engine: Engine) -> str:
    workflow_id = new_id()
    task = make_submission(new_id(), TaskSpec(capability="work", workflow_id=workflow_id))
    await TaskQueue(engine).submit([task], workflow=WorkflowOpening(workflow_id, to_blob({})))
    return workflow_id


async def state_of(engine: Engine, workflow_id: str) -> object:
    found = await TaskQueue(engine).workflow(workflow_id)
    assert found is not None
    return found["state"]


async def test_a_step_that_a_person_confirms_waits_for_one(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of(ASKS))
    held, paused = await open_workflow(engine), await open_workflow(engine)
    await leader.runbooks._actions._workflows.pause(paused)
    run = await start(leader.engine, leader.latest.fleet, "book", {}, by="ada", why="drill")
    now_s = (run.begun_ms - START) / 1000
    for after_s in (1, 2):
        await leader.sweep(now_s + after_s)
    assert (await leader.only()).status == "asking"
    assert await state_of(engine, held) == "running"
    (page,) = [each.notice for each in await leader.store.queued("log", limit=10)]
    assert page.alert.reason == f"confirm the step 'hold': amas runbook confirm {run.id}"
    await answer(leader.store, run.id, by="bob", comment="do it", what="confirm", receivers=["log"])
    await leader.sweep(now_s + 3)
    assert await state_of(engine, held) == "paused"
    assert (await leader.only()).steps[0].outcome == "1 of 1 workflows paused"
    await answer(leader.store, run.id, by="bob", comment="", what="confirm", receivers=["log"])
    await leader.sweep(now_s + 4)
    assert [await state_of(engine, each) for each in (held, paused)] == ["running", "paused"], "what others paused stays so"
    assert (await leader.only()).status == "succeeded"
    lines = await leader.store.audit(AuditLine, limit=100)
    assert [line.by for line in reversed(lines) if line.what == "started"] == ["bob", "bob"]
    with pytest.raises(RunBookRefused, match="is succeeded: there is nothing to confirm"):
        await answer(leader.store, run.id, by="bob", comment="", what="confirm", receivers=["log"])


async def test_a_step_that_nobody_confirms_fails_when_its_time_is_up(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of(ASKS))
    run = await start(leader.engine, leader.latest.fleet, "book", {}, by="ada", why="")
    now_s = (run.begun_ms - START) / 1000
    await leader.sweep(now_s)
    await leader.sweep(now_s + 59)
    assert (await leader.only()).status == "asking"
    await leader.sweep(now_s + 60)
    found = await leader.only()
    assert (found.status, found.steps[0].outcome) == ("failed", "nobody confirmed it within 60 s")
    assert await leader.store.open_runs() == []


async def test_a_run_can_be_refused_or_cancelled_by_a_person(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of(ASKS))
    for what, by, status in (("refuse", "ada", "failed"), ("cancel", "bob", "cancelled")):
        run = await start(leader.engine, leader.latest.fleet, "book", {}, by="ada", why="")
        await leader.sweep((run.begun_ms - START) / 1000)
        ended = await answer(leader.store, run.id, by=by, comment="no", what=what, receivers=["log"])
        assert (ended.status, ended.is_open) == (status, False)
        (line,) = await leader.store.audit(AuditLine, limit=1)
        assert (line.by, line.run) == (by, run.id)


async def test_a_pool_gets_more_agents_but_not_beyond_what_the_step_allows(engine: Engine, records: Records) -> None:
    book = book_of(
        Step(do="scale", name="more", pool="$pool", by=5, most=4),
        Step(do="restart_pool", name="anew", pool="$pool"),
        Step(do="scale", name="too many", pool="$pool", to=900, on_failure="continue"),
        Step(do="scale", name="none", pool="nobody", to=1),
    )
    leader = Leader(engine, records, fleet_of(book))
    await leader.desired.change([Wish("fleet", leader.latest.fleet)], by="test")
    run = await start(leader.engine, leader.latest.fleet, "book", {"pool": "worker"}, by="ada", why="busy")
    await leader.sweep((run.begun_ms - START) / 1000)
    desired = await leader.desired.read()
    scale = desired.scales["worker"]
    assert (scale.replicas, scale.by, scale.why) == (4, "run-book book", "busy")
    assert desired.anew == {"worker": 1}
    found = await leader.only()
    assert found.steps[0].memo == {"pool": "worker", "was": 3, "to": 4}
    assert found.steps[2].outcome.startswith("900 agents of worker can't be: this fleet allows from 0 to 5 in a pool")
    assert (found.status, found.steps[3].outcome) == ("failed", "there is no pool 'nobody': there are worker")


async def test_agents_that_are_unwell_are_made_anew_and_no_others(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of(SHIPPED["agent-unwell"]))
    await leader.host()
    await leader.desired.change([Wish("quarantine:worker-3", Quarantine(by="bob", why="odd", at_ms=START))], by="bob")
    run = await start(leader.engine, leader.latest.fleet, "agent-unwell", {"host": "h1"}, by="ada", why="drill")
    now_s = (run.begun_ms - START) / 1000
    for after_s in (0, 29, 31):
        await leader.host(at_s=now_s + after_s)
        await leader.beat(at_s=now_s + after_s, troubled=("worker-2", "worker-3"))
        await leader.sweep(now_s + after_s)
    held = (await leader.desired.read()).quarantines
    assert {agent: each.by for agent, each in held.items()} == {"worker-2": "run-book agent-unwell", "worker-3": "bob"}
    await leader.sweep(now_s + 42)
    assert set((await leader.desired.read()).quarantines) == {"worker-3"}, "what others quarantined stays so"
    await leader.beat(at_s=now_s + 43)
    await leader.sweep(now_s + 43)
    found = await leader.only()
    assert (found.status, [state.outcome for state in found.steps[1:4:2]]) == (
        "succeeded",
        ["quarantined: worker-2", "let go: worker-2"],
    )


async def test_more_unwell_agents_than_one_step_may_quarantine_are_left_to_a_person(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of(book_of(Step(do="quarantine", name="hold", host="h1"))))
    run = await start(leader.engine, leader.latest.fleet, "book", {}, by="ada", why="")
    now_s = (run.begun_ms - START) / 1000
    await leader.host(at_s=now_s)
    await leader.beat(at_s=now_s, troubled=tuple(f"worker-{number}" for number in range(1, 102)))
    await leader.sweep(now_s)
    assert (await leader.only()).steps[0].outcome.startswith("101 agents are unwell, more than 100")
    assert (await leader.desired.read()).quarantines == {}


@pytest.mark.requirement("M11")
async def test_a_run_book_backs_the_fleet_up_and_tries_the_back_up_out(
    engine: Engine, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMAS_BACKUP_KEY", "env:KEY_OF_THE_TEST")
    monkeypatch.setenv("KEY_OF_THE_TEST", "a secret of some length")
    steps = (Step(do=do, name=do, on_failure="continue") for do in ("verify_backup", "back_up", "verify_backup"))
    fleet = msgspec.structs.replace(fleet_of(book_of(*steps)), backup=BackupSpec(to=str(tmp_path / "backups")))
    leader = Leader(engine, records, fleet)
    sources = Sources(engine, records, ArtifactStore(tmp_path / "artifacts"), tmp_path, "small")
    backups = FleetBackups(sources, fleet, leader.figures)
    leader.runbooks._actions = Actions(Parts(engine, records, backups=backups))
    await open_workflow(engine)
    run = await start(leader.engine, fleet, "book", {}, by="ada", why="")
    await leader.sweep((run.begun_ms - START) / 1000)
    found = await leader.only()
    assert [state.status for state in found.steps] == ["failed", "succeeded", "succeeded"]
    assert "there are no back-ups in" in found.steps[0].outcome
    assert found.steps[1].outcome.startswith("backed up as ")
    assert "is whole: " in found.steps[2].outcome


async def test_an_action_that_takes_long_holds_up_no_other_run_and_ends_with_its_time(
    engine: Engine, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = Leader(engine, records, fleet_of(book_of(Step(do="recover", name="put back", timeout_s=3600)), ASKS_TOO))
    leader.runbooks._patience_s = 0.0
    begun, ended = asyncio.Event(), asyncio.Event()

    async def takes_for_ever(*_: object, **__: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr("amas.controllers.actions.recover", takes_for_ever)
    slow = await start(leader.engine, leader.latest.fleet, "book", {}, by="ada", why="")
    now_s = (slow.begun_ms - START) / 1000
    await start(leader.engine, leader.latest.fleet, "too", {}, by="ada", why="")
    async with asyncio.timeout(LIMIT_S):
        while not begun.is_set() or {run.status for run in await read_runs(leader.store, limit=9)} != {"running", "asking"}:
            await leader.sweep(now_s)
        leader.runbooks.errands.drop()
        await ended.wait()
    await leader.sweep(now_s + 3600)
    leader.runbooks._patience_s = LIMIT_S
    await leader.sweep(now_s + 3600)
    found = {run.id: run for run in await read_runs(leader.store, limit=9)}[slow.id]
    assert (found.status, found.steps[0].outcome) == ("failed", "it wasn't done within 3,600 s")


async def test_who_is_to_be_told_hears_of_a_step_that_a_person_refused(engine: Engine, records: Records) -> None:
    book = book_of(Step(do="pause_workflows", name="hold", confirm="person", on_failure="page"))
    leader = Leader(engine, records, fleet_of(book))
    run = await start(leader.engine, leader.latest.fleet, "book", {}, by="ada", why="")
    await leader.sweep((run.begun_ms - START) / 1000)
    await answer(leader.store, run.id, by="bob", comment="not now", what="refuse", receivers=["log"])
    told = [each.notice.alert.reason for each in await leader.store.queued("log", limit=10)]
    assert told[-1] == "'hold' failed: bob refused: not now"


async def test_people_can_start_many_runs_but_not_without_end(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of(ASKS))
    for _ in range(ASKED_MAX):
        await start(leader.engine, leader.latest.fleet, "book", {}, by="ada", why="")
    with pytest.raises(RunBookRefused, match="200 runs are open already: wait, or end some with `amas runbook cancel`"):
        await start(leader.engine, leader.latest.fleet, "book", {}, by="ada", why="")


async def test_an_action_whose_end_was_not_stored_is_done_again_and_reaches_the_same(
    engine: Engine, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = book_of(Step(do="restart_host", name="anew", host="$host"))
    leader = Leader(engine, records, fleet_of(book))
    await leader.host()
    run = await start(leader.engine, leader.latest.fleet, "book", {"host": "h1"}, by="ada", why="")
    now_s = (run.begun_ms - START) / 1000
    carried_out = Actions.carry_out

    async def dies_after(self: Actions, *given: object, **named: object) -> str:
        await carried_out(self, *given, **named)  # type: ignore[arg-type]
        raise EngineError("the connection broke")

    monkeypatch.setattr(Actions, "carry_out", dies_after)
    with pytest.raises(EngineError, match="broke"):
        await leader.sweep(now_s)
    monkeypatch.setattr(Actions, "carry_out", carried_out)
    assert (await leader.desired.read()).orders["h1"].restarts == 1
    after = Leader(engine, records, fleet_of(book))
    await after.sweep(now_s + 1)
    assert (await after.only()).status == "succeeded"
    assert (await after.desired.read()).orders["h1"].restarts == 1


async def test_lost_work_is_put_back_once_a_person_confirms(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of())
    workflow_id = await open_workflow(engine)
    journal_entries = await _journal(engine, records)
    assert journal_entries
    await engine.client.delete(*[name async for name in engine.client.scan_iter(f"{engine.prefix}*")])
    await _journal(engine, records)
    now_s = (AlertStore(engine).now_ms() - START) / 1000
    for after_s in (0, 16, 17, 18):
        leader.alerts._meter._slow_at = float("-inf")
        await leader.sweep(now_s + after_s)
    run = await leader.only()
    assert (run.book.name, run.status) == ("data-corruption", "asking")
    await answer(leader.store, run.id, by="ada", comment="", what="confirm", receivers=["log"])
    await leader.sweep(now_s + 19)
    await _journal(engine, records)
    leader.alerts._meter._slow_at = float("-inf")
    await leader.sweep(now_s + 21)
    run = await leader.only()
    assert (run.status, run.steps[2].outcome) == ("succeeded", "put back 1 open tasks of 1 workflows; 0 were known")
    assert await state_of(engine, workflow_id) == "running"


async def _journal(engine: Engine, records: Records) -> int:
    """Do what the recorder does; return how many entries there were."""
    from amas.controllers.recover import find_place
    from amas.engine.journal import Journal

    count, journal = 0, Journal(engine)
    await find_place(journal, records.lost_work)
    while entries := await journal.read(await records.position()):
        await records.apply(entries)
        count += len(entries)
    return count


async def test_what_is_asked_wrongly_is_refused_in_a_sentence(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of())
    with pytest.raises(RunBookRefused, match="there is no run-book 'x': this fleet has agent-unresponsive"):
        await start(leader.engine, leader.latest.fleet, "x", {}, by="ada", why="")
    with pytest.raises(RunBookRefused, match="host-lost is about a host: say which, as host=NAME"):
        await start(leader.engine, leader.latest.fleet, "host-lost", {}, by="ada", why="")
    with pytest.raises(RunBookRefused, match="there is no host 'h1': there are none"):
        await start(leader.engine, leader.latest.fleet, "host-lost", {"host": "h1"}, by="ada", why="")
    assert await read_runs(leader.store, limit=10) == []
    with pytest.raises(RunBookRefused, match="there is no run 'r'"):
        await answer(leader.store, "r", by="ada", comment="", what="cancel", receivers=["log"])


async def test_a_person_may_start_a_run_about_a_host_that_was_lost(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of())
    await leader.lose_the_host()
    run = await start(leader.engine, leader.latest.fleet, "host-lost", {"host": "h1"}, by="ada", why="its disk is full")
    assert run.subject == {"host": "h1"}


async def test_two_who_answer_at_once_are_heard_once(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of(ASKS))
    run = await start(leader.engine, leader.latest.fleet, "book", {}, by="ada", why="")
    kept = await leader.store.read(f"run:{run.id}")
    await answer(leader.store, run.id, by="ada", comment="", what="cancel", receivers=["log"])
    with pytest.raises(AlertsChanged):
        await leader.store.keep(f"run:{run.id}", run, expect=kept.revision)


@pytest.mark.requirement("M11")
def test_the_run_books_that_are_asked_for_ship_and_every_one_is_named_by_a_rule_that_gives_what_it_needs() -> None:
    assert set(SHIPPED) == {
        "agent-unresponsive",
        "degradation",
        "system-failure",
        "data-corruption",
        "host-lost",
        "agent-unwell",
        "backups-missed",
    }
    assert {rule.runbook for rule in DEFAULT_RULES} - {""} == set(SHIPPED)
    from amas.model.alerts import FIGURES

    for rule in DEFAULT_RULES:
        if rule.runbook:
            assert set(SHIPPED[rule.runbook].needs) <= set(FIGURES[rule.when.figure].labels), rule.name
