"""Follows run-books: starts a run for each alert that names one, and does what comes next in those that are open.

`core.runbooks` decides, `actions.py` does. Each transition is stored, with its line of the audit and what a person is to be told,
before anything else is done; what a step is to reach is stored before it is done. So a control plane that is killed leaves a run
that the next one takes up: an action may be carried out twice, but it reaches the same. Each run is an errand of its own: one
whose step takes an hour, such as a back-up, holds up no other. This is a duty and no workflow of the fleet's, since what it mends
is the fleet: without hosts no workflow goes on.
"""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from amas.clock import new_id
from amas.controllers.actions import Actions, CannotDo, Parts
from amas.controllers.alerts import Latest, receivers_of
from amas.controllers.errands import Errands
from amas.core.alerts import fingerprint
from amas.core.runbooks import (
    OPEN_MAX,
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
    page_labels,
    settled,
    started,
)
from amas.engine.alerts import AlertStore
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.hosts import HostRegistry
from amas.engine.recoveries import Recoveries
from amas.errors import AlertsChanged, BackupBusy, DesiredChanged, RunBookRefused
from amas.model.alerts import Alert, Notice
from amas.model.desired import Desired
from amas.model.fleet import FleetSpec
from amas.model.runbook import Run
from amas.observe import events
from amas.observe.logging import process_log

PAUSE_OPEN_S, PAUSE_S = 1.0, 2.0
LOST_MAX = 1000
"""All recoveries that the engine keeps, among which lost hosts are looked for."""
NEWEST = 200
"""Runs that are looked at for whether an alert has had its run."""
PATIENCE_S = 0.5
"""What open runs get within a sweep; what takes longer goes on meanwhile."""
TURNS_MAX = 100
"""In one run at one sweep: more than its steps have transitions."""
RUN_ID_CHARS = 12
ASKED_MAX = 4 * OPEN_MAX
"""Open runs, each of which every sweep reads; people may start more than alerts may, but not without end."""

_run = msgspec.msgpack.Decoder(Run)


class RunBooks:
    """Starts and follows runs."""

    name = "runbooks"

    def __init__(
        self, store: AlertStore, parts: Parts, latest: Latest, *, alertmanager: bool = False, patience_s: float = PATIENCE_S
    ) -> None:
        """`patience_s`: what open runs get within a sweep."""
        self._store, self._latest, self._alertmanager = store, latest, alertmanager
        self._actions, self._patience_s = Actions(parts), patience_s
        self.errands = Errands()
        self._now_ms = 0
        """Of the newest sweep: an errand may outlast the one that began it."""

    async def run_once(self) -> float:
        """Start what is due, take every open run as far as it goes, and return the seconds until the next sweep."""
        return await self.sweep(self._store.now_ms())

    async def sweep(self, now_ms: int) -> float:
        """Do one sweep; tests call it with a time of their own."""
        self._now_ms = now_ms
        await self._start(now_ms)
        runs = await self._store.open_runs()
        for run_id, kept in runs:
            if not self.errands.under_way(run_id):
                self.errands.begin(run_id, self._advance(run_id, kept.revision, _run.decode(kept.value)))
        await self.errands.settle(patience_s=self._patience_s)
        return PAUSE_OPEN_S if runs else PAUSE_S

    async def _start(self, now_ms: int) -> None:
        books = {book.name: book for book in self._latest.fleet.runbooks}
        alerts = [alert for alert in self._latest.alerts.values() if alert.status == "firing" and alert.runbook in books]
        if not alerts:
            return
        runs = [_run.decode(kept.value) for _, kept in await self._store.runs(limit=NEWEST)]
        for transition in due(alerts, books, runs, now_ms=now_ms):
            try:
                await keep(self._store, transition, expect=0, receivers=self._receivers())
            except AlertsChanged:
                continue  # another leader started it

    async def _advance(self, run_id: str, revision: int, run: Run) -> None:
        for _ in range(TURNS_MAX):
            found = following(run, self._latest.readings, self._now_ms)
            transition = await self._done(found, run) if isinstance(found, Act) else found
            if transition is None:
                return
            try:
                revision = await keep(self._store, transition, expect=revision, receivers=self._receivers())
            except AlertsChanged:  # a person or another leader was there first: the next sweep sees what they did
                return
            run = transition.run
            if not run.is_open:
                return

    async def _done(self, act: Act, run: Run) -> Transition | None:
        try:
            if act.kind == "prepare":
                return started(run, await self._actions.prepare(act.step, run), self._now_ms)
            left_s = act.step.timeout_s - (self._now_ms - run.steps[run.at].since_ms) / 1000
            async with asyncio.timeout(left_s):
                outcome = await self._actions.carry_out(act.step, run, self._latest.fleet, now_ms=self._now_ms)
        except CannotDo as error:
            return settled(run, ok=False, outcome=str(error), now_ms=self._now_ms)
        except (DesiredChanged, BackupBusy, TimeoutError):
            return None  # the next sweep does it again, or finds that its time is up
        found = settled(run, ok=True, outcome=outcome, now_ms=self._now_ms)
        return found._replace(page=filled(act.step.say, run.subject)) if act.step.do == "page" else found

    def _receivers(self) -> list[str]:
        return receivers_of(self._latest.spec, alertmanager=self._alertmanager)


