"""Why a task went where it went: the engine's draw, told with the figures that it was drawn from.

`RouteTeller` decides nothing that the engine doesn't: `choose` repeats its draw, `explain` reads what it noted. Called by
the API, and by programs' `TaskDistributor`.
"""

import msgspec

from amas.core.routing import draw
from amas.engine.limits import Limits
from amas.engine.routes import Routes
from amas.model.fleet import FleetSpec
from amas.model.numbers import pool_named
from amas.model.routing import Choice, Route, RoutedTask, RouteTable
from amas.model.states import TaskState
from amas.model.task import TaskView

_HOW = {
    "drawn": "drawn by its share",
    "explored": "explored by chance",
    "overflow": "the pool that was drawn had enough to do, so the first free agent gets it",
    "pulled": "an agent of it was free first",
    "elsewhere": "its last attempt failed in another pool",
    "moved": "sent on from a pool that lost its agents or its share",
}


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task is where it is."""

    id: str
    state: TaskState
    capability: str
    sentence: str
    """For people."""
    pool: str
    """The pool that has or had it, or that it would go to; empty where any may take it."""
    how: str
    """`drawn`, `explored`, `overflow`, `pulled`, `elsewhere` or `moved`, as `RoutedTask` says; `named` by its submitter; `only`
    pool that can; `free`: whoever is free first, there being no route; `expected` to go there once it is queued; `forgotten`: it
    ended too long ago; `nobody` can do it."""
    share: float | None
    """The pool's share of the capability's tasks when it was drawn, 0 to 1."""
    table: int
    """The version of the routes that it was drawn from; 0 for none."""
    then: bool
    """Whether `choices` are the figures of its draw; else they are today's."""
    choices: list[Choice]
    """Every pool that can do its capability and has a route, the largest share first."""
    waits_for: list[str]
    """What it waits for though it is queued: `slots:customer-42`, `rate:openai`, `budget:...`."""


class RouteTeller:
    """Routes of one cell, read and told."""

    def __init__(self, routes: Routes, limits: Limits, fleet: FleetSpec) -> None:
        self._routes, self._limits, self._fleet = routes, limits, fleet

    async def table(self) -> RouteTable:
        """Return the routes that tasks are drawn from now."""
        return await self._routes.table()

    async def choose(self, capability: str, task_id: str) -> Choice | None:
        """Return the pool that a task with this id would get now, by share alone; None where its capability has no route."""
        route = _route_of(await self._routes.table(), capability)
        return draw(route, task_id) if route else None

    async def explain(self, task: TaskView) -> Why:
        """Return why a task went where it is, or what it waits for."""
        queue, noted = await self._routes.of_task(task.id)
        waits_for = list(await self._limits.parked_on(task.id)) if task.state is TaskState.QUEUED else []
        carriers = [pool.name for pool in self._fleet.pools if task.capability in pool.capabilities]
        if noted and queue:
            told = await self._told(task, noted)
        elif queue.startswith("@"):
            pool = queue.rpartition("@")[2]
            told = _why(task, "named", f"went to {pool}: its submitter named that pool", pool=pool)
        elif not queue:
            told = _why(task, "forgotten", _forgotten(task), pool=pool_named(task.agent_id))
        elif len(carriers) < 2:
            told = _alone(task, carriers)
        elif task.state in {TaskState.WAITING, TaskState.DELAYED} and (choice := await self.choose(task.capability, task.id)):
            said = f"isn't queued yet; would go to {choice.pool} now ({choice.share:.0%} share)"
            told = _why(task, "expected", said, pool=choice.pool, share=choice.share)
        else:
            pool = pool_named(task.agent_id)
            said = f"{f'was taken by {pool}' if pool else 'waits'}: whichever of {', '.join(carriers)} is free first gets it"
            told = _why(task, "free", said, pool=pool)
        if not waits_for:
            return told
        parked = f"{told.sentence}. It waits until there is room in {', '.join(waits_for)}"
        return msgspec.structs.replace(told, sentence=parked, waits_for=waits_for)

    async def _told(self, task: TaskView, noted: RoutedTask) -> Why:
        then = await self._routes.past(noted.version)
        route = _route_of(then or await self._routes.table(), noted.queue.rpartition("@")[0] or task.capability)
        in_common = noted.how == "overflow"
        verb = "waits for a free agent" if in_common else "is to go to" if task.state is TaskState.DELAYED else "went to"
        said = f"{verb}{'' if in_common else f' {noted.pool}'} ({_HOW[noted.how]}; share of {noted.pool} {noted.share:.0%})"
        if route:
            figures = "; ".join(_figures(choice) for choice in _first(route.choices, noted.pool))
            said += f": {figures}" + ("" if then else " (these are today's figures)")
        return _why(
            task,
            noted.how,
            said,
            pool="" if in_common else noted.pool,
            share=noted.share,
            table=noted.version,
            then=then is not None,
            choices=list(route.choices) if route else [],
        )


def _why(  # noqa: PLR0913  one for each word that may be said
    task: TaskView,
    how: str,
    sentence: str,
    *,
    pool: str = "",
    share: float | None = None,
    table: int = 0,
    then: bool = False,
    choices: list[Choice] | None = None,
) -> Why:
    return Why(
        id=task.id,
        state=task.state,
        capability=task.capability,
        sentence=sentence,
        pool=pool,
        how=how,
        share=share,
        table=table,
        then=then,
        choices=choices or [],
        waits_for=[],
    )


def _alone(task: TaskView, carriers: list[str]) -> Why:
    if not carriers:
        return _why(task, "nobody", f"no pool of this fleet declares {task.capability}: it waits until one does")
    verb = "went to" if task.attempt else "waits for"
    return _why(task, "only", f"{verb} {carriers[0]}, the only pool that can do {task.capability}", pool=carriers[0])


def _forgotten(task: TaskView) -> str:
    ran = f"ran on {task.agent_id}; " if task.agent_id else ""
    return f"{ran}the engine has forgotten why: it keeps that for an hour after the end, by default (AMAS_RETENTION_S)"


def _route_of(table: RouteTable, capability: str) -> Route | None:
    return next((route for route in table.routes if route.capability == capability), None)


def _first(choices: tuple[Choice, ...], pool: str) -> list[Choice]:
    return sorted(choices, key=lambda choice: choice.pool != pool)


def _figures(choice: Choice) -> str:
    """Return one pool's figures as people read them."""
    if choice.excluded:
        return f"{choice.pool}: {choice.excluded}"
    return (
        f"{choice.pool}: share {choice.share:.0%}, success {choice.success:.0%} of {choice.trials:.0f}, "
        f"median {choice.median_s:.3g} s, {choice.usd:.4g} USD, {choice.waiting} waiting"
    )
