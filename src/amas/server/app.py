"""The REST API as an ASGI application."""

from functools import cache

from fastapi import APIRouter, Depends, FastAPI
from starlette.routing import BaseRoute

from amas.server import pages, problems
from amas.server.contract import VERSION, openapi_of
from amas.server.guard import Guard
from amas.server.once import DoneOnce
from amas.server.patience import Patience
from amas.server.plane import ControlPlane
from amas.server.quick import Quick, quick_reads
from amas.server.routes import (
    access,
    agents,
    alerts,
    approvals,
    backups,
    costs,
    dead_letters,
    deliverables,
    desired,
    diagnostics,
    fleet,
    fleet_map,
    flows,
    healing,
    inputs,
    kill,
    limits,
    live,
    logs,
    messages,
    policies,
    pools,
    quality,
    remote,
    report,
    rollouts,
    routing,
    runbooks,
    scaling,
    schedules,
    sign_in,
    steps,
    tasks,
    timeline,
    tokens,
    usage,
    webhooks,
    workflows,
)
from amas.server.shared import Shared
from amas.server.tenancy import owned
from amas.server.timing import Timed
from amas.server.tracing import Traced

DESCRIPTION = """\
Submit goals and tasks to a fleet of agents, watch them, and get results.
Errors are problem details (RFC 9457) whose `type` is stable.
"""


@cache
def _included() -> tuple[list[APIRouter], list[BaseRoute]]:
    """Return the API's routers, and the routes that an app gets by including them and the page's own.

    They know nothing of an app, so those of a process share them: at a first request it takes 0.1 s to work out what each takes.
    """
    holder = APIRouter(dependencies=[Depends(owned)])
    work = (tasks, timeline, steps, workflows, flows, deliverables, inputs, approvals, dead_letters, schedules, quality, webhooks)
    people = (
        agents,
        logs,
        diagnostics,
        pools,
        fleet,
        live,
        desired,
        messages,
        routing,
        rollouts,
        scaling,
        limits,
        costs,
        healing,
        kill,
        policies,
        alerts,
        runbooks,
        remote,
        backups,
        access,
        tokens,
        report,
        usage,
    )
    routers = [part.router for part in (*work, *people)]
    for router in (*routers, *(part.router for part in (fleet_map, sign_in))):
        holder.include_router(router)
    return routers, holder.routes


def create_app(plane: ControlPlane) -> FastAPI:
    """Return the API over a control plane; `plane.live.run()` must run beside it for streams to flow."""
    app = FastAPI(
        title="amas",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,  # they load their page from a content network, which a fleet may not reach
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # `Traced` and `Timed` do that
    )
    app.state.plane = plane
    routers, routes = _included()
    app.router.routes.extend([*routes, *pages.routes()])
    problems.install(app)
    app.add_middleware(Quick, plane=plane, reads=quick_reads(route for router in routers for route in router.routes))
    app.add_middleware(DoneOnce, engine=plane.engine)
    app.add_middleware(Shared, fresh_s=plane.reads_fresh_s)
    app.add_middleware(Traced)
    app.add_middleware(Guard, settings=plane.settings, identity=plane.identity, audit=plane.audit)
    app.add_middleware(Patience)
    app.add_middleware(Timed, metrics=plane.metrics)
    app.openapi = openapi_of(app, routers, locked=bool(plane.settings.token))  # type: ignore[method-assign]
    return app
