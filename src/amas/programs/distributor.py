"""`TaskDistributor`: programs hand tasks to whoever can do them, have several work together, and ask who got a task and why.

    distributor = get_task_distributor()
    review = await distributor.perform("development.code_review", {"root": "/srv/shop", "paths": ["a.py"]})
    both = await distributor.collaborate({"sum": NewTask(capability="a.sum"), "mean": NewTask(capability="a.mean")})
    print(both.results, both.failures)

Who gets a task is the fleet's doing: agents pull by capability, and where several pools can do it the routes that outcomes taught
share it out. Who wants handles and thousands of tasks a second uses `amas.Fleet`, which this stands on.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from amas.client import Fleet, NewTask, TaskHandle
from amas.engine.routes import Routes
from amas.errors import TaskUnknown
from amas.model.fleet import FleetSpec
from amas.model.routing import Choice, RouteTable
from amas.model.states import TaskState
from amas.model.task import Json, TaskOutcome
from amas.orchestration.routing import RouteTeller, Why
from amas.programs.link import Link, wanted_of
from amas.settings import EngineSettings


class Together(NamedTuple):
    """What came of tasks that were done together."""

    results: dict[str, Json]
    """Of those that succeeded, by part, in the order in which they were given."""
    failures: dict[str, str]
    """Why each of the others has no result, in a sentence."""


class TaskDistributor:
    """Tasks in, results out, by capability; and the routes that share them among pools."""

    def __init__(self, link: Link | None = None) -> None:
        """`link`: by default the fleet in AMAS_HOME."""
        self._link = link or Link()

    async def submit(self, *tasks: NewTask) -> list[str]:
        """Submit tasks and return their ids, in order, once all are on disk; SubmissionError says what is wrong with one."""

        async def store(fleet: Fleet, _: FleetSpec) -> list[str]:
            return [handle.id for handle in await fleet.submit_batch(tasks)]

        return await self._link.ask(store)

    async def perform(
        self,
        capability: str,
        input: Json = None,  # noqa: A002  the field's name
        *,
        timeout_s: float | None = None,
        **options: object,
    ) -> Json:
        """Have one task done and return its result; `options` are `NewTask`'s other fields.

        TaskFailed or TaskCancelled when it has none; TimeoutError after `timeout_s` seconds, the task going on.
        """

        async def do(fleet: Fleet, _: FleetSpec) -> Json:
            (handle,) = await fleet.submit_batch([NewTask(capability=capability, input=input, **options)])  # type: ignore[arg-type]
            return await handle.result(timeout_s=timeout_s)

        return await self._link.ask(do)

    async def collaborate(self, parts: Mapping[str, NewTask], *, timeout_s: float | None = None) -> Together:
        """Have the parts done at the same time, each by whoever can do it, and return what came of all of them.

        After `timeout_s` seconds the parts that haven't ended are cancelled, and stand among the failures.
        """

        async def do(fleet: Fleet, _: FleetSpec) -> Together:
            handles = await fleet.submit_batch(parts.values())
            outcomes = await _ended(handles, timeout_s)
            await fleet.cancel(*(handle for handle in handles if handle.id not in outcomes))
            results: dict[str, Json] = {}
            failures: dict[str, str] = {}
            for part, handle in zip(parts, handles, strict=True):
                outcome = outcomes.get(handle.id)
                if outcome is not None and outcome.state is TaskState.SUCCEEDED:
                    results[part] = outcome.result
                else:
                    failures[part] = f"it had no end within {timeout_s:g} s" if outcome is None else _why_none(outcome)
            return Together(results, failures)

        return await self._link.ask(do)

    async def explain(self, task_id: str) -> Why:
        """Return why a task is where it is, with the figures that it was drawn from; TaskUnknown when the engine has none."""

        async def ask(fleet: Fleet, spec: FleetSpec) -> Why:
            task = await fleet.queue.task(task_id)
            if task is None:
                raise TaskUnknown(f"the engine holds no task {task_id!r}; `amas tasks {task_id}` asks the records")
            return await _teller(fleet, await wanted_of(fleet, spec)).explain(task)

        return await self._link.ask(ask)

    async def table(self) -> RouteTable:
        """Return how tasks of capabilities that several pools have are shared among them now."""
        return await self._link.ask(lambda fleet, spec: _teller(fleet, spec).table())

    async def choose(self, capability: str, task_id: str) -> Choice | None:
        """Return the pool that a task with this id would get now; None where no two pools share its capability."""
        return await self._link.ask(lambda fleet, spec: _teller(fleet, spec).choose(capability, task_id))


def _teller(fleet: Fleet, spec: FleetSpec) -> RouteTeller:
    return RouteTeller(Routes(fleet.engine, retention_s=EngineSettings.read().retention_s), fleet.limits, spec)


async def _ended(handles: Iterable[TaskHandle], timeout_s: float | None) -> dict[str, TaskOutcome]:
    """Return the outcomes, by id, of those that end within `timeout_s` seconds."""
    asked = [asyncio.create_task(handle.outcome()) for handle in handles]
    done, late = await asyncio.wait(asked, timeout=timeout_s) if asked else (set(), set())
    for each in late:
        each.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return {outcome.id: outcome for outcome in (each.result() for each in done)}


def _why_none(outcome: TaskOutcome) -> str:
    return outcome.failure.message if outcome.failure else f"it was {outcome.state}"
