"""Follows run-books: starts a run for each alert that names one, and does what comes next in those that are open.

`core.runbooks` decides. Each transition is stored, with its line of the audit and what a person is to be told, before anything
else is done; what a step is to reach is stored before it is done. So a control plane that is killed leaves a run that the
next one takes up: an action may be carried out twice, but it reaches the same (a host that was to be restarted for the third time
is). This is a duty and no workflow of the fleet's, since what it mends is the fleet: without hosts no workflow goes on.
Actions go through the desired state, which hosts and platforms follow, and through what the engine offers anyway.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from amas.clock import new_id
from amas.controllers.alerts import Latest, receivers_of
from amas.controllers.recover import recover
from amas.core.alerts import fingerprint
from amas.core.difference import why_not
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
    page_labels,
    settled,
    started,
)
from amas.engine.alerts import AlertStore
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.engine.queue import RETENTION_S, TaskQueue
from amas.engine.workflows import Workflows
from amas.errors import AlertsChanged, DesiredChanged, EngineError, RecordsError, RunBookRefused
from amas.model.alerts import Alert, Notice
from amas.model.desired import Desired, Order, Scale
from amas.model.fleet import FleetSpec
from amas.model.runbook import Run, Step
from amas.model.task import Json
from amas.observe import events
from amas.observe.logging import process_log
from amas.records.store import Records

PAUSE_OPEN_S, PAUSE_S = 1.0, 2.0
NEWEST = 200
"""Runs that are looked at for whether an alert has had its run."""
WORKFLOWS_MAX = 1000
"""Paused by one step."""
TURNS_MAX = 100
"""In one run at one sweep: more than its steps have transitions."""
RUN_ID_CHARS = 12

_run = msgspec.msgpack.Decoder(Run)
_ORDERS: Mapping[str, Callable[[Order, Mapping[str, Json]], Order]] = {
    "restart_host": lambda order, memo: msgspec.structs.replace(order, restarts=max(order.restarts, _number(memo["restarts"]))),
    "cordon": lambda order, _: msgspec.structs.replace(order, cordoned=True),
    "uncordon": lambda order, _: msgspec.structs.replace(order, cordoned=False),
    "drain": lambda order, _: msgspec.structs.replace(order, drained=True),
    "undrain": lambda order, _: msgspec.structs.replace(order, drained=False),
}
"""What an action makes of a host's order; done twice it makes the same."""


class CannotDo(Exception):
    """A step can't be done, now or later; the message says why."""


class Parts(NamedTuple):
    """What actions are done with."""

    engine: Engine
    records: Records
    retention_s: float = RETENTION_S


class RunBooks:
    """Starts and follows runs."""

    name = "runbooks"

    def __init__(self, store: AlertStore, parts: Parts, latest: Latest, *, alertmanager: bool = False) -> None:
        self._store, self._latest, self._alertmanager = store, latest, alertmanager
        self._actions = Actions(parts)

    async def run_once(self) -> float:
        """Start what is due, take every open run as far as it goes, and return the seconds until the next sweep."""
        return await self.sweep(self._store.now_ms())

    async def sweep(self, now_ms: int) -> float:
        """Do one sweep; tests call it with a time of their own."""
        await self._start(now_ms)
        trouble: EngineError | RecordsError | None = None
        runs = await self._store.open_runs()
        for run_id, kept in runs:
            try:
                await self._advance(run_id, kept.revision, _run.decode(kept.value), now_ms)
            except AlertsChanged:
                continue  # a person or another leader was there first: the next sweep sees what they did
            except (EngineError, RecordsError) as error:  # no reason to leave the other runs alone
                trouble = error
        if trouble is not None:
            raise trouble
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

    async def _advance(self, run_id: str, revision: int, run: Run, now_ms: int) -> None:
        for _ in range(TURNS_MAX):
            found = following(run, self._latest.readings, now_ms)
            transition = await self._done(found, run, now_ms) if isinstance(found, Act) else found
            if transition is None:
                return
            revision = await keep(self._store, transition, expect=revision, receivers=self._receivers())
            run = transition.run
            if not run.is_open:
                return

    async def _done(self, act: Act, run: Run, now_ms: int) -> Transition | None:
        try:
            if act.kind == "prepare":
                return started(run, await self._actions.prepare(act.step, run), now_ms)
            outcome = await self._actions.carry_out(act.step, run, self._latest.fleet, now_ms=now_ms)
        except CannotDo as error:
            return settled(run, ok=False, outcome=str(error), now_ms=now_ms)
        except DesiredChanged:
            return None  # again at the next sweep
        found = settled(run, ok=True, outcome=outcome, now_ms=now_ms)
        return found._replace(page=filled(act.step.say, run.subject)) if act.step.do == "page" else found

    def _receivers(self) -> list[str]:
        return receivers_of(self._latest.spec, alertmanager=self._alertmanager)


