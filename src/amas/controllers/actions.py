"""What the steps of run-books do: `prepare` finds out what a step is to reach, `carry_out` reaches it and may be said again.

What is to be reached stands in the run's memo before anything is done, so a control plane that takes over reaches the same (a
host that was to be restarted for the third time is). Actions go through the desired state, which hosts and platforms follow, and
through what the engine and the back-ups offer anyway.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from amas.controllers.backup import FleetBackups
from amas.controllers.recover import recover
from amas.core.difference import why_not
from amas.core.runbooks import filled
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostRegistry
from amas.engine.queue import RETENTION_S, TaskQueue
from amas.engine.workflows import Workflows
from amas.errors import ArtifactError, BackupBusy, BackupError
from amas.model.desired import Desired, Order, Scale
from amas.model.fleet import FleetSpec
from amas.model.healing import Quarantine
from amas.model.numbers import pool_named
from amas.model.runbook import Action, Run, Step
from amas.model.task import Json
from amas.records.store import Records

WORKFLOWS_MAX = 1000
"""Paused by one step."""
AGENTS_MAX = 100
"""Quarantined by one step: where more agents of a host are unwell, it is the host, or what all of them use."""
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
    backups: FleetBackups | None = None


class _Word(NamedTuple):
    """In whose name a step changes what is wanted, why, and when."""

    by: str
    why: str
    at_ms: int


class Actions:
    """What steps do. `prepare` finds out what is to be reached, `carry_out` reaches it and may be said again."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._desired, self._hosts = DesiredState(parts.engine), HostRegistry(parts.engine)
        self._queue, self._workflows = TaskQueue(parts.engine), Workflows(parts.engine, retention_s=parts.retention_s)

    async def prepare(self, step: Step, run: Run) -> dict[str, Json]:
        """Return what the step is to reach; CannotDo when there is no such pool, or nothing to do it to is named."""
        memo: dict[str, Json] = {}
        match step.do:
            case "restart_host" | "restart_pool" | "scale":
                memo = _goal(step, run, await self._desired.read())
            case "cordon" | "uncordon" | "drain" | "undrain":
                memo = {"host": _host(step, run)}
            case "pause_workflows":
                memo = {"workflows": list(await self._running_workflows())}
            case "resume_workflows":
                memo = {"workflows": list(_earlier(run, "pause_workflows", "workflows"))}
            case "quarantine":
                until_ms = self._hosts.now_ms() + round(step.wait_s * 1000) if step.wait_s else 0
                memo = {"agents": list(await self._to_quarantine(step, run)), "until_ms": until_ms}
            case "release":
                agent = filled(step.agent, run.subject)
                memo = {"agents": [agent] if agent else list(_earlier(run, "quarantine", "agents"))}
        return memo

    async def carry_out(self, step: Step, run: Run, fleet: FleetSpec, *, now_ms: int) -> str:
        """Reach it and return what was done, in words; DesiredChanged, BackupBusy and EngineError mean: again."""
        memo, outcome = run.steps[run.at].memo, "told every receiver"
        word = _Word(f"run-book {run.book.name}", run.why or step.name, now_ms)
        match step.do:
            case "scale" | "restart_pool":
                outcome = await self._resize(step, memo, word)
            case "quarantine" | "release":
                outcome = await self._isolate(step, memo, word)
            case "pause_workflows" | "resume_workflows":
                change = self._workflows.pause if step.do == "pause_workflows" else self._workflows.resume
                ids = _texts(memo["workflows"])
                changed = sum([await change(workflow) for workflow in ids])
                outcome = f"{changed} of {len(ids)} workflows {'paused' if step.do == 'pause_workflows' else 'go on'}"
            case "recover":
                outcome = await self._recover(fleet)
            case "back_up" | "verify_backup":
                outcome = await self._back_up(step)
            case "restart_host" | "cordon" | "uncordon" | "drain" | "undrain":
                outcome = await self._order(step, memo, word)
        return outcome

    async def _resize(self, step: Step, memo: Mapping[str, Json], word: _Word) -> str:
        pool = str(memo["pool"])
        if step.do == "scale":
            replicas = _number(memo["to"])
            wish = Wish(f"scale:{pool}", Scale(replicas=replicas, by=word.by, why=word.why, at_ms=word.at_ms))
            await self._desired.change([wish], by=word.by, why=word.why)
            return f"{pool} is to have {replicas} agents"
        desired = await self._desired.read()
        times = max(desired.anew.get(pool, 0), _number(memo["times"]))
        await self._desired.change([Wish(f"anew:{pool}", times)], by=word.by, why=word.why, expect=desired.revision)
        return f"the agents of {pool} are to be made anew, each once it has done what it runs"

    async def _recover(self, fleet: FleetSpec) -> str:
        found = await recover(
            self._parts.engine,
            self._parts.records,
            retention_s=self._parts.retention_s,
            progress=lambda *_: None,
            goals_at_a_time=fleet.limits.max_workflows,
        )
        return f"put back {found.tasks} open tasks of {found.workflows} workflows; {found.known} were known"

    async def _order(self, step: Step, memo: Mapping[str, Json], word: _Word) -> str:
        host = str(memo["host"])
        desired = await self._desired.read()
        order = _ORDERS[step.do](desired.orders.get(host, Order()), memo)
        await self._desired.change([Wish(f"order:{host}", order)], by=word.by, why=word.why, expect=desired.revision)
        return f"{host}: {'restart' if step.do == 'restart_host' else step.do} ordered"

    async def _to_quarantine(self, step: Step, run: Run) -> list[str]:
        """Return the agent that a step names, or those of a host that are unwell; who is quarantined already stays so."""
        desired = await self._desired.read()
        if step.agent:
            agents = [filled(step.agent, run.subject)]
            if pool_named(agents[0]) not in {pool.name for pool in desired.pools}:
                raise CannotDo(f"this fleet has no agent {agents[0]!r}: `amas ps` lists them")
        else:
            host = _host(step, run)
            agents = next((list(view.figures.troubled) for view in await self._hosts.all() if view.id == host), [])
        found = [agent for agent in agents if agent not in desired.quarantines]
        if len(found) > AGENTS_MAX:
            raise CannotDo(f"{len(found)} agents are unwell, more than {AGENTS_MAX}: it is their host, or what all of them use")
        return found

    async def _isolate(self, step: Step, memo: Mapping[str, Json], word: _Word) -> str:
        agents, desired = _texts(memo["agents"]), await self._desired.read()
        held: Quarantine | None = None
        if step.do == "quarantine":
            held = Quarantine(by=word.by, why=word.why, at_ms=word.at_ms, until_ms=_number(memo["until_ms"]))
        changing = [agent for agent in agents if (agent in desired.quarantines) != (held is not None)]
        if changing:
            wishes = [Wish(f"quarantine:{agent}", held) for agent in changing]
            await self._desired.change(wishes, by=word.by, why=word.why, expect=desired.revision)
        return f"{'quarantined' if held else 'let go'}: {', '.join(agents) or 'nobody'}"

    async def _back_up(self, step: Step) -> str:
        backups = self._parts.backups
        if backups is None:
            raise CannotDo("this control plane makes no back-ups")
        try:
            if step.do == "back_up":
                made = await backups.make("incremental")
                return f"backed up as {made.id} ({made.kind}), {made.stored:,} bytes stored"
            verdict = await backups.verify()
        except BackupBusy:
            raise
        except (BackupError, ArtifactError) as error:
            raise CannotDo(str(error)) from error
        return f"{verdict.backup} is whole: {verdict.chunks} chunks, {verdict.replayed} entries of the journal replayed"

    async def _running_workflows(self) -> list[str]:
        found = []
        for workflow_id in await self._queue.open_workflows(limit=WORKFLOWS_MAX):
            view = await self._queue.workflow(workflow_id)
            if view is not None and view["state"] == "running":
                found.append(workflow_id)
        return found


def _earlier(run: Run, do: Action, name: str) -> Iterable[str]:
    """Return what the memos of earlier steps that did `do` list under `name`."""
    for step, state in zip(run.book.steps[: run.at], run.steps, strict=False):
        if step.do == do and name in state.memo:
            yield from _texts(state.memo[name])


def _texts(value: Json) -> list[str]:
    assert isinstance(value, list)
    return [str(each) for each in value]


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