async def keep(store: AlertStore, transition: Transition, *, expect: int, receivers: Sequence[str]) -> int:
    """Store a transition with its line and its page, log it, and return the run's revision; AlertsChanged when it has another."""
    run, line = transition.run, transition.line
    revision = await store.keep(
        f"run:{run.id}",
        run,
        expect=expect,
        is_open=run.is_open,
        audit=line,
        notices=[_page(transition)] if transition.page else [],
        receivers=receivers,
    )
    process_log().info(
        "a run-book's run went on",
        event=events.RUNBOOK_STEP,
        runbook=line.runbook,
        run=line.run,
        subject=line.subject,
        step=line.step,
        what=line.what,
        by=line.by,
        outcome=line.outcome,
    )
    return revision


def _page(transition: Transition) -> Notice:
    run, line = transition.run, transition.line
    labels = page_labels(run)
    alert = Alert(
        fingerprint=fingerprint("RunBook", labels),
        rule="RunBook",
        severity=run.severity,
        status="firing",
        labels=labels,
        value=0.0,
        reason=transition.page,
        since_ms=run.begun_ms,
        seen_ms=line.at_ms,
        fired_ms=line.at_ms,
        runbook=run.book.name,
        summary=f"The run-book {run.book.name} needs a person ({run.why or run.by}).",
    )
    return Notice(id=f"{run.id}-{run.at}-{line.what}", status="page", alert=alert, at_ms=line.at_ms)


async def start(engine: Engine, fleet: FleetSpec, name: str, subject: Mapping[str, str], *, by: str, why: str) -> Run:
    """Start a run in a person's name and return it.

    RunBookRefused when there is no such run-book, nothing of the fleet is what it is said to be about, or too many runs are open.
    """
    store = AlertStore(engine)
    book = next((each for each in fleet.runbooks if each.name == name), None)
    if book is None:
        known = ", ".join(each.name for each in fleet.runbooks) or "none"
        raise RunBookRefused(f"there is no run-book {name!r}: this fleet has {known}")
    desired = await DesiredState(engine).read()
    if desired.fleet is None:
        desired = msgspec.structs.replace(desired, fleet=fleet)
    if wrong := mistaken(book, subject, desired, await _hosts(engine, desired)):
        raise RunBookRefused(wrong)
    if len(await store.open_runs()) >= ASKED_MAX:
        raise RunBookRefused(f"{ASKED_MAX} runs are open already: wait, or end some with `amas runbook cancel`")
    run_id = new_id()[-RUN_ID_CHARS:]
    transition = begun(book, subject, Cause(by, why), run_id=run_id, now_ms=store.now_ms())
    await keep(store, transition, expect=0, receivers=())
    return transition.run


async def _hosts(engine: Engine, desired: Desired) -> set[str]:
    """Return all hosts that may be meant: that live, of which something is wanted, and that were lost, since those need a run."""
    live = {host.id for host in await HostRegistry(engine).all()}
    found = Recoveries(engine)
    lost = {each.subject for each in await found.under_way() if each.cause == "host_lost"}
    lost |= {each.subject for each in await found.newest(limit=LOST_MAX) if each.cause == "host_lost"}
    return live | desired.orders.keys() | desired.seats.keys() | lost


async def answer(store: AlertStore, run_id: str, *, by: str, comment: str, what: str, receivers: Sequence[str]) -> Run:
    """Confirm, refuse or cancel a run in a person's name, and return it; RunBookRefused when it can't be now.

    `receivers`: who is told where a refused step says `on_failure: page`.
    """
    revision, run = await read_run(store, run_id)
    now_ms = store.now_ms()
    if what == "cancel":
        transition = cancelled(run, by=by, comment=comment, now_ms=now_ms)
    else:
        transition = confirmed(run, by=by, refuse=what == "refuse", comment=comment, now_ms=now_ms)
    if transition is None:
        raise RunBookRefused(f"run {run_id} of {run.book.name} is {run.status}: there is nothing to {what}")
    await keep(store, transition, expect=revision, receivers=receivers)
    return transition.run


async def read_run(store: AlertStore, run_id: str) -> tuple[int, Run]:
    """Return a run's revision and the run; RunBookRefused when there is none."""
    kept = await store.read(f"run:{run_id}")
    if not kept.revision:
        raise RunBookRefused(f"there is no run {run_id!r}: `amas runbooks` lists them")
    return kept.revision, _run.decode(kept.value)


async def read_runs(store: AlertStore, *, limit: int) -> list[Run]:
    """Return the newest runs, newest first."""
    return [_run.decode(kept.value) for _, kept in await store.runs(limit=limit)]