class Actions:
    """What steps do. `prepare` finds out what is to be reached, `carry_out` reaches it and may be said again."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._desired = DesiredState(parts.engine)
        self._queue, self._workflows = TaskQueue(parts.engine), Workflows(parts.engine, retention_s=parts.retention_s)

    async def prepare(self, step: Step, run: Run) -> dict[str, Json]:
        """Return what the step is to reach; CannotDo when there is no such host or pool."""
        match step.do:
            case "restart_host" | "restart_pool" | "scale":
                return _goal(step, run, await self._desired.read())
            case "cordon" | "uncordon" | "drain" | "undrain":
                return {"host": _host(step, run)}
            case "pause_workflows":
                return {"workflows": list(await self._running_workflows())}
            case "resume_workflows":
                earlier = zip(run.book.steps[: run.at], run.steps, strict=False)
                paused = [state.memo.get("workflows") for each, state in earlier if each.do == "pause_workflows"]
                return {"workflows": [workflow for ids in paused if isinstance(ids, list) for workflow in ids]}
            case _:
                return {}

    async def carry_out(self, step: Step, run: Run, fleet: FleetSpec, *, now_ms: int) -> str:
        """Reach it and return what was done, in words; DesiredChanged and EngineError mean: again."""
        memo, by = run.steps[run.at].memo, f"run-book {run.book.name}"
        match step.do:
            case "scale":
                pool, replicas = str(memo["pool"]), _number(memo["to"])
                wish = Wish(f"scale:{pool}", Scale(replicas=replicas, by=by, why=run.why, at_ms=now_ms))
                await self._desired.change([wish], by=by, why=run.why or step.name)
                return f"{pool} is to have {replicas} agents"
            case "restart_pool":
                pool, desired = str(memo["pool"]), await self._desired.read()
                times = max(desired.anew.get(pool, 0), _number(memo["times"]))
                await self._desired.change(
                    [Wish(f"anew:{pool}", times)], by=by, why=run.why or step.name, expect=desired.revision
                )
                return f"the agents of {pool} are to be made anew, each once it has done what it runs"
            case "pause_workflows" | "resume_workflows":
                change = self._workflows.pause if step.do == "pause_workflows" else self._workflows.resume
                ids = memo["workflows"]
                assert isinstance(ids, list)
                changed = sum([await change(str(workflow)) for workflow in ids])
                return f"{changed} of {len(ids)} workflows {'paused' if step.do == 'pause_workflows' else 'go on'}"
            case "recover":
                found = await recover(
                    self._parts.engine,
                    self._parts.records,
                    retention_s=self._parts.retention_s,
                    progress=lambda *_: None,
                    goals_at_a_time=fleet.limits.max_workflows,
                )
                return f"put back {found.tasks} open tasks of {found.workflows} workflows; {found.known} were known"
            case "page":
                return "told every receiver"
            case _:
                return await self._order(step, memo, by=by, why=run.why or step.name)

    async def _order(self, step: Step, memo: Mapping[str, Json], *, by: str, why: str) -> str:
        host = str(memo["host"])
        desired = await self._desired.read()
        order = _ORDERS[step.do](desired.orders.get(host, Order()), memo)
        await self._desired.change([Wish(f"order:{host}", order)], by=by, why=why, expect=desired.revision)
        return f"{host}: {step.do.replace('_', ' ')} ordered"

    async def _running_workflows(self) -> list[str]:
        found = []
        for workflow_id in await self._queue.open_workflows(limit=WORKFLOWS_MAX):
            view = await self._queue.workflow(workflow_id)
            if view is not None and view["state"] == "running":
                found.append(workflow_id)
        return found


def _host(step: Step, run: Run) -> str:
    host = filled(step.host, run.subject)
    if not host:
        raise CannotDo("no host is named: say which with --subject host=NAME")
    return host


def _goal(step: Step, run: Run, desired: Desired) -> dict[str, Json]:
    """Return what a step that counts is to reach, from what is wanted now."""
    if step.do == "restart_host":
        host = _host(step, run)
        return {"host": host, "restarts": desired.orders.get(host, Order()).restarts + 1}
    name = filled(step.pool, run.subject)
    now = next((pool.replicas for pool in desired.pools if pool.name == name), 0)
    if step.do == "restart_pool":
        _check(desired, name, now)
        return {"pool": name, "times": desired.anew.get(name, 0) + 1}
    wanted = max(0, min(now + step.by if step.to is None else step.to, step.most))
    _check(desired, name, wanted)
    return {"pool": name, "was": now, "to": wanted}


def _check(desired: Desired, pool: str, replicas: int) -> None:
    if problem := why_not(desired, pool, replicas):
        raise CannotDo(problem)


def _number(value: Json) -> int:
    assert isinstance(value, int)
    return value


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


async def start(store: AlertStore, fleet: FleetSpec, name: str, subject: Mapping[str, str], *, by: str, why: str) -> Run:
    """Start a run in a person's name and return it; RunBookRefused when there is none, or it isn't said about what."""
    book = next((each for each in fleet.runbooks if each.name == name), None)
    if book is None:
        known = ", ".join(each.name for each in fleet.runbooks) or "none"
        raise RunBookRefused(f"there is no run-book {name!r}: this fleet has {known}")
    missing = [each for each in book.needs if each not in subject]
    if missing:
        raise RunBookRefused(f"{name} is about a {missing[0]}: say which, as {missing[0]}=NAME")
    run_id = new_id()[-RUN_ID_CHARS:]
    about = {each: subject[each] for each in book.needs}
    transition = begun(book, about, Cause(by, why), run_id=run_id, now_ms=store.now_ms())
    await keep(store, transition, expect=0, receivers=())
    return transition.run


async def answer(store: AlertStore, run_id: str, *, by: str, comment: str, what: str) -> Run:
    """Confirm, refuse or cancel a run in a person's name, and return it; RunBookRefused when it can't be now."""
    kept = await store.read(f"run:{run_id}")
    if not kept.revision:
        raise RunBookRefused(f"there is no run {run_id!r}: `amas runbooks` lists them")
    run, now_ms = _run.decode(kept.value), store.now_ms()
    if what == "cancel":
        transition = cancelled(run, by=by, comment=comment, now_ms=now_ms)
    else:
        transition = confirmed(run, by=by, refuse=what == "refuse", comment=comment, now_ms=now_ms)
    if transition is None:
        raise RunBookRefused(f"run {run_id} of {run.book.name} is {run.status}: there is nothing to {what}")
    await keep(store, transition, expect=kept.revision, receivers=())
    return transition.run


async def read_runs(store: AlertStore, *, limit: int) -> list[Run]:
    """Return the newest runs, newest first."""
    return [_run.decode(kept.value) for _, kept in await store.runs(limit=limit)]
